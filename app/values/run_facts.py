"""What kept runs say of themselves, and runs side by side as a table.

Runs of the command line, of older versions and of others say less: what is not there is None.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path, PurePath
from typing import Any

import pandas as pd

from restorelcc.artifacts.findings import Recipe, recipe_read
from restorelcc.artifacts.runs import Run
from restorelcc.demo.pair import DEFAULT
from restorelcc.errors import RestoreLCCError
from restorelcc.evaluation import comparison
from restorelcc.evaluation.perplexity import Difference
from restorelcc.models.loading import DEMO
from restorelcc.pruning.layerwise import Pruning
from restorelcc.restoration.choices import LOSSES
from restorelcc.restoration.settings import Settings
from restorelcc.workspace import pruned_name

from .verbatim import visible

HYPERPARAMETERS = tuple(field.name for field in fields(Settings) if field.name not in ("teacher_bytes", "bounded"))
"""Settings that change the result; where logits are kept does not."""
SETTINGS = ("heads", "calibration", "windows", *HYPERPARAMETERS)
OF_WEIGHTS, OF_CONSTANTS = ("where", "constants"), ("start", "learned")
"""Settings that one kind of what is trained has, and the other has not."""
PLAIN = ("kind", "way")
"""Settings that are worth a word only where they are not as they always were."""
NAMES = {
    "kind": "trained",
    "where": "which weights",
    "constants": "constants beside",
    "evaluate_every": "evaluated every",
    "learned": "learned b",
    "warm_up": "warm-up",
    "cool_down": "cool-down",
    "windows": "training windows",
}


def known(run: Run, *path: str) -> Any:
    """config[path[0]][path[1]]… of a run, or None where that is not there."""
    part: Any = run.config
    for name in path:
        part = part.get(name) if isinstance(part, Mapping) else None
    return part


def number(run: Run, *path: str) -> float | None:
    """A number of a run's config, as `known` finds it; None for anything that is not a finite number."""
    value = known(run, *path)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


SHARES = {"recovered_share": "share_stderr", "nearer": "nearer_stderr"}
"""Shares of what pruning did that is undone (see `evaluation.comparison`), and the names of their standard errors."""


UNKNOWN = "distance unknown"
"""Of a run that was kept before distances to the dense model were measured."""


def share(run: Run, name: str, *within: str) -> str:
    """One of `SHARES` with its error, in words: of the evaluation text, or of the text `within`; empty where it is not
    known. Of how much nearer it came that is said, where the other share is known: that one says too little alone."""
    value, error = (number(run, "figures", *within, of) for of in (name, SHARES[name]))
    if value is None:
        alone = name == "nearer" and number(run, "figures", *within, "recovered_share") is not None
        return UNKNOWN if alone else ""
    return (f"{value:.1%}" + (f" ± {error:.1%}" if error is not None else "")).replace("-", "−")


def measures_distance(loss: object, start: object) -> bool:
    """Whether the held-out loss of a training is the distance to the dense model, and its first one the pruned
    model's. Both by name, as settings have them."""
    row = LOSSES.get(str(loss))
    return row is not None and row.against == "dense" and start == "zero"


def elsewhere(run: Run) -> str:
    """What people call the second text that a run was judged on; empty where there was none."""
    return short(known(run, "figures", "elsewhere", "text")) or ""


def learns_the_text(run: Run) -> bool:
    """The likelihood rises while the distance to the dense model grows, both by more than two standard errors."""
    gain, error = number(run, "figures", "gain", "nats"), number(run, "figures", "gain", "stderr")
    nearer, spread = number(run, "figures", "nearer"), number(run, "figures", "nearer_stderr")
    if gain is None or error is None or nearer is None or spread is None:
        return False
    return comparison.learns_the_text(Difference(gain, error), comparison.Share(nearer, spread))


def short(name: object) -> str | None:
    """A model's name for people: of a folder, its last part."""
    if not isinstance(name, str) or not name:
        return None
    return PurePath(name).name if PurePath(name).is_absolute() else name


def pair_names(run: Run) -> tuple[str | None, str | None]:
    """What people call the dense and the pruned model of a run; None where it does not say."""
    recipe = recipe_of(run)
    if recipe is not None and recipe.pruned is None:
        return short(recipe.dense), pruned_name(recipe)
    return short(known(run, "dense")), short(known(run, "pruned"))


def setting(run: Run, name: str) -> Any:
    """A setting of a run, one of SETTINGS; None where it is not known."""
    if name == "calibration":
        return short(known(run, "calibration", "source"))
    if name == "windows":
        return known(run, "calibration", "windows")
    if name == "heads":
        picks = known(run, "selection", "picks")
        return len(picks) if isinstance(picks, Mapping) else None
    return known(run, "settings", name)


def applying(run: Run, name: str) -> bool:
    """Whether a setting had a part in what the run trained."""
    weights, constants = setting(run, "kind") == "weights", setting(run, "constants") is True
    return not ((name in OF_WEIGHTS and not weights) or (name in OF_CONSTANTS and weights and not constants))


def steps_done(run: Run) -> str:
    """How many steps of how many a run was trained that was stopped, in words: ' after 40 of 200 steps'."""
    done, steps = number(run, "steps_done"), number(run, "settings", "steps")
    return " early" if done is None or steps is None else f" after {done:,} of {steps:,} steps"


def written(value: object) -> str:
    """A setting in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else visible(str(value))


def differing(runs: Sequence[Run]) -> tuple[list[str], list[str]]:
    """(settings that differ, settings that are the same and say something), both in SETTINGS' order, among runs that
    say; that one has no part in some of them is a difference too."""
    differ, same = [], []
    for name in SETTINGS:
        having = [run for run in runs if applying(run, name)]
        values = {written(value) for run in having if (value := setting(run, name)) is not None}
        without = any(known(run, "settings") and run not in having for run in runs)
        if len(values) > 1 or (values and without):
            differ.append(name)
        elif values and not (name in PLAIN and values == {getattr(Settings, name)}):
            same.append(name)
    return differ, same


def table(runs: Sequence[Run], columns: Sequence[str], parameters: Mapping[str, int]) -> pd.DataFrame:
    """One row a run: its name, what it came to, and the settings named by `columns`; None where unknown.

    parameters: of dense models by name, where they are known.
    """
    rows = []
    for run in runs:
        trained = number(run, "trained_parameters")
        size = parameters.get(str(known(run, "dense"))) or number(run, "parameters")
        row: dict[str, Any] = {
            "run": visible(run.name),
            **{name: setting(run, name) if applying(run, name) else None for name in columns},
        }
        row |= {
            "recovered": number(run, "figures", "recovered_share"),
            "recovered_stderr": number(run, "figures", "share_stderr"),
            "nearer": number(run, "figures", "nearer"),
            "nearer_stderr": number(run, "figures", "nearer_stderr"),
            "elsewhere": number(run, "figures", "elsewhere", "recovered_share"),
            "elsewhere_stderr": number(run, "figures", "elsewhere", "share_stderr"),
            "nearer_elsewhere": number(run, "figures", "elsewhere", "nearer"),
            "nearer_elsewhere_stderr": number(run, "figures", "elsewhere", "nearer_stderr"),
            "perplexity": number(run, "figures", "restored", "perplexity"),
            "stderr": number(run, "figures", "restored", "stderr"),
            "gain": number(run, "figures", "gain", "nats"),
            "gain_stderr": number(run, "figures", "gain", "stderr"),
            "trained": trained,
            "share": trained / size if trained is not None and size else None,
            "pair": pair_of(run) or None,
            "made": run.created,
            "steps done": _of_all(run),
            "★": "★" if known(run, "star") is True else None,
            "tags": visible(", ".join(tags(run))) or None,
            "note": visible(str(known(run, "note") or "")) or None,
        }
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in columns:
        # Numbers stay numbers, so that they sort as such; mixed or worded settings sort as text.
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in frame[name].dropna()):
            frame[name] = [None if value is None else written(value) for value in (row[name] for row in rows)]
    return frame


def tags(run: Run) -> list[str]:
    """Words that a person, or a sweep, gave it to be found by."""
    given = known(run, "tags")
    return [str(tag) for tag in given] if isinstance(given, list) else []


def _of_all(run: Run) -> str | None:
    """40 of 200: the steps that were done, of those that were asked for."""
    done, steps = number(run, "steps_done"), number(run, "settings", "steps")
    return None if done is None or steps is None else f"{done:,} of {steps:,}"


def pair_of(run: Run) -> str:
    """Dense → pruned, as people call them; empty where it does not say."""
    return visible(" → ".join(part or "–" for part in pair_names(run))) if any(pair_names(run)) else ""


def recipe_of(run: Run) -> Recipe | None:
    """How the run's pair is opened; None if it does not say. Runs of the command line name their models only."""
    recipe = run.config.get("recipe")
    dense, pruned = run.config.get("dense"), run.config.get("pruned")
    with suppress(RestoreLCCError, ValueError, TypeError):
        if isinstance(recipe, dict):
            return recipe_read({str(name): str(value) for name, value in recipe.items()})
        if isinstance(dense, str) and isinstance(pruned, str):
            partner = re.fullmatch(r"demo-([a-z]+)(-owl)?-([\d.]+)(of\d+)?-[0-9a-f]{16}", Path(pruned).name)
            if dense == DEMO and (partner is not None or pruned == DEMO):  # Of the embedded model, in the user's cache.
                return Recipe(pruning=_partner(partner))
            return Recipe(dense=dense, pruned=pruned)
    return None


def _partner(folder: re.Match[str] | None) -> Pruning:
    """How the embedded model's partner was pruned, by the name of its folder; None: as in the embedded pair."""
    if folder is None:
        return DEFAULT
    method, owl, amount, of = folder.groups()
    if of:
        return Pruning(method, pattern=f"{amount}:{of.removeprefix('of')}")
    return Pruning(method, float(amount), allocation="owl" if owl else "uniform")
