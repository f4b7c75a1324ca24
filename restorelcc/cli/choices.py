"""How options are read: those whose values are rows of tables, README's list of them, options that stand alone, and how
a misuse is told."""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..artifacts.export_formats import FORMATS
from ..errors import SettingError
from ..evaluation.tasks.known import TASKS
from ..inspection.definitions import LOOKS
from ..pruning.methods import ALLOCATIONS, METHODS, ROUNDINGS
from ..registry import Choice, briefs, markdown
from ..restoration.choices import KEEPS, LOSSES, POSITIONS, PRECISIONS, STARTS, UNITS, WAYS, WHAT, WHERE
from .given.options import LACKING

WIDEST = 40
"""Letters of names that fit into the column of values; more are listed in the help."""


def one_of(rows: Mapping[str, Choice], help: str) -> Any:
    """An option of which each value is a row of a table; any other is refused with the list of them."""

    def check(value: str) -> str:
        if value not in rows:
            raise typer.BadParameter(f"'{value}' is not one of {', '.join(rows)}.")
        return value

    if len("|".join(rows)) > WIDEST:
        return typer.Option(metavar="NAME", callback=check, help=f"{help} One of {', '.join(rows)}.")
    return typer.Option(metavar=f"<{'|'.join(rows)}>", callback=check, help=help)


OneAtATime = Annotated[
    bool,
    typer.Option(
        "--one-at-a-time",
        help="Never both models in memory; what one computed waits on disk. So it is anyhow where both do not fit.",
    ),
]
Bounds = Annotated[
    bool,
    typer.Option(
        "--bounds",
        help="What could come back at all: every head's constant trained, and layers, heads and MLPs patched.",
    ),
]
Closer = Annotated[
    str, typer.Option("--closer", metavar="A,B,…", help=f"A closer look, a table each. {briefs(LOOKS)}.")
]
What = Annotated[str, one_of(WHAT, f"What is trained. {briefs(WHAT)}.")]
Where = Annotated[str, one_of(WHERE, f"Which weights, where these are trained. {briefs(WHERE)}.")]
Way = Annotated[str, one_of(WAYS, f"How training goes through the model. {briefs(WAYS)}.")]
Constants = Annotated[
    bool, typer.Option("--constants", help="With weights: constants beside them, which fold into biases.")
]


def choices_table() -> str:
    """README's, in Markdown: of every option but those that have a table of their own."""
    options: dict[str, Mapping[str, Choice]] = {
        "prune --method": METHODS,
        "prune --allocation": ALLOCATIONS,
        "prune --rounding": ROUNDINGS,
        "restore --what": WHAT,
        "restore --where": WHERE,
        "restore --way": WAYS,
        "restore --loss": LOSSES,
        "restore --start": STARTS,
        "restore --unit": UNITS,
        "restore --positions": POSITIONS,
        "restore --precision": PRECISIONS,
        "restore --keep": KEEPS,
        "restore --format": FORMATS,
        "evaluate --tasks": TASKS,
    }
    rows = []
    for option, choices in options.items():
        for index, row in enumerate(choices.values()):
            rows.append(("" if index else f"`{option}`", f"`{row.name}`", row.brief))
    return markdown(("option", "value", "what it is"), rows)


def is_given(context: typer.Context, name: str) -> bool:
    """Whether an option was typed."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def given_as(context: typer.Context, name: str) -> str | None:
    """An option as it was typed; None where it was not."""
    return context.params[name] if is_given(context, name) else None


def refuse_beside(context: typer.Context, one: str, others: tuple[str, ...]) -> None:
    """Raises SettingError where options are given beside `one` that are not among `others`."""
    options = {option.name: option.opts[0] for option in context.command.params}
    extra = [options[name] for name in options if name not in (one, *others) and is_given(context, name)]
    if extra:
        raise SettingError(
            f"{options[one]} goes on as it was begun, so {', '.join(extra)} cannot be given beside it. Leave that out, "
            f"or begin anew without {options[one]}."
        )


class OneLine(TyperGroup):
    """Commands of which a misuse is told as every other error is: in one line."""

    given: Sequence[str] = ()
    """What it was run with."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that `args` name."""
        self.given = given = sys.argv[1:] if args is None else args
        if not given:  # Help is what is told then, and is many lines.
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            told: str = getattr(error, "format_message", error.__str__)()  # It names the option too.
            context = getattr(error, "ctx", None)
            if context is not None and type(error).__name__ == "MissingParameter":
                told = " ".join(filter(None, [told, context.meta.get(LACKING)]))
            sys.stderr.write(f"Error: {SettingError(told.rstrip('.') + '. See --help.')}\n")
            sys.exit(2)
        sys.exit(code or 0)
