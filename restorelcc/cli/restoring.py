"""What can be asked of `restore`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..artifacts.export_formats import FORMATS
from ..errors import SettingError
from ..registry import briefs
from ..restoration.choices import KEEPS, LOSSES, POSITIONS, PRECISIONS, STARTS, UNITS
from ..restoration.settings import DEFAULTS
from ..selection.scores import SCORES
from .choices import Constants, Way, What, Where, given_as, is_given, one_of, refuse_beside
from .given.options import Config, PresetName
from .shared import (
    MOST,
    Device,
    Dtype,
    Json,
    Length,
    Own,
    Pickle,
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
    from .given.asked import Asked

SETTINGS = (
    "loss", "lr", "unit", "batch", "warm_up", "cool_down", "start", "learned", "seed", "evaluate_every", "patience",
    "where", "constants", "way", "short_batch", "clip", "precision", "keep", "positions",
)  # fmt: skip
"""Settings that are options of the same name."""
CHANGEABLE = ("out", "format", "device", "allow_pickle", "trust_remote_code", "json", "log_with", "push", "public")
"""Options of `restore` that may be given beside --continue: all else is as the training was begun."""


PICKING = ("heads", "components", "budget", "own")
"""Options that say which components are trained."""


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
    config: Config = None,
    preset: PresetName = None,
    calibration: Source = "demo",
    heads: Annotated[float, typer.Option(help="Share of the heads to restore, above 0 up to 1.")] = 1.0,
    what: What = "constants",
    where: Where = "output",
    way: Way = "whole",
    constants: Constants = False,
    score: Annotated[
        str, one_of(SCORES, "Which heads, where not all: first by this loss or score (see inspect --scores).")
    ] = "together_dense",
    own: Own = None,
    contrast: Annotated[
        str,
        typer.Option(
            metavar="SRC",
            help="What probing asks: calibration (the text trained on, where it has questions) or as inspect has it.",
        ),
    ] = "demo",
    components: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Strongest components a head. Default: all.")
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Trained parameters: the components that do most together for so many."),
    ] = None,
    picks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The components themselves, as a run's config.json names them.")
    ] = None,
    share: Annotated[
        float, typer.Option(help="Share of the text's windows to train on, above 0 up to 1, evenly spread.")
    ] = 1.0,
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
    short_batch: Annotated[
        bool, typer.Option(help="An epoch ends with the windows that are left; else the next one fills the batch.")
    ] = False,
    warm_up: Annotated[
        float, typer.Option(help="Share of the steps over which the rate rises from zero.")
    ] = DEFAULTS.warm_up,
    cool_down: Annotated[
        float, typer.Option(help="Share of the steps, the last ones, over which it falls to zero.")
    ] = DEFAULTS.cool_down,
    clip: Annotated[float, typer.Option(help="Norm that gradients are cut down to; 0: never.")] = 0.0,
    precision: Annotated[str, one_of(PRECISIONS, f"What β and b are held in. {briefs(PRECISIONS)}.")] = "float32",
    positions: Annotated[
        str, one_of(POSITIONS, f"Which tokens the directions are of that are trained along. {briefs(POSITIONS)}.")
    ] = "all",
    keep: Annotated[str, one_of(KEEPS, f"The step that is kept. {briefs(KEEPS)}.")] = "best",
    evaluate_every: Annotated[
        int, typer.Option(min=1, max=MOST, help="Steps between measurements on held-out windows.")
    ] = DEFAULTS.evaluate_every,
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
    log_with: LogWith = "",
    name: Annotated[str | None, typer.Option(help="Name of the run that is kept beside the export.")] = None,
    push: Push = None,
    public: Public = False,
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
    from . import console
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
            changed |= {"log_with": log_with or None}
            uploading(push, public, lambda: command.resume(resume, changed, json, push is not None))
            return
        asked = asked_of(context)
        uploading(push, public, lambda: command.restore(asked, json))

    console.run(run)


def asked_of(context: typer.Context) -> "Asked":
    """What the options of `restore` say together, typed or given. Raises SettingError."""
    from . import opening
    from .given.asked import Asked, Picks, settings_of

    said = context.params
    if said["dense"] is None or said["pruned"] is None or said["out"] is None:
        raise SettingError("Give --dense, --pruned and --out, or --continue RUN for an interrupted training.")
    text = opening.Text(said["calibration"], said["windows"], said["length"], said["seed"])
    loading = loading_of(said["device"], said["dtype"], said["allow_pickle"], said["trust_remote_code"])
    chosen: dict[str, Any] = {name: said[name] for name in ("heads", "score", "components", "budget", "contrast")}
    files: dict[str, Any] = {"own": str(said["own"] or ""), "chosen": str(said["picks"] or "")}
    if any(is_given(context, name) for name in PICKING) and not is_given(context, "picks"):
        files["chosen"] = ""  # What is typed wins over what a file says.
    given = {name: said[name] for name in SETTINGS} | {"kind": said["what"]}
    # Which of the two is typed says how long, whatever else gives the other.
    typed = [option for option in ("steps", "epochs") if is_given(context, option)]
    given["steps"] = None if typed == ["epochs"] else said["steps"]
    settings = settings_of(given, None if typed == ["steps"] else said["epochs"])
    models = {"dense": said["dense"], "pruned": said["pruned"], "loading": loading}
    kept = {name: said[name] for name in ("elsewhere", "format", "name", "share", "log_with")} | {"folder": said["out"]}
    asked = Asked(**models, text=text, picks=Picks(**chosen, **files), settings=settings, **kept)
    return _in_app(context, asked)


def _in_app(context: typer.Context, asked: "Asked") -> "Asked":
    """Of a run that the app made, the same of the pair as the app opens it, but for what is typed."""
    from ..text.sources import SELF
    from .given.in_app import opened_by
    from .opening import Text

    how = opened_by(context)
    if how is None:
        return asked
    recipe, sampled = how.recipe, how.sampled
    source, windows, seed = (SELF, sampled, asked.text.seed) if sampled else (recipe.calibration, recipe.windows, 0)
    text, elsewhere = Text(source, windows, recipe.length, seed), "" if how.by_held_out else recipe.elsewhere
    return replace(asked, in_app=how, text=text, elsewhere=elsewhere, loading=recipe.loading)
