"""The command line: what can be asked for. How it is done is in a file a command, imported when it runs, because the
libraries behind it take seconds to import and `--help` should not."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..artifacts.export_formats import FORMATS
from ..errors import SettingError
from ..pruning.methods import ALLOCATIONS, METHODS
from ..registry import briefs
from ..restoration.choices import LOSSES, STARTS, UNITS
from ..selection.scores import SCORES, closer, computed
from .choices import Bounds, Closer, Constants, OneAtATime, OneLine, Way, What, Where, given_as, one_of, refuse_beside
from .comparing import compare
from .evaluating import evaluate
from .reporting import report
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
    Pattern,
    Pickle,
    PositionsName,
    Pruned,
    Seed,
    Source,
    Trust,
    Windows,
    loading_of,
)

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


CHANGEABLE = ("out", "format", "device", "allow_pickle", "trust_remote_code", "json")
"""Options of `restore` that may be given beside --continue: all else is as the training was begun."""


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to export the restored checkpoint.")
    ] = None,
    calibration: Source = "demo",
    sparsity: Annotated[float | None, typer.Option(help="Share of weights to prune. Default 0.6.")] = None,
    pattern: Pattern = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    json: Json = False,
) -> None:
    """The whole way on the embedded model, offline: prune, measure, restore, export, and read the export back.

    With [bold]--calibration self[/bold] no text is needed at all: the dense model writes its own.
    """
    from . import console
    from .commands import demo as command

    console.run(
        lambda: command.demo(out, calibration, sparsity, pattern, seed, loading_of(device, dtype, False, False), json)
    )


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
    calibration: Source = "demo",
    windows: Windows = 128,
    length: Length = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Prune a model layer by layer into an ordinary checkpoint whose config says how it came about."""
    from . import console, opening
    from .commands import prune as command

    def run() -> None:
        text = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        pruning = command.pruning(method, sparsity, pattern, ratio, allocation)
        command.prune(model, out, pruning, text, loading, json)

    console.run(run)


@app.command()
def inspect(
    dense: Dense,
    pruned: Pruned,
    calibration: Source = "demo",
    positions: Annotated[
        PositionsName, typer.Option(help="All tokens, or the last of each text as in the paper.")
    ] = PositionsName.all,
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
    json: Json = False,
) -> None:
    """What every head lost, by several measures, scores on request, and the strongest components of it."""
    from . import console, opening
    from .commands import inspect as command

    def run() -> None:
        text = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        asked = command.Asked(
            positions.value, top, csv, in_order, scores, contrast, one_at_a_time, bounds, look, tuple(own or ())
        )
        command.inspect(dense, pruned, text, asked, loading, json)

    console.run(run)


@app.command()
def restore(
    context: typer.Context,
    dense: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model before pruning; see MODEL below.")
    ] = None,
    pruned: Annotated[str | None, typer.Option(metavar="MODEL", help="The same model pruned; see MODEL below.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write; must not hold anything yet.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--continue", metavar="RUN", help="Go on with an interrupted training (see runs).")
    ] = None,
    calibration: Source = "demo",
    heads: Annotated[float, typer.Option(help="Share of the heads to restore, above 0 up to 1.")] = 1.0,
    what: What = "constants",
    where: Where = "output",
    way: Way = "whole",
    constants: Constants = False,
    score: Annotated[
        str, one_of(SCORES, "Which heads, where not all: first by this loss or score (see inspect --scores).")
    ] = "together_dense",
    components: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Strongest components a head. Default: all.")
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Trained parameters: the components that do most together for so many."),
    ] = None,
    learned: Annotated[bool, typer.Option(help="Train a free component b per head beside the magnitudes.")] = True,
    loss: Annotated[str, one_of(LOSSES, f"What is minimised. {briefs(LOSSES)}.")] = "kl",
    lr: Annotated[
        float | None,
        typer.Option(help="Peak rate, in --unit a step. Default: 0.2, or less."),
    ] = None,
    unit: Annotated[str, one_of(UNITS, f"What the rate is counted in. {briefs(UNITS)}.")] = "loss",
    steps: Annotated[int | None, typer.Option(min=1, max=MOST, help="Optimiser steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the text, instead of --steps.")] = None,
    batch: Annotated[int, typer.Option(min=1, max=MOST, help="Windows a step.")] = 8,
    start: Annotated[str, one_of(STARTS, f"Where training starts. {briefs(STARTS)}.")] = "zero",
    patience: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Stop after so many evaluations without a better one.")
    ] = None,
    windows: Windows = 128,
    length: Length = None,
    seed: Seed = 0,
    format: Annotated[str, one_of(FORMATS, f"What is written. {briefs(FORMATS)}.")] = "adapter",
    elsewhere: Annotated[
        str, typer.Option(metavar="SRC", help="A second text to judge by, which nothing is trained on; '' for none.")
    ] = "everyday",
    name: Annotated[str | None, typer.Option(help="Name of the run that is kept beside the export.")] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Train what is put back into a pruned model, and export it. Ctrl-C ends the training and keeps the best so far.

    Needs --dense, --pruned and --out. A training that was killed goes on with [bold]--continue RUN[/bold], as it was
    begun, to what it would have come to.
    """
    from . import console, opening
    from .commands import restore as command

    def run() -> None:
        if resume is not None:
            refuse_beside(context, "resume", CHANGEABLE)
            changed: dict[str, Any] = {
                "folder": out,
                "format": given_as(context, "format"),
                "device": given_as(context, "device"),
            }
            changed |= {"allow_pickle": allow_pickle or None, "trust_remote_code": trust_remote_code or None}
            command.resume(resume, changed, json)
            return
        if dense is None or pruned is None or out is None:
            raise SettingError("Give --dense, --pruned and --out, or --continue RUN for an interrupted training.")
        text = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        picks = command.Picks(heads, score, components, budget)
        given = {"loss": loss, "batch": batch, "start": start, "unit": unit, "patience": patience}
        given |= {"learned": learned, "seed": seed, "lr": lr, "steps": steps}
        given |= {"kind": what, "where": where, "way": way, "constants": constants}
        settings = command.settings_of(given, epochs)
        asked = command.Asked(dense, pruned, loading, text, picks, settings, epochs, elsewhere, out, format, name)
        command.restore(asked, json)

    console.run(run)


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
    csv: Csv = None,
    calibration: Source = "demo",
    windows: Windows = 128,
    length: Length = None,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    json: Json = False,
) -> None:
    """Restore with every combination of what is listed, and say which does best on held-out windows of the text.

    Nothing is exported: the best settings are printed as a [bold]restore[/bold] command. Ctrl-C keeps what is done.
    """
    from . import console, opening
    from .commands import sweep as command

    def run() -> None:
        given = {"kind": what, "where": where, "way": way, "constants": constants, "steps": steps, "seed": seed}
        grid = command.grid(heads, components, lr, loss, text, given)
        source = opening.Text(calibration, windows, length, seed)
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        command.sweep(dense, pruned, source, score, grid, csv, loading, json)

    console.run(run)


app.command()(evaluate)
app.command()(report)
app.command()(compare)


@app.command()
def runs(json: Json = False) -> None:
    """Restorations kept so far, newest first."""
    from . import console
    from .commands import listing

    console.run(lambda: listing.runs(json))


@app.command()
def families(json: Json = False) -> None:
    """Families of models that are tested the whole way, and how a restoration of each is exported."""
    from . import console
    from .commands import listing

    console.run(lambda: listing.families(json))
