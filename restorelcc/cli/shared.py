"""Options that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..models.loading import Loading

MOST = 2**31 - 1
"""Of anything that is counted, and of seeds: what every library takes."""


Source = Annotated[str, typer.Option("--calibration", metavar="SRC", help="Text to calibrate on; see SRC below.")]
Own = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Which heads come first, in place of --score: a file as inspect --own has it."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Device = Annotated[
    str,
    typer.Option(
        help="auto, cpu, cuda, cuda:1, mps; map: spread over GPUs, memory and disk; disk: a layer at a time; shard: so "
        "too, but each of several processes (--processes) holds a part of the weights and hands it to the others."
    ),
]
Dtype = Annotated[str, typer.Option(help="auto (as stored), float32, bfloat16, float16.")]
Pickle = Annotated[bool, typer.Option("--allow-pickle", help="Also read .bin weights. They can run any code.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run model code that comes with the weights.")]
Windows = Annotated[int, typer.Option(min=2, max=MOST, help="Windows (or prompts) of text at most.")]
Length = Annotated[
    int | None, typer.Option(min=2, max=MOST, help="Tokens a window. Default: the model's context, 2 048 at most.")
]
Seed = Annotated[int, typer.Option(min=0, max=MOST, help="Seed of everything random.")]
Dense = Annotated[str, typer.Option(metavar="MODEL", help="The model before pruning; see MODEL below.")]
Pruned = Annotated[str, typer.Option(metavar="MODEL", help="The same model pruned; see MODEL below.")]
Csv = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the whole table.")]
Pattern = Annotated[str | None, typer.Option(metavar="N:M", help="Keep n of every m weights, such as 2:4.")]
Contrast = Annotated[
    str, typer.Option(metavar="SRC", help="What probing asks: demo, rows.jsonl, alpaca, boolq, rte, arc-e, arc-c.")
]
Push = Annotated[
    str | None,
    typer.Option(
        "--push",
        metavar="OWNER/NAME",
        help="Upload what is written, with its card, to the hub too, by HF_TOKEN; private at first.",
    ),
]
Public = Annotated[bool, typer.Option("--public", help="What --push makes can be seen by everybody.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write; must not hold anything yet.")]


def loading_of(device: str, dtype: str, pickle: bool, trust: bool) -> "Loading":
    """How models are loaded, as these options say."""
    from ..models.loading import Loading

    return Loading(device=device, dtype=dtype, allow_pickle=pickle, trust_remote_code=trust)


def uploading(name: str | None, public: bool, write: "Callable[[], Path]") -> None:
    """Write an export, and upload its folder, which `write` gives, where it is to go by a name. Raises what either
    does; what would be refused is, before the work."""
    from ..artifacts.publishing import push as publishing
    from .console import note

    if name is not None:
        publishing.check_push(name)
    folder = write()
    if name is not None:
        note(f"Uploaded to {publishing.push(folder, name, private=not public)}")
