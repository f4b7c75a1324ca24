"""Methods that were compared on one pair, as one JSON document: what `compare --json` writes, what is kept of
comparisons that were made in the app, and what comes along of the embedded pair. One file an experiment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pandas as pd
import torch
from platformdirs import user_data_path

from ..errors import LoadError, shortened
from ..foreign import content_of, document_of, foreign
from ..models.loading import DEMO_FOLDER
from ..registry import markdown
from ..restoration.baselines.comparing import Failure, Outcome
from ..restoration.baselines.methods import METHODS
from ..storage.drafts import remove
from ..storage.folders import write_text
from ..storage.formats import FORMAT, plain, versions
from .findings import Recipe, recipe_written
from .run_config import time_of
from .runs import folders_in, run_folder

SHARES = {
    "recovered": ("recovered_share", "share_stderr", ""),
    "nearer": ("nearer", "nearer_stderr", ""),
    "elsewhere": ("recovered_share", "share_stderr", "elsewhere"),
    "nearer_elsewhere": ("nearer", "nearer_stderr", "elsewhere"),
}
"""Columns of `Experiment.table`: (the share, its error, inside of which part of a result)."""
COUNTS = ("seed", "trained_parameters", "tokens", "zeros", "kept_zeros", "multiplications_beside")
LARGEST = 2**22
"""Bytes of a file that is believed to be one: a result takes one or two thousand."""
MOST_RESULTS = 2_000


@dataclass(frozen=True)
class Experiment:
    """A comparison, done or under way."""

    facts: dict[str, Any]
    """The document: format, pair, texts, windows, budget, results, stopped …"""
    file: Path | None = None
    """Where it is kept."""

    @property
    def pair(self) -> tuple[str, str]:
        """(dense, pruned), as its recipe names them."""
        return str(self.facts["pair"]["dense"]), str(self.facts["pair"]["pruned"])

    @property
    def name(self) -> str:
        """For people."""
        dense, pruned = self.pair
        return f"The comparison on {dense} and {pruned}"

    @property
    def created(self) -> datetime | None:
        """When it was begun."""
        return time_of(self.facts.get("created"))

    @property
    def stopped(self) -> bool:
        """Whether it ended, or stands, before all was done."""
        return bool(self.facts.get("stopped"))

    def text(self, purpose: str) -> str:
        """The source of the text of `calibration`, `there` or `elsewhere`; empty where there is none."""
        return str(self.facts["texts"].get(purpose) or "")

    def budget(self, name: str) -> int:
        """How many `steps` of `batch` windows, and `seeds`."""
        return int(self.facts["budget"][name])

    def windows(self, purpose: str) -> int | None:
        """How many windows of the text there were to judge by; None where it does not say."""
        count = self.facts.get("windows", {}).get(purpose)
        return None if count is None else int(count)

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """(title, why) of methods that could not repair the pair."""
        rows = {(row["method"], row["error"]): None for row in self.facts["results"] if "error" in row}
        return [(title_of(name), str(error)) for name, error in rows]

    def table(self) -> pd.DataFrame:
        """A row a method, means over seeds, in the order in which they were first done: method, title, seeds, the
        shares of `SHARES` with `_stderr` (of one restoration, over windows) and `_seeds` (of the mean, over seeds; NaN
        of one alone), trained, seconds, peak (bytes), kept (share of the zeros), free, beside."""
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for row in self.facts["results"]:
            if "error" not in row:
                groups.setdefault(str(row["method"]), []).append(row)
        return pd.DataFrame([_summary(name, group) for name, group in groups.items()], columns=COLUMNS)

    def written(self) -> str:
        """The document as JSON."""
        return json.dumps(plain(self.facts), allow_nan=False, indent=1) + "\n"


OF_SHARES = [f"{name}{part}" for name in SHARES for part in ("", "_stderr", "_seeds")]
COLUMNS = ["method", "title", "seeds", *OF_SHARES, "trained", "seconds", "peak", "kept", "free", "beside"]


def _summary(name: str, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, peaks = group[0], [row["peak_bytes"] for row in group if row["peak_bytes"] is not None]
    summary: dict[str, Any] = {"method": name, "title": title_of(name), "seeds": len(group)}
    for column, (share, error, inside) in SHARES.items():
        parts = [row[inside] if inside else row for row in group]
        known = [part for part in parts if part is not None and part[share] is not None]
        values = [part[share] for part in known]
        errors = [part[error] for part in known if part[error] is not None]
        summary |= {
            column: mean(values) if values else math.nan,
            f"{column}_stderr": mean(errors) if errors else math.nan,
            f"{column}_seeds": stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan,
        }
    return summary | {
        "trained": first["trained_parameters"],
        "seconds": mean(row["seconds"] for row in group),
        "peak": max(peaks) if peaks else math.nan,
        "kept": first["kept_zeros"] / first["zeros"] if first["zeros"] else math.nan,
        "free": bool(first["free_at_inference"]),
        "beside": first["multiplications_beside"],
    }


def title_of(method: str) -> str:
    """What people call a method; of one that is not known here, its name."""
    return METHODS[method].title if method in METHODS else method


def both_errors(table: pd.DataFrame, share: str) -> pd.Series:
    """The standard error of one restoration over windows, or of the mean over seeds where that is larger."""
    errors: pd.Series = table[[f"{share}_stderr", f"{share}_seeds"]].max(axis=1)
    return errors


def experiment_table(found: Experiment) -> str:
    """As README shows it, after a line that says of which pair and texts."""
    steps, batch, seeds = (found.budget(name) for name in ("steps", "batch", "seeds"))
    texts = [
        f"{found.windows(purpose)} windows of `{found.text(purpose)}`"
        for purpose in ("there", "elsewhere")
        if found.text(purpose)
    ]
    head = (
        f"`{found.pair[0]}`, {found.pair[1]}: {steps} steps of {batch} windows of `{found.text('calibration')}`, "
        f"{seeds} seed{'' if seeds == 1 else 's'}; judged on {', and elsewhere on '.join(texts)}:"
    )
    table = found.table()
    written = {name: [_percent(*pair) for pair in zip(table[name], both_errors(table, name), strict=True)]
               for name in SHARES}  # fmt: skip
    rows = []
    for index, row in enumerate(table.to_dict(orient="records")):
        beside = f"{row['beside']:,} products a token" if row["beside"] else "dense"
        peak = "" if math.isnan(row["peak"]) else f"{row['peak'] / 1e6:.0f}"
        kept = "–" if math.isnan(row["kept"]) else f"{row['kept']:.0%}"
        rows.append(
            [row["title"], *(written[name][index] for name in SHARES), f"{row['trained']:,}", f"{row['seconds']:.0f}",
             peak, kept, "free" if row["free"] else beside]
        )  # fmt: skip
    columns = ["", "recovered", "nearer", "elsewhere, recovered", "elsewhere, nearer", "values", "seconds", "MB",
               "zeros kept", "at inference"]  # fmt: skip
    return f"{head}\n\n{markdown(columns, rows)}"


def _percent(value: float, error: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{100 * value:.1f}{'' if math.isnan(error) else f' ± {100 * error:.1f}'} %".replace("-", "−")


def experiment(
    recipe: Recipe, budget: Mapping[str, int], rows: Sequence[Outcome | Failure], asked: int, **more: Any
) -> Experiment:
    """What is known so far. budget: steps, batch, seeds; asked: how many results there are to be; more: what else the
    document says, such as who owns it."""
    done = [row for row in rows if isinstance(row, Outcome)]
    windows: dict[str, int | None] = {"there": None, "elsewhere": None}
    if done:
        elsewhere = done[0].elsewhere
        windows = {"there": done[0].there.windows, "elsewhere": None if elsewhere is None else elsewhere.windows}
    facts = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(),
        "recipe": recipe_written(recipe),
        "pair": {"dense": recipe.dense, "pruned": recipe.pruned or str(recipe.pruning)},
        "texts": {
            "calibration": recipe.calibration, "there": recipe.evaluation, "elsewhere": recipe.elsewhere or None,
        },
        "windows": windows,
        "budget": dict(budget),
        "results": [row.figures() for row in rows],
        "stopped": len(rows) < asked,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        **more,
    }  # fmt: skip
    return Experiment(facts)


def read_experiment(document: Any) -> Experiment:
    """Raises LoadError for what is none, or of a later format."""
    with foreign(lambda reason: LoadError(f"This is no comparison of methods as compare --json writes it: {reason}.")):
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        if document.get("format", FORMAT) != FORMAT:
            raise ValueError(f"it has format {document['format']!r:.40}, and this version reads {FORMAT}")
        for part, keys in {
            "pair": ("dense", "pruned"),
            "texts": ("there",),
            "budget": ("steps", "batch", "seeds"),
        }.items():
            if not isinstance(document.get(part), dict) or any(key not in document[part] for key in keys):
                raise ValueError(f"{part} does not name {', '.join(keys)}")
        counts = {name: document["budget"][name] for name in ("steps", "batch", "seeds")}
        windows = document.get("windows") or {}
        counts |= {f"windows {name}": count for name, count in windows.items() if count is not None}
        for name, count in counts.items():
            _check_count(name, count, least=1)
        results = document.get("results")
        if not isinstance(results, list) or not 1 <= len(results) <= MOST_RESULTS:
            raise ValueError("it has no results, or too many")
        for row in results:
            _check_result(row)
        return Experiment(document)


def _check_result(row: Any) -> None:
    if not isinstance(row, dict) or not isinstance(row.get("method"), str) or not 1 <= len(row["method"]) <= 40:
        raise ValueError("a result does not name its method")
    if isinstance(row.get("error"), str):
        return
    for key in COUNTS:
        _check_count(key, row.get(key))
    _check_number("seconds", row.get("seconds"))
    if row.get("peak_bytes") is not None:
        _check_count("peak_bytes", row["peak_bytes"])
    row.setdefault("peak_bytes", None)
    if not isinstance(row.get("free_at_inference"), bool):
        raise ValueError("free_at_inference is neither true nor false")
    if not isinstance(row.setdefault("elsewhere", None), dict | None):
        raise ValueError("elsewhere is no object")
    for part in filter(None, (row, row["elsewhere"])):
        for name in ("recovered_share", "share_stderr", "nearer", "nearer_stderr"):
            if part.setdefault(name, None) is not None:
                _check_number(name, part[name])


def _check_count(name: str, value: Any, least: int = 0) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**60:
        raise ValueError(f"{name} is {value!r:.40}, and should be a whole number of {least} or more")


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise ValueError(f"{name} is {value!r:.40}, and should be a number")


def given_experiment(content: bytes) -> Experiment:
    """What a file says that somebody gave. Raises LoadError."""
    with foreign(lambda reason: LoadError(f"This file is no JSON ({reason}).")):
        if len(content) > LARGEST:
            raise ValueError(f"it has {len(content):,} bytes")
        document = json.loads(content.decode("utf-8"))
    return read_experiment(document)


# --- kept on disk ---------------------------------------------------------------------------------------------------


def experiments_folder() -> Path:
    """Where they are kept, beside the runs."""
    return user_data_path("restorelcc") / "experiments"


def new_file(name: str) -> Path:
    """For an experiment on the pair of this name that begins now."""
    return experiments_folder() / f"{run_folder(name)}.json"


def keep_experiment(found: Experiment, file: Path) -> Experiment:
    """In the place of what was known of it before. Raises WriteError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(found.written(), file, "a comparison")
    return Experiment(found.facts, file)


def list_experiments() -> tuple[list[Experiment], list[str]]:
    """(those that are kept, newest first; what is wrong with files that are none, a line each)."""
    found, wrong = [], []
    for file in sorted(folders_in(experiments_folder()), key=lambda path: path.name, reverse=True):
        if file.suffix == ".json" and not file.name.startswith("."):
            try:
                found.append(_read(file))
            except LoadError as error:
                wrong.append(shortened(f"{file.name}: {error}", 300))
    return found, wrong


def _read(file: Path) -> Experiment:
    with foreign(lambda reason: LoadError(f"It cannot be read ({reason}).")):
        content_of(file, LARGEST)
        document = document_of(file)
    return Experiment(read_experiment(document).facts, file)


def discard_experiment(found: Experiment) -> None:
    """Delete what is kept of it."""
    if found.file is not None:
        remove(found.file)


@cache
def shipped_experiments() -> tuple[Experiment, ...]:
    """Those that come along, measured beforehand."""
    return tuple(Experiment(_read(file).facts) for file in sorted((DEMO_FOLDER / "experiments").glob("*.json")))
