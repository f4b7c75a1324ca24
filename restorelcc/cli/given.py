"""Options that are given otherwise than by typing them: all at once, by the name of a preset. What is typed wins."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..registry import briefs
from ..restoration.settings import PRESETS, Preset

ORDER = ("preset",)
"""Of what gives options, the later before the earlier."""
NAMES = {"kind": "what"}
"""What the command line calls a setting, where that is another name."""


def give(context: typer.Context, by: str, options: Mapping[str, Any]) -> None:
    """Take these where they are not typed. by: of `ORDER`."""
    given = context.meta.setdefault(__name__, {})
    given[by] = options
    context.default_map = {name: value for each in ORDER for name, value in given.get(each, {}).items()}


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training by the names of options; what is not set is left out."""
    named = {NAMES.get(name, name): value for name, value in settings.items()}
    if named.get("epochs"):
        named.pop("steps", None)
    else:
        named.pop("epochs", None)
    return {name: value for name, value in named.items() if value is not None}


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
