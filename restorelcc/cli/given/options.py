"""Options that are given otherwise than by typing them: all at once, by the name of a preset or in a file. What is
typed wins over a preset, and a preset over a file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import RestoreLCCError
from ...registry import briefs
from ...restoration.settings import PRESETS, Preset
from .files import READ, lacking, options_in, options_of, read_config

LACKING = f"{__name__}.lacking"
"""Under which a context has what is to be said where an argument is missing that a file was to give."""
ORDER = ("config", "preset")
"""Of what gives options: the later ones win."""


def give(context: typer.Context, by: str, options: Mapping[str, Any]) -> None:
    """Take these where they are not typed. by: of `ORDER`."""
    given = context.meta.setdefault(f"{__name__}.{context.command.name}", {})
    given[by] = options
    context.default_map = {name: value for each in ORDER for name, value in given.get(each, {}).items()}


def _preset(context: typer.Context, value: str | None) -> str | None:
    if value is None:
        return None
    if value not in PRESETS:
        raise typer.BadParameter(f"'{value}' is not one of {', '.join(PRESETS)}.")
    preset: Preset = PRESETS[value]
    options = options_of(asdict(preset.settings))
    if preset.settings.bounded:
        del options["lr"]  # One that is given is not lowered.
    give(context, "preset", options | {name: getattr(preset, name) for name in ("heads", "score", "contrast")})
    return value


def _config(context: typer.Context, value: Path | None) -> Path | None:
    if value is None:
        return None
    names = {option.name for option in context.command.params if option.name}
    try:
        data, command = read_config(value), str(context.command.name)
        give(context, "config", options_in(value, data, command, names))
        context.meta.update({READ: data, LACKING: lacking(data, command)})
    except RestoreLCCError as error:
        raise typer.BadParameter(str(error)) from None
    return value


PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar=f"<{'|'.join(PRESETS)}>",
        callback=_preset,
        is_eager=True,
        help=f"All settings at once; what is given beside it wins. {briefs(PRESETS)} (README has the table).",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=_config,
        is_eager=True,
        help="Options that are not typed: a run's config.json, or a JSON object of options by their names.",
    ),
]
