"""What can be asked of `compare`."""

from typing import Annotated

import typer

from ..errors import SettingError
from ..models.loading import DISK, SHARD
from ..registry import briefs
from ..restoration.baselines.methods import METHODS
from .given.options import Config
from .shared import MOST, Csv, Device, Dtype, Json, Length, Pickle, Source, Trust, Windows, loading_of
from .tracking import LogWith


def compare(
    context: typer.Context,
    pair: Annotated[str, typer.Argument(metavar="[demo]", help="The embedded pair, where no other is given.")] = "demo",
    dense: Annotated[str | None, typer.Option(metavar="MODEL", help="The model before pruning.")] = None,
    pruned: Annotated[str | None, typer.Option(metavar="MODEL", help="The same model pruned.")] = None,
    methods: Annotated[str, typer.Option(metavar="A,B,…", help=f"Which; all by default. {briefs(METHODS)}.")] = "",
    steps: Annotated[int, typer.Option(min=1, max=MOST, help="Optimiser steps of what is trained.")] = 40,
    batch: Annotated[int, typer.Option(min=1, max=MOST, help="Windows a step.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Trainings of each, with other orders and starts.")] = 3,
    calibration: Source = "demo",
    text: Annotated[str, typer.Option("--text", metavar="SRC", help="Text to judge by, of the same kind.")] = "demo",
    elsewhere: Annotated[
        str, typer.Option(metavar="SRC", help="Text of another kind to judge by; '' for none.")
    ] = "everyday",
    windows: Windows = 96,
    judged: Annotated[int, typer.Option(min=1, max=MOST, help="Windows to judge by at most, of each text.")] = 64,
    length: Length = None,
    csv: Csv = None,
    log_with: LogWith = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Restore, and repair by what else there is: LoRA, biases, least squares …, on the same text, steps and seeds.

    Told of each: what it recovers and how near it comes, there and on another text, what it trains, takes, and costs at
    inference. Ctrl-C keeps what is done.
    """
    from . import console
    from .commands import compare as command
    from .given.in_app import recipe_by

    def run() -> None:
        if device in (DISK, SHARD):
            raise SettingError(
                "Methods are compared on copies of the pruned model, which are changed in place and so cannot stay on "
                "disk: give --device cpu, or cuda."
            )
        recipe = recipe_by(context, {"text": "evaluation", "judged": "evaluated"})
        if recipe is None:
            loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
            sizes = {"windows": windows, "evaluated": judged, "length": length, "loading": loading}
            recipe = command.recipe_of(
                pair, dense, pruned, calibration=calibration, evaluation=text, elsewhere=elsewhere, **sizes
            )
        command.compare(command.Asked(recipe, methods, command.Budget(steps, batch, seeds), csv, log_with), json)

    console.run(run)
