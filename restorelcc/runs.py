"""A run: one restoration kept in a folder, to be listed, compared, reloaded and deleted.

20261123-204500-wanda-60-kl-3f2a/
├── config.json           what was restored, how, with which versions, and the final figures
├── metrics.jsonl         one line a training step
├── training.safetensors  β and b
└── adapter/              the compensation, as `export` writes it
"""

import json
import re
import secrets
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from platformdirs import user_data_path
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import LoadError
from .export import FORMAT, Adapter, fill_adapter, load_adapter, read_json, versions, write_json
from .folders import whole
from .layout import HeadGeometry
from .restore import Restoration, Settings
from .selection import Selection

CONFIG, METRICS, TRAINING, ADAPTER = "config.json", "metrics.jsonl", "training.safetensors", "adapter"


def runs_folder() -> Path:
    """Where runs are kept: in the user's data directory, which XDG_DATA_HOME and the like can move."""
    return user_data_path("restorelcc") / "runs"


@dataclass(frozen=True)
class Run:
    """A run on disk. Reading its parts raises LoadError if they are damaged."""

    folder: Path
    config: dict[str, Any]
    """name, created, dense, pruned, calibration, settings, selection, figures, versions …"""

    @property
    def name(self) -> str:
        """As the user gave it; not unique."""
        return str(self.config["name"])

    @property
    def settings(self) -> Settings:
        """How it was trained."""
        return Settings(**self.config["settings"])

    @property
    def selection(self) -> Selection:
        """What was trained."""
        return Selection.from_json(json.dumps(self.config["selection"]))

    def metrics(self) -> pd.DataFrame:
        """One row a step: step, tokens, loss, lr, tokens_per_second, seconds, perplexity, stderr, best."""
        return pd.read_json(self.folder / METRICS, lines=True)

    def adapter(self) -> Adapter:
        """What came out."""
        return load_adapter(self.folder / ADAPTER)

    def trained(self) -> dict[str, Tensor]:
        """`beta` [layer, head, component] and `learned` [layer, head, d_head]."""
        return load_file(self.folder / TRAINING)


def save_run(
    restoration: Restoration, shape: HeadGeometry, name: str, about: dict[str, Any], root: Path | None = None
) -> Run:
    """Keep a restoration. about: what only the caller knows (models, calibration, figures). Raises WriteError."""
    now = datetime.now(UTC)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    folder = (root or runs_folder()) / f"{now:%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"
    config = {
        "format": FORMAT,
        "name": name,
        "created": now.isoformat(),
        **about,
        "settings": asdict(restoration.settings),
        "selection": json.loads(restoration.selection.to_json()),
        "trained_parameters": restoration.trained_parameters,
        "best_step": restoration.best_step,
        "versions": versions(),
    }
    with whole(folder) as draft:
        write_json(draft / CONFIG, config)
        lines = [json.dumps(row) for row in _rows(restoration)]
        (draft / METRICS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        save_file(
            {"beta": restoration.beta.contiguous(), "learned": restoration.learned.contiguous()}, draft / TRAINING
        )
        (draft / ADAPTER).mkdir()
        fill_adapter(draft / ADAPTER, restoration.compensation, shape, about)
    return Run(folder, config)


def _rows(restoration: Restoration) -> list[dict[str, Any]]:
    """Steps as flat rows; JSON knows no NaN, so the loss before training is null."""
    rows = []
    for step in restoration.history:
        row = asdict(step)
        held_out = row.pop("held_out") or {}
        row["loss"] = None if step.step == 0 else step.loss
        rows.append(row | {"perplexity": held_out.get("value"), "stderr": held_out.get("stderr")})
    return rows


def load_run(folder: Path) -> Run:
    """What `save_run` wrote. Raises LoadError."""
    return Run(folder, read_json(folder / CONFIG, "run"))


def list_runs(root: Path | None = None) -> list[Run]:
    """All runs that can be read, newest first; folders that are no runs are passed over."""
    found = []
    place = root or runs_folder()
    for folder in place.iterdir() if place.is_dir() else ():
        if not folder.name.startswith("."):
            try:
                found.append(load_run(folder))
            except LoadError:
                continue
    return sorted(found, key=lambda run: (run.config["created"], run.folder.name), reverse=True)


def delete_run(run: Run) -> None:
    """Remove a run for good. Raises LoadError if it is no longer one, so that nothing else is ever removed."""
    load_run(run.folder)
    shutil.rmtree(run.folder)
