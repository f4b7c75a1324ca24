"""What can be asked of `report`."""

from pathlib import Path
from typing import Annotated

import typer

from .given.options import Config
from .shared import MOST, Device, Dtype, Json, Length, Pickle, Source, Trust, loading_of


def report(
    context: typer.Context,
    dense: Annotated[str, typer.Option(metavar="MODEL", help="The model before pruning; see MODEL below.")] = "demo",
    pruned: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The same model pruned. Default, of demo: Wanda 60 %.")
    ] = None,
    run: Annotated[
        str, typer.Option(metavar="A,B,…", help="Runs instead (see runs): one, or several beside each other.")
    ] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="One HTML file, which opens anywhere.")] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pages of a whole pair, for a static web server.")
    ] = None,
    calibration: Source = "demo",
    text: Annotated[str, typer.Option("--text", metavar="SRC", help="Text that perplexities are of.")] = "demo",
    windows: Annotated[int, typer.Option(min=2, max=MOST, help="Windows of text that heads are read from.")] = 24,
    length: Length = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """A pair, or runs, as a report that opens anywhere: figures to look into, tables, settings, and the command lines
    that come to it again. Nothing in it is fetched from elsewhere."""
    from . import console

    def write() -> None:
        from ..artifacts.findings import Recipe
        from ..models.loading import DEMO
        from .commands import report as command
        from .given.in_app import recipe_by

        given = recipe_by(context, {"text": "evaluation"})
        recipe = given or Recipe(
            dense=dense,
            pruned=None if dense == pruned == DEMO else pruned,
            calibration=calibration,
            evaluation=text,
            captured=windows,
            windows=max(windows, Recipe.windows),
            length=length,
            loading=loading_of(device, dtype, allow_pickle, trust_remote_code),
        )
        command.report(recipe, run, out, folder, json)

    console.run(write)
