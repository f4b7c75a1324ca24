"""The command line: what can be asked for. How it is done is in a file a command, imported when it runs, because the
libraries behind it take seconds to import and `--help` should not."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..processes import launched
from ..pruning.methods import ALLOCATIONS, METHODS, ROUNDINGS
from ..registry import briefs
from ..restoration.choices import LOSSES, POSITIONS
from ..selection.scores import SCORES, closer, computed
from .choices import Bounds, Closer, Constants, OneAtATime, OneLine, Way, What, Where, one_of
from .comparing import compare
from .evaluating import evaluate
from .given.options import Config
from .repeating import repeat, validate
from .reporting import report
from .restoring import restore
from .shared import (
    MOST,
    Contrast,
    Csv,
    Dense,
    Device,
    Dtype,
    Json,
    Length,
    Out,
    Own,
    Pattern,
    Pickle,
    Pruned,
    Public,
    Push,
    Seed,
    Source,
    Trust,
    Windows,
    loading_of,
    uploading,
)
from .tracking import LogWith

if TYPE_CHECKING:
    from ..capture.statistics import Positions

app = typer.Typer(
    cls=OneLine,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="See what pruning took from every attention head of a language model, and put it back as a constant per head "
    "that folds into a bias: no weight changes, sparsity and speed stay. Start with [bold]demo[/bold].",
    epilog="Models (MODEL): demo | FOLDER | OWNER/NAME\\[@REVISION] on the hub; gated or private ones need HF_TOKEN or "
    "hf auth login.\n\n"
    "Text sources (SRC): demo | everyday | FILE.txt | FILE.jsonl[:FIELD] | self (sampled from the dense model) "
    "| wikitext2 | c4 | alpaca | hf:DATASET\\[/CONFIG][:SPLIT[:COLUMN]]. Files are plain text (.txt, .md, .raw) or "
    "rows (.jsonl, .ndjson, .json, .csv, .tsv, .parquet), also as .gz, .bz2 or .xz.",
)


@app.callback()
def together(
    context: typer.Context,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            help="Processes at one command, each with its GPU or its share of the cores: they read, evaluate and train "
            "in turns, to the figures of one. `accelerate launch -m restorelcc …` does the same, over machines too.",
        ),
    ] = 1,
) -> None:
    """What holds for all commands."""
    if processes > 1 and not launched():
        from .commands.launch import launch

        group = context.command
        given = list(group.given) if isinstance(group, OneLine) else []
        at = next(at for at, word in enumerate(given) if word.startswith("--processes"))
        del given[at : at + (1 if "=" in given[at] else 2)]
        raise typer.Exit(launch(processes, given))


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to export the restored checkpoint.")
    ] = None,
    calibration: Source = "demo",
    sparsity: Annotated[float | None, typer.Option(help="Share of weights to prune. Default 0.6.")] = None,
    pattern: Pattern = None,
    push: Push = None,
    public: Public = False,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    config: Config = None,
    json: Json = False,
) -> None:
    """The whole way on the embedded model, offline: prune, measure, restore, export, and read the export back.

    With [bold]--calibration self[/bold] no text is needed at all: the dense model writes its own.
    """
    from . import console
    from .commands import demo as command

    def run() -> None:
        loading = loading_of(device, dtype, False, False)
        uploading(push, public, lambda: command.demo(out, calibration, sparsity, pattern, seed, loading, json))

    console.run(run)


@app.command()
def prune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="See MODEL below.")],
    out: Out,
    method: Annotated[str, one_of(METHODS, f"How to choose what goes. {briefs(METHODS)}.")] = "wanda",
    sparsity: Annotated[
        float | None, typer.Option(help="Share of every matrix that becomes zero. Default 0.5.")
    ] = None,
    pattern: Pattern = None,
    ratio: Annotated[
        float | None, typer.Option(help="Share of heads and MLP channels that structured removes. Default 0.25.")
    ] = None,
    allocation: Annotated[str, one_of(ALLOCATIONS, f"Sparsity of layers. {briefs(ALLOCATIONS)}.")] = "uniform",
    rounding: Annotated[str, one_of(ROUNDINGS, f"Of Wanda's share of a row. {briefs(ROUNDINGS)}.")] = "down",
    calibration: Source = "demo",
    windows: Windows = 128,
    length: Length = None,
    push: Push = None,
    public: Public = False,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Prune a model layer by layer into an ordinary checkpoint whose config says how it came about."""
    from . import console, opening
    from .commands import prune as command

    def run() -> None:
        text = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        pruning = command.pruning(method, sparsity, pattern, ratio, allocation, rounding=rounding)
        uploading(push, public, lambda: command.prune(model, out, pruning, text, loading, json))

    console.run(run)


@app.command()
def inspect(
    dense: Dense,
    pruned: Pruned,
    calibration: Source = "demo",
    positions: Annotated[str, one_of(POSITIONS, f"Which tokens count. {briefs(POSITIONS)}.")] = "all",
    top: Annotated[int, typer.Option(min=1, max=MOST, help="Heads and components to list.")] = 10,
    csv: Csv = None,
    in_order: Annotated[
        bool, typer.Option("--in-order", help="Each layer measured with the mean losses of those below put back.")
    ] = False,
    scores: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help=f"Measures of heads; the first orders. {briefs(computed())}. Of what heads do: {', '.join(closer())}.",
        ),
    ] = "",
    own: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Scores made elsewhere: a CSV, or a JSON list, of layer, head and value. May be repeated; orders "
            "where there are no --scores.",
        ),
    ] = None,
    contrast: Contrast = "demo",
    bounds: Bounds = False,
    look: Closer = "",
    one_at_a_time: OneAtATime = False,
    windows: Windows = 128,
    length: Length = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """What every head lost, by several measures, scores on request, and the strongest components of it."""
    from . import console, opening
    from .commands import inspect as command

    def run() -> None:
        text = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        asked = command.Asked(
            cast("Positions", positions),
            top,
            csv,
            in_order,
            scores,
            contrast,
            one_at_a_time,
            bounds,
            look,
            tuple(own or ()),
        )
        command.inspect(dense, pruned, text, asked, loading, json)

    console.run(run)


app.command()(restore)


@app.command()
def sweep(
    dense: Dense,
    pruned: Pruned,
    heads: Annotated[str, typer.Option(metavar="LIST", help="Shares of the heads, such as 0.25,0.5,1.")] = "1",
    components: Annotated[str, typer.Option(metavar="LIST", help="Strongest components a head: 1,4,all.")] = "all",
    lr: Annotated[str, typer.Option(metavar="LIST", help="Peak learning rates, as restore has them.")] = "0.1,0.2,0.5",
    loss: Annotated[str, typer.Option(metavar="LIST", help=f"Of {', '.join(LOSSES)}; see restore.")] = "kl",
    text: Annotated[
        str, typer.Option(metavar="LIST", help="Shares of the text to train on, to see how much suffices: 0.1,0.3,1.")
    ] = "1",
    what: What = "constants",
    where: Where = "output",
    way: Way = "whole",
    constants: Constants = False,
    steps: Annotated[int | None, typer.Option(min=1, max=MOST, help="Optimiser steps of every restoration.")] = None,
    score: Annotated[str, one_of(SCORES, "Which heads a share takes first.")] = "together_dense",
    own: Own = None,
    csv: Csv = None,
    log_with: LogWith = "",
    calibration: Source = "demo",
    windows: Windows = 128,
    length: Length = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Restore with every combination of what is listed, and say which does best on held-out windows of the text.

    Every point is kept as a run, and none is exported: the best settings are printed as a [bold]restore[/bold] command.
    Ctrl-C keeps what is done.
    """
    from . import console, opening
    from .commands import sweep as command

    def run() -> None:
        given = {"kind": what, "where": where, "way": way, "constants": constants, "steps": steps, "seed": seed}
        grid = command.grid(heads, components, lr, loss, text, given)
        source = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        asked = command.Asked(dense, pruned, loading, source, score, str(own or ""), grid, csv, log_with)
        command.sweep(asked, json)

    console.run(run)


app.command()(evaluate)
app.command()(report)
app.command()(compare)
app.command()(validate)
app.command()(repeat)


@app.command()
def runs(config: Config = None, json: Json = False) -> None:
    """Restorations kept so far, newest first."""
    from . import console
    from .commands import listing

    console.run(lambda: listing.runs(json))


@app.command()
def families(config: Config = None, json: Json = False) -> None:
    """Families of models that are tested the whole way, and how a restoration of each is exported."""
    from . import console
    from .commands import listing

    console.run(lambda: listing.families(json))
