"""Whether this server does what a visitor, or a link, asks of it: the one place that holds requests against its rules.

Asked before any work begins, by whatever begins it; everything raises SettingError with what is allowed instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from restorelcc.artifacts.experiments import Experiment, experiments_folder
from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import Run, runs_folder
from restorelcc.artifacts.unfinished import Unfinished
from restorelcc.errors import SettingError
from restorelcc.models.loading import DEMO
from restorelcc.text import files, sources

from ..values import rules

EMBEDDED = (sources.DEMO, sources.EVERYDAY, sources.SELF)
HUB_NAME = re.compile(r"([\w.-]{1,96}/)?[\w.-]{1,96}(@[\w./-]{1,96})?")
CONTEXT = 2_048  # tokens of a window where none are asked for, at most


def check_recipe(recipe: Recipe) -> None:
    """Whether a pair may be opened: where its models and texts lie, and how much is read."""
    allowed = rules.given()
    if allowed != rules.OPEN:
        _check_by_rules(recipe, allowed)
    for source in (recipe.calibration, recipe.evaluation, recipe.elsewhere):
        sources.check_named(source)


def _check_by_rules(recipe: Recipe, allowed: rules.Rules) -> None:
    if recipe == Recipe():
        return
    if allowed.read_only:
        raise SettingError("This server is for looking: it shows the embedded pair as it comes, and opens no other.")
    for name in filter(None, (recipe.dense, recipe.pruned)):
        _check_model(name, allowed)
    if ".." in (recipe.loading.revision or ""):
        raise SettingError(f"{_short(recipe.loading.revision or '')} is no revision of a model.")
    for source in (recipe.calibration, recipe.evaluation, recipe.elsewhere):
        _check_text(source, allowed)
    check_tokens(max(recipe.windows, recipe.evaluated) * (recipe.length or CONTEXT))
    check_disk()


def check_tokens(tokens: int) -> None:
    """Whether so many may be read, or sampled."""
    most = rules.given().tokens
    if most is not None and tokens > most:
        raise SettingError(f"That is a text of {tokens:,} tokens, and this server reads {most:,}: take fewer windows.")


def check_training(steps: int, tokens: int = 0, kept: bool = True) -> None:
    """Whether so many steps may be trained, of all points of a sweep together, on so many sampled tokens. kept: what
    comes out is, as a run."""
    allowed = rules.given()
    if kept and allowed.read_only:
        raise SettingError("This server is for looking, and keeps no runs. The Learn page trains without keeping one.")
    if allowed.steps is not None and steps > allowed.steps:
        raise SettingError(f"That is {steps:,} steps, and this server trains {allowed.steps:,} at once: take fewer.")
    check_tokens(tokens)
    if kept:
        check_disk()


def check_tasks(known: Sequence[str], file: str) -> None:
    """Whether tasks of the hub may be asked for, and questions read from a file of the server."""
    allowed = rules.given()
    if known and not allowed.hub:
        raise SettingError("This server reads nothing from the Hugging Face hub: give a file of questions.")
    if file:
        sources.check_named(file)
        _check_text(file, allowed)


def export_to(name: str) -> Path:
    """The folder that a visitor means: by its whole name, or by the one that it is to have where exports go."""
    folder, allowed = Path(os.path.expanduser(name)), rules.given()
    if allowed.exports is None:
        return folder
    if allowed.read_only or not allowed.exports:
        raise SettingError("This server writes no checkpoints to its disk. Export the adapter, which is downloaded.")
    folder = allowed.exports[0] / folder
    if not _inside(folder, allowed.exports, itself=False):
        raise SettingError(f"Checkpoints are written into {_listed(allowed.exports)} here: give a new name in it.")
    check_disk()
    return folder


def may_export() -> bool:
    """Whether any checkpoint may be written."""
    allowed = rules.given()
    return allowed.exports is None or (bool(allowed.exports) and not allowed.read_only)


def may_change(made: Run | Unfinished | Experiment, owner: str) -> bool:
    """Whether a visitor may rename and delete a run, go on with one that was interrupted, or delete a comparison."""
    allowed = rules.given()
    return not allowed.read_only and (not allowed.own_runs or _owner(made) == owner)


def check_change(made: Run | Unfinished | Experiment, owner: str) -> None:
    """`may_change`, for who asks in spite of it."""
    if not may_change(made, owner):
        raise SettingError(
            f"{made.name} was made by somebody else: who made it can rename and delete it, and in the same browser."
        )


def _owner(made: Run | Unfinished | Experiment) -> object:
    facts: Any = made.config if isinstance(made, Run) else made.facts
    if isinstance(made, Unfinished):
        facts = facts.get("about")
    return facts.get("owner") if isinstance(facts, dict) else None


def check_disk() -> None:
    """Whether there is room in what the server may fill."""
    allowed = rules.given()
    if allowed.disk is None:
        return
    places = (runs_folder(), experiments_folder(), user_cache_path("restorelcc"), *(allowed.exports or ()))
    used = sum(map(_bytes, places)) / 1e9
    if used >= allowed.disk:
        raise SettingError(
            f"What this server keeps takes {used:.1f} GB, and may take {allowed.disk:g}. Delete runs, or ask whoever "
            "started it for more."
        )


def _check_model(name: str, allowed: rules.Rules) -> None:
    if name == DEMO or allowed.models is None:
        return
    if not _is_of_the_hub(name):
        if not _inside(Path(os.path.expanduser(name)), allowed.models):
            raise SettingError(f"This server reads {_models(allowed)}, and {_short(name)} is none of them.")
    elif not allowed.hub:
        raise SettingError(f"This server reads {_models(allowed)}, and nothing from the Hugging Face hub.")


def _is_of_the_hub(name: str) -> bool:
    """Whether what is called so would be asked of the hub: what there is on this machine is read here."""
    return HUB_NAME.fullmatch(name) is not None and ".." not in name and not os.path.lexists(os.path.expanduser(name))


def _models(allowed: rules.Rules) -> str:
    return f"models in {_listed(allowed.models)}" if allowed.models else "no models but the embedded one"


def _check_text(source: str, allowed: rules.Rules) -> None:
    if source in EMBEDDED:
        return
    if source in sources.HUB or source.startswith("hf:"):
        if not allowed.hub:
            raise SettingError(f"This server reads no text from the Hugging Face hub, such as {_short(source)}.")
        if source not in sources.HUB and not _is_of_the_hub("/".join(source[3:].partition(":")[0].split("/")[:2])):
            raise SettingError(f"This server reads datasets of the hub after hf:, and {_short(source)} names none.")
        return
    if allowed.texts is None:
        return
    # Asked first where the name leads, and of what is in these folders alone where the file lies: whether there is such
    # a file elsewhere is nobody's business.
    place = files.located(source) if _inside(files.expanded(source), allowed.texts) else (Path("/"), "")
    if place is not None and not _inside(place[0], allowed.texts):
        read = f"text files in {_listed(allowed.texts)}" if allowed.texts else "no text files"
        raise SettingError(f"This server reads {read}: {_short(source)} cannot be read.")


def _inside(place: Path, folders: Sequence[Path], itself: bool = True) -> bool:
    """Whether a path leads into one of these folders, links followed and `..` gone up."""
    try:
        real = place.resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, no name that a file can have
        return False
    return any(real.is_relative_to(folder) and (itself or real != folder) for folder in folders)


def _listed(folders: Sequence[Path] | None) -> str:
    return ", ".join(map(str, folders or ()))


def _short(name: str) -> str:
    return f"'{name[:100]}'"


def _bytes(folder: Path) -> int:
    """That all files in a folder take."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone since
                continue
    return total
