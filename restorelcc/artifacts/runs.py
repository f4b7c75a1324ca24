"""A run: one restoration kept in a folder, to be listed, compared, renamed, reloaded, and deleted with a way back.

20261123-204500-wanda-60-kl-3f2a/
├── config.json           what was restored, how, with which versions, and the final figures
├── metrics.jsonl         one line a training step
├── training.safetensors  what was trained, such as β and b
└── adapter/              the compensation, as `export` writes it, for PEFT too

Runs that were thrown away lie in `.trash` beside the others until `empty_trash` removes them for good.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from platformdirs import user_data_path
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import LoadError, SettingError, WriteError, shortened
from ..foreign import check_regular, is_failure, one_line
from ..hf.layout import HeadGeometry
from ..processes import by_the_first
from ..restoration.settings import Settings
from ..restoration.training import Restoration, Step, Training
from ..selection.picks import Selection
from ..storage.drafts import draft, remove
from ..storage.folders import LITTLE, whole
from ..storage.formats import FORMAT, read_json, versions, write_json
from .export import Adapter, fill_adapter, load_adapter
from .run_config import sound, time_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, METRICS, TRAINING, ADAPTER = "config.json", "metrics.jsonl", "training.safetensors", "adapter"
TRASH = ".trash"
LONGEST_NAME = 80  # characters
MOST_TAGS, LONGEST_TAG, LONGEST_NOTE = 10, 40, 2_000  # characters
KEPT_IN_TRASH = timedelta(days=30)
LOOKED = ".looked"  # in the trash: when somebody looked into it last, and since when the clock is trusted
DAY = 86_400  # seconds


def runs_folder() -> Path:
    """Where runs are kept: in the user's data directory, which XDG_DATA_HOME and the like can move."""
    return user_data_path("restorelcc") / "runs"


@dataclass(frozen=True)
class Run:
    """A run on disk. Reading its parts raises LoadError if they are damaged; what is wrong with it, `damage` says."""

    folder: Path
    config: dict[str, Any]
    """name, created, dense, pruned, calibration, settings, selection, figures, versions …: what of it is as it should
    be (see `run_config`)."""
    fault: str = ""
    """What is wrong with the config as it is on disk; empty where nothing is."""

    @property
    def damage(self) -> str:
        """Why it cannot be used, or not in all its parts: a line; empty where it is sound. Reads all of it, once."""
        return self.fault or _damage_of_parts(self.folder, _state(self.folder))

    @property
    def name(self) -> str:
        """As the user gave it, not unique; the folder's where there is none."""
        return str(self.config.get("name") or self.folder.name)

    @property
    def created(self) -> datetime | None:
        """When it was kept, with its time zone; None if that is not known."""
        return time_of(self.config.get("created"))

    @property
    def settings(self) -> Settings:
        """How its compensation was trained."""
        with self._reading(CONFIG):
            return Settings(**self.config["settings"])

    @property
    def selection(self) -> Selection:
        """Which components of which heads it was trained for."""
        with self._reading(CONFIG):
            return Selection.from_json(json.dumps(self.config["selection"]))

    def metrics(self) -> pd.DataFrame:
        """One row a step: step, tokens, loss, lr, tokens_per_second, seconds, perplexity, stderr, best."""
        with self._reading(METRICS):
            return _checked_steps(pd.read_json(self.folder / METRICS, lines=True))

    def adapter(self) -> Adapter:
        """The compensation that came out, and what it was made for."""
        with self._reading(ADAPTER):
            return load_adapter(self.folder / ADAPTER)

    def trained(self) -> dict[str, Tensor]:
        """What was trained, by name: of constants `beta` [layer, head, component] and `learned` [layer, head,
        d_head]."""
        with self._reading(TRAINING):
            return _checked_tensors(load_file(self.folder / TRAINING), self.config.get("selection", {}).get("shape"))

    @contextlib.contextmanager
    def _reading(self, file: str) -> Iterator[None]:
        """Whatever is wrong with a file of a run, its reader gets a LoadError that names it."""
        try:
            if file != ADAPTER:
                check_regular(self.folder / file)
            yield
        except BaseException as error:
            if not is_failure(error):
                raise
            raise LoadError(
                f"{self.folder / file} is damaged, or of another version ({one_line(error)}). The run's other parts "
                "can still be used."
            ) from error


STEP_NUMBERS = ("tokens", "loss", "lr", "tokens_per_second", "seconds", "perplexity", "stderr", "held_out_loss")
LONGEST_REASON = 200  # characters


def _checked_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Steps with numbers where numbers belong; what was never measured, or not yet written by an older version, is NaN.
    Raises ValueError."""
    if "step" not in frame or not pd.api.types.is_integer_dtype(frame["step"]) or not (frame["step"] >= 0).all():
        raise ValueError("its steps are not numbered")
    for name in STEP_NUMBERS:
        frame[name] = frame[name] if name in frame else float("nan")
        if frame[name].isna().all():
            frame[name] = frame[name].astype(float)
        if not pd.api.types.is_numeric_dtype(frame[name]) or pd.api.types.is_bool_dtype(frame[name]):
            raise ValueError(f"{name} is not a number at every step")
    return frame


def _checked_tensors(tensors: dict[str, Tensor], shape: object) -> dict[str, Tensor]:
    """shape: of the selection. Raises ValueError for magnitudes that are not of it, or for what are no numbers."""
    if "beta" in tensors and list(tensors["beta"].shape) != shape:
        raise ValueError(f"beta has shape {list(tensors['beta'].shape)}, and what was picked has {shape}")
    wrong = [name for name, tensor in tensors.items() if tensor.dtype not in (torch.float32, torch.float64)]
    if wrong:
        raise ValueError(f"{wrong[0]} is of {tensors[wrong[0]].dtype}")
    return tensors


def _state(folder: Path) -> tuple[object, ...]:
    """Changes whenever a file of the run does."""
    state: list[object] = []
    for path in (folder / CONFIG, folder / METRICS, folder / TRAINING, *sorted((folder / ADAPTER).glob("*"))):
        try:
            told = path.stat()
        except OSError:
            state.append(path)
        else:
            state.append((path, told.st_mtime_ns, told.st_size))
    return tuple(state)


@lru_cache(maxsize=1_000)
def _damage_of_parts(folder: Path, state: tuple[object, ...]) -> str:
    try:
        run = load_run(folder)
        run.settings, run.selection, run.metrics(), run.trained(), run.adapter()  # whichever is damaged says so
    except LoadError as error:
        return shortened(str(error), LONGEST_REASON)
    return run.fault


@by_the_first
def save_run(
    restoration: Restoration,
    shape: HeadGeometry,
    name: str,
    about: dict[str, Any],
    root: Path | None = None,
    pruned: "PreTrainedModel | None" = None,
    folder: str = "",
    facts: dict[str, Any] | None = None,
) -> Run:
    """Keep a restoration. about: what only the caller knows (models, calibration, figures). pruned: the model that it
    goes onto (see `export.fill_adapter`). folder: its name; empty: of this moment (see `run_folder`). facts:
    of the config alone, which its adapter does not repeat. Raises WriteError."""
    place = (root or runs_folder()) / (folder or run_folder(name))
    config = {
        "format": FORMAT,
        "name": name,
        "created": datetime.now(UTC).isoformat(),
        **about,
        **(facts or {}),
        **({"ended": restoration.ended} if restoration.ended else {}),
        "settings": asdict(restoration.settings),
        "selection": json.loads(restoration.selection.to_json()),
        "trained_parameters": restoration.trained_parameters,
        "best_step": restoration.best_step,
        **({"steps_done": restoration.history[-1].step} if restoration.history else {}),
        "versions": versions(),
    }
    with whole(place) as path:
        write_json(path / CONFIG, config)
        lines = [json.dumps(row) for row in step_rows(restoration.history)]
        (path / METRICS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        save_file({name: part.cpu().contiguous() for name, part in restoration.trained.items()}, path / TRAINING)
        (path / ADAPTER).mkdir()
        said = about | {name: config[name] for name in ("settings", "trained_parameters")}
        fill_adapter(path / ADAPTER, restoration.compensation, shape, said, pruned)
    return Run(place, config)


def run_bytes(training: Training) -> int:
    """About how many bytes the run of a training will take: what was trained, the adapter, and it for PEFT."""
    parts = (*training.best.trained.values(), *(3 * [*training.best.compensation.tensors().values()]))
    return LITTLE + sum(part.nbytes for part in parts)


def run_folder(name: str) -> str:
    """What the folder of a run of this name is called that begins now: unlike any other, and sorted by time."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"


def step_rows(history: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as flat rows, as `Run.metrics` has them; JSON knows no NaN, so the loss before training is null."""
    rows = []
    for step in history:
        row = asdict(step)
        held_out = row.pop("held_out") or {}
        row["loss"] = None if step.step == 0 else step.loss
        rows.append(row | {"perplexity": held_out.get("value"), "stderr": held_out.get("stderr")})
    return rows


def load_run(folder: Path) -> Run:
    """What `save_run` wrote; of a config that is damaged in part, what is left of it. Raises LoadError."""
    config = read_json(folder / CONFIG, "run")
    faults = sound(config)
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    return Run(folder, config, f"{CONFIG} is damaged: {faults[0]}{more}." if faults else "")


def list_runs(root: Path | None = None) -> list[Run]:
    """All runs, newest first, damaged ones among them (see `Run.damage`); folders that are no runs are passed over.
    Raises LoadError where the place that they are in cannot be read."""
    return _runs_in(root or runs_folder())


def folders_in(place: Path) -> list[Path]:
    """What is right below a folder, nothing where there is none. Raises LoadError where it cannot be read."""
    try:
        return list(place.iterdir()) if place.is_dir() else []
    except OSError as error:
        raise LoadError(
            f"{place}, where runs are kept, cannot be read: {one_line(error)}. Check who may read it."
        ) from error


def _runs_in(place: Path) -> list[Run]:
    """Runs right below a folder, newest first; those of unknown age last. Raises LoadError."""
    runs = []
    for folder in folders_in(place):
        if not folder.name.startswith(".") and os.path.lexists(folder / CONFIG):
            try:
                runs.append(load_run(folder))
            except LoadError as error:
                runs.append(Run(folder, {}, shortened(str(error), LONGEST_REASON)))
    oldest = datetime.min.replace(tzinfo=UTC)
    return sorted(runs, key=lambda run: (run.created or oldest, run.folder.name), reverse=True)


def rename_run(run: Run, name: str) -> Run:
    """Give a run another name; its folder stays where it is, so that links to it keep working.

    Raises SettingError for a name that is empty or too long, LoadError if the run is gone, WriteError.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise SettingError(f"A name of {len(name)} characters does not do: give 1 to {LONGEST_NAME}.")
    return _rewritten(run, "renamed", {"name": name})


def annotate_run(run: Run, star: bool, tags: Sequence[str], note: str) -> Run:
    """What a person makes of a run: a star, tags to find it by, a note. Raises SettingError for tags that are too many
    or too long, and for a note that is, LoadError if the run is gone, WriteError."""
    tags = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
        raise SettingError(f"Give at most {MOST_TAGS} tags of {LONGEST_TAG} characters each.")
    if len(note) > LONGEST_NOTE:
        raise SettingError(f"A note of {len(note):,} characters does not do: give up to {LONGEST_NOTE:,}.")
    return _rewritten(run, "annotated", {"star": star, "tags": tags, "note": note})


def keep_measured(run: Run, figures: dict[str, Any]) -> Run:
    """Figures that were measured of a run after it was kept, by the name that its config has them under (`tasks`,
    `speed`), in place of those before. Raises LoadError if the run is gone, WriteError."""
    return _rewritten(run, "measured", figures)


def _rewritten(run: Run, what: str, facts: dict[str, Any]) -> Run:
    """With other facts in its config. Raises LoadError if the run is gone, WriteError."""
    # Read anew: what is in memory may be older than what is on disk, and is without what is damaged.
    config = read_json(run.folder / CONFIG, "run") | facts
    with _moving(run.folder, what), draft(run.folder) as path:
        try:
            write_json(path, config)
            path.replace(run.folder / CONFIG)
        finally:
            remove(path)
    return load_run(run.folder)


def discard_run(run: Run) -> Run:
    """Move a run to the trash beside it, in one step. Raises LoadError if it is no longer a run, WriteError."""
    _check_there(run)
    trash = run.folder.parent / TRASH
    with _moving(run.folder, "deleted"):
        trash.mkdir(exist_ok=True)
        # Its time says since when it lies there; set before the move, or an emptying in between might take it.
        os.utime(run.folder)
        return replace(run, folder=run.folder.rename(trash / run.folder.name))


def bring_back(run: Run) -> Run:
    """Undo `discard_run`. Raises LoadError if it is not in the trash any more, WriteError."""
    if run.folder.parent.name != TRASH:
        raise LoadError(f"{run.folder} is not in the trash, so there is nothing to undo.")
    _check_there(run)
    place = run.folder.parent.parent / run.folder.name
    with _moving(run.folder, "brought back"):
        return replace(run, folder=run.folder.rename(place))


def discarded_runs(root: Path | None = None) -> list[Run]:
    """Runs in the trash, newest first."""
    return _runs_in((root or runs_folder()) / TRASH)


def empty_trash(older_than: timedelta = KEPT_IN_TRASH, root: Path | None = None) -> int:
    """Remove for good what has been in the trash for longer; the number of runs removed.

    A clock that is wrong takes nothing away: where it has gone on by more than a month since anybody looked, or back,
    all that is in the trash stays for a month from then.
    """
    trash, now, removed = (root or runs_folder()) / TRASH, time.time(), 0
    runs = discarded_runs(root)
    if not runs:
        return 0
    since = _trusted_since(trash, now)
    for run in runs:
        with contextlib.suppress(OSError):  # Another process may be emptying it too.
            there = run.folder.stat().st_mtime
            if there > now + DAY:
                os.utime(run.folder, (now, now))
            elif now - max(there, since) >= older_than.total_seconds():
                shutil.rmtree(run.folder)
                removed += 1
    return removed


def _trusted_since(trash: Path, now: float) -> float:
    """Since when the clock has gone on evenly, as far as looks at the trash tell; this one is noted."""
    note = trash / LOOKED
    try:
        looked, since = (float(line) for line in note.read_text().split())
    except (OSError, ValueError):  # no look before: when something was last put there is known
        looked, since = trash.stat().st_mtime, 0.0
    if not looked - DAY <= now <= looked + KEPT_IN_TRASH.total_seconds():
        since = now
    with contextlib.suppress(OSError):
        note.write_text(f"{now} {since}")
    return since


def _check_there(run: Run) -> None:
    """Raises LoadError for a folder that is no run, or no longer; a damaged run is one."""
    if not os.path.lexists(run.folder / CONFIG):
        raise LoadError(f"There is no {run.folder / CONFIG}, so {run.folder} is no run. It may be deleted already.")


@contextlib.contextmanager
def _moving(folder: Path, what: str) -> Iterator[None]:
    """Raises WriteError where the disk refuses."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be {what}: {error.strerror or error}. Check who may write there; nothing was changed."
        ) from error
