"""What can be asked of `validate` and `repeat`: a file, or a run, and nothing else."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer.core import TyperGroup

from .restoring import asked_of
from .shared import Json

if TYPE_CHECKING:
    from .given.asked import Asked


def validate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A run's config.json, or options of restore as JSON.")],
    json: Json = False,
) -> None:
    """Check what --config FILE would restore, without running it: the options, the models and whether they are a pair,
    the texts, and about how much memory and time it takes. No weights are read but those of the embedded pair."""
    from . import console

    def run() -> None:
        from .commands.configs import validate as command

        command.validate(_asked(context, file), json)

    console.run(run)


def repeat(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder, or its name (see runs).")],
    json: Json = False,
) -> None:
    """Make a run again from what it says of itself, and say whether it comes to the same figures, and which versions
    are others. Nothing is kept."""
    from . import console

    def again() -> None:
        from .commands.configs import repeat as command

        made = command.find_run(run)
        command.check_repeatable(made)
        command.repeat(made, _asked(context, made.folder / "config.json"), json)

    console.run(again)


def _asked(context: typer.Context, file: Path) -> "Asked":
    """What `restore --config FILE` would be asked. Raises what that would."""
    group = context.parent
    if group is None or not isinstance(group.command, TyperGroup):
        raise TypeError("commands stand in the group of all of them")
    restore = group.command.commands["restore"]
    given = restore.make_context("restore", ["--config", str(file), "--out", "restored"], parent=group)
    return asked_of(cast("typer.Context", given))
