"""The command `repeat`: a run made again from what it says of itself, and held against it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ....artifacts.export import difference
from ....artifacts.runs import Run, list_runs, load_run, runs_folder
from ....errors import SettingError
from ....progress import Progress
from ....progress_bar import watched
from ....restoration.training import Training
from ....storage.formats import versions
from ...console import note, say, show_json, show_table
from ...given.asked import Asked
from ...given.files import is_comparison, read_config
from ...opening import note_held_out
from ..restoring.opened import judgement, opened, picked

WORDS = ("notes", "judged_on", "text")
"""Among figures: what is no number."""


def find_run(name: str) -> Run:
    """By its folder, the name of that, or its own name, where one run alone has it. Raises SettingError, LoadError."""
    for folder in (Path(name), runs_folder() / name):
        if name and (folder / "config.json").is_file():
            return load_run(folder)
    if name.endswith(".json") and Path(name).is_file() and is_comparison(read_config(Path(name))):
        raise SettingError(f"{name} is a comparison of methods, no run. Make it again by compare --config {name}")
    named = [run for run in list_runs() if run.name == name]
    if len(named) != 1:
        reason = f"{len(named)} runs are called {name}" if named else f"There is no run {name}"
        raise SettingError(f"{reason}. Give its folder, which the command runs lists.")
    return named[0]


def check_repeatable(run: Run) -> None:
    """Raises SettingError for one that does not say all that it was made with."""
    if not run.config.get("asked") and not isinstance(run.config.get("recipe"), Mapping):
        raise SettingError(
            f"{run.name} was made by an earlier version, and does not say all that it was made with. Train with its "
            f"settings instead: restore --config {run.folder}/config.json"
        )


def repeat(run: Run, asked: Asked, as_json: bool) -> None:
    """Train and judge again, and say whether it came to the same. Nothing is kept."""
    then, now = run.config.get("versions") or {}, versions()
    changed = {name: [then.get(name), now[name]] for name in now if then.get(name) != now[name]}
    for name, (old, new) in changed.items():
        note(f"It was made with {name} {old or 'that is not known'}, and this is {new}.")
    given = opened(asked)
    other = difference(run.config, given.pair.pruned)
    if other:
        note(f"{asked.pruned} is not the model that it was made for: {other}.")
    trainer = picked(asked, given)
    note_held_out(trainer.tokens, trainer.held_out)
    watched(_trained(trainer, run.config.get("steps_done")))
    restoration = trainer.result()
    figures = judgement(asked, given, trainer, restoration).figures()
    differing = list(_differing(run.config.get("figures") or {}, figures))
    kept = run.trained()
    equal = kept.keys() == restoration.trained.keys() and all(
        torch.equal(part.cpu(), kept[name]) for name, part in restoration.trained.items()
    )
    if as_json:
        told = [{"figure": figure, "then": old, "now": new} for figure, old, new in differing]
        show_json({"equal": not differing, "trained_equal": equal, "versions": changed, "differences": told,
                   "figures": figures})  # fmt: skip
        return
    if differing:
        rows = [[figure, str(old), str(new)] for figure, old, new in differing]
        show_table("What came out otherwise", ["figure", "then", "now"], rows)
        return
    trained = "what was trained too" if equal else "though not all that was trained"
    say(f"Every figure of {run.name} is the same to the last digit, {trained}.")


def _trained(trainer: Training, last: object) -> Generator[Progress, None, None]:
    """To the end, or as far as a run went that was stopped. last: its last step; None: not known."""
    for step in trainer.steps():
        yield Progress("training again", step.step, trainer.settings.steps)
        if step.step == last:
            break
    trainer.judged()


def _differing(then: Any, now: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, then, now) of every figure that is not the same."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in [*now, *(name for name in then if name not in now)]:
            if name not in WORDS:
                yield from _differing(then.get(name), now.get(name), f"{place}.{name}".lstrip("."))
    elif then != now and not (then != then and now != now):  # NaN is the same as NaN
        yield place, then, now
