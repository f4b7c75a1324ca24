"""Trainings that are not over, kept where they stand at every measurement and every minute: one that was killed, or
whose server was, goes on from there to the numbers that it would have come to.

.unfinished/20261123-204500-wanda-60-kl-3f2a/    beside the runs, under the name that its run will have
├── training.json        what is trained and how, and what its run will say of it
├── given.safetensors    the texts it learns from and is judged by, and what was lost
├── state.safetensors    where it stands; the curve is in its header
└── lock                 held by the process that trains it, for as long as that lives
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import LoadError, SettingError, WriteError, shortened
from ..foreign import check_regular, foreign
from ..models.loading import Loading
from ..models.pair import ModelPair
from ..processes import process
from ..restoration.settings import Settings
from ..restoration.state import State, begun, given, resume, step_of, written
from ..restoration.training import Step, Training
from ..selection.picks import Selection
from ..storage.drafts import held, is_held, remove
from ..storage.folders import is_of_disk, whole
from ..storage.formats import FORMAT, read_json, write_json
from .export import difference, fingerprint
from .run_config import time_of
from .runs import TRASH, folders_in, run_folder, runs_folder

PLACE = ".unfinished"
FACTS, GIVEN, STATE, LOCK = "training.json", "given.safetensors", "state.safetensors", "lock"
PAIR = "pair"
"""Of what is kept of a training: the models, by names that any process can load, and how (see `pair_facts`)."""
EVERY = 60.0  # seconds at most between two times that a training is kept
SPARE = 20  # times as long as keeping took, where it took more than a second, is trained before it is kept again
WAIT = 1.0  # seconds in which somebody who only looks at a lock lets go of it


class Keeper:
    """Keeps a training that this process trains. Where the disk refuses, the training goes on all the same."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where it is kept, under the name that its run will have."""
        self.fault = ""
        """Why it could not be kept last time; empty where it could."""
        self._last, self._took = float("-inf"), 0.0

    @property
    def is_kept(self) -> bool:
        """Whether there is something to go on with."""
        return (self.folder / STATE).is_file()

    def keep(self, training: Training, now: bool = False) -> None:
        """Between two steps: keep it if it was just measured, or a minute has passed, or `now`."""
        if not self.folder.is_dir():
            return
        since = time.monotonic() - self._last
        due = training.history[-1].held_out is not None or since >= EVERY
        if not now and (not due or (self._took > 1 and since < SPARE * self._took)):
            return
        began, state = time.monotonic(), written(training, shared=True)
        try:
            _save(self.folder / STATE, state.tensors, state.facts)
            self.fault = ""
        except WriteError as error:
            self.fault = str(error)
        self._last = time.monotonic()
        self._took = self._last - began

    def over(self) -> None:
        """Its run is kept, or it is not worth one: nothing is left to go on with."""
        remove(self.folder)


@dataclass(frozen=True)
class Unfinished:
    """A training that is not over: under way in some process, or interrupted."""

    folder: Path
    """Of the name that its run will have."""
    facts: dict[str, Any]
    """name, created, about, settings, selection, and what whoever began it needs to end it."""
    curve: list[dict[str, Any]]
    """Its steps so far, as `step_rows` has them but for the nested `held_out`."""
    damage: str = ""
    """Why it cannot go on, in a line; empty where it can."""

    @property
    def name(self) -> str:
        """As the user gave it."""
        return str(self.facts.get("name") or self.folder.name)

    @property
    def created(self) -> datetime | None:
        """When it began."""
        return time_of(self.facts.get("created"))

    @property
    def is_under_way(self) -> bool:
        """Whether a living process trains it."""
        return is_held(self.folder / LOCK)

    @property
    def step(self) -> int:
        """The last step that is kept."""
        return int(self.curve[-1]["step"]) if self.curve else 0

    @property
    def steps(self) -> int:
        """How many it was to take."""
        return int(self.facts["settings"]["steps"]) if not self.damage else 0

    def again(self) -> Unfinished:
        """As it is kept now; as it was where it is no longer there, or cannot be read."""
        now = _read(self.folder)
        return self if now.damage else now

    def history(self) -> list[Step]:
        """Its steps so far."""
        return [step_of(row) for row in self.curve]

    @property
    def standing(self) -> str:
        """How far it is, in words."""
        return self.damage or f"step {self.step} of {self.steps}"

    def training(self, pair: ModelPair) -> Training:
        """The training where it stood. Raises LoadError where the models are not those that it began with, or what is
        kept is damaged."""
        about = self.facts["about"]
        other = difference(about, pair.pruned)
        if not other and self.facts["dense_fingerprint"] != fingerprint(pair.dense):
            other = "the dense model's output projections differ"
        if other:
            raise LoadError(
                f"The models are not those that {self.name} was begun with: {other}. Restore the pair anew."
            )
        inputs, _ = _load(self.folder / GIVEN)
        selection = Selection.from_json(json.dumps(self.facts["selection"]))
        training = begun(pair, inputs, selection, Settings(**self.facts["settings"]))
        if os.path.lexists(self.folder / STATE):
            resume(training, State(*_load(self.folder / STATE)))
        return training

    @contextmanager
    def taken_up(self) -> Iterator[Keeper]:
        """While this process trains it. Raises SettingError where another does, or it is no longer there."""
        if process() > 0:  # The first holds it, and keeps what all of them stand at.
            yield Keeper(self.folder / "of another process")
            return
        until = time.monotonic() + WAIT
        while True:
            with ExitStack() as undo:
                try:
                    mine = undo.enter_context(held(self.folder / LOCK))
                except OSError as error:
                    raise SettingError(f"{self.name} is no longer there: it was ended, or deleted.") from error
                if mine:
                    yield Keeper(self.folder)
                    return
            if time.monotonic() > until:
                raise SettingError(f"{self.name} is being trained already. Wait for it, or stop it there.")
            time.sleep(WAIT / 20)

    def discard(self) -> None:
        """Delete it for good. Raises SettingError where it is being trained."""
        with self.taken_up() as keeper:
            keeper.over()


@contextmanager
def kept(
    training: Training, name: str, about: Mapping[str, Any], more: Mapping[str, Any], root: Path | None = None
) -> Iterator[Keeper]:
    """While this process trains it. about: what its run will say, the identity of the pruned model among it (see
    `made_for`). more: what whoever goes on with it needs. Where it is left before the first step, nothing stays."""
    folder = (root or runs_folder()) / PLACE / run_folder(name)
    facts = {
        "format": FORMAT,
        "name": name,
        "created": datetime.now(UTC).isoformat(),
        "about": dict(about),
        "settings": asdict(training.settings),
        "selection": json.loads(training.selection.to_json()),
        "dense_fingerprint": fingerprint(training.pair.dense),
        **more,
    }
    with ExitStack() as undo:
        keeper = Keeper(folder)
        if process() > 0:  # The first keeps what all of them stand at.
            yield keeper
            return
        try:
            with whole(folder) as draft:
                _save(draft / GIVEN, given(training), {})
                write_json(draft / FACTS, facts)
                undo.enter_context(held(draft / LOCK))  # Taken before anybody can see it; renaming leaves it.
        except WriteError as error:
            keeper.fault = str(error)
        try:
            yield keeper
        except BaseException:
            if not training.history:
                keeper.over()
            raise


def pair_facts(pair: ModelPair, loading: Loading) -> dict[str, Any]:
    """How another process loads the models of a training, for `PAIR`; without permission to run foreign code, which is
    given anew."""
    how = {name: getattr(loading, name) for name in ("device", "dtype", "revision")}
    return {"dense": pair.dense_name, "pruned": pair.pruned_name, "loading": how}


def list_unfinished(root: Path | None = None) -> list[Unfinished]:
    """Trainings that are under way or were interrupted, newest first, damaged ones among them. What is left of those
    whose run is kept is cleared away. Raises LoadError where the place that they are in cannot be read."""
    runs = root or runs_folder()
    place, trainings = runs / PLACE, []
    for folder in folders_in(place):
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        if any(os.path.lexists(run / folder.name) for run in (runs, runs / TRASH)):
            with suppress(SettingError):
                Unfinished(folder, {}, []).discard()
            continue
        trainings.append(_read(folder))
    return sorted(trainings, key=lambda training: training.folder.name, reverse=True)


def find_unfinished(name: str, root: Path | None = None) -> Unfinished:
    """By the name of its folder, or its path. Raises SettingError where there is none, or it cannot go on."""
    trainings = list_unfinished(root)
    found = next((each for each in trainings if Path(name).name == each.folder.name), None)
    if found is None:
        there = ", ".join(each.folder.name for each in trainings) or "none"
        raise SettingError(f"There is no interrupted training {name}. There are: {there} (see the command runs).")
    if found.damage:
        raise SettingError(f"{name} cannot go on: {found.damage} Restore the pair anew.")
    return found


def _read(folder: Path) -> Unfinished:
    training = Unfinished(folder, {}, [])
    try:
        facts = read_json(folder / FACTS, "training")
        training = replace(training, facts=facts)
        with foreign(lambda reason: LoadError(f"What is kept of it is damaged ({reason}).")):
            Settings(**facts["settings"])
            if not all(isinstance(facts[name], dict) for name in ("about", "selection")):
                raise ValueError("it does not say what is trained")
            state = folder / STATE
            curve = list(_header(state)["facts"]["history"]) if os.path.lexists(state) else []
            return replace(training, curve=[row | {"step": int(row["step"])} for row in curve])
    except (LoadError, SettingError) as error:
        return replace(training, damage=shortened(str(error), 300))


def _save(path: Path, tensors: dict[str, Tensor], facts: Mapping[str, Any]) -> None:
    """In one file, which takes its place once it is whole. Raises WriteError."""
    text = json.dumps(facts, allow_nan=False)
    tensors, same = _once(tensors)
    header = {"format": str(FORMAT), "facts": text}
    if same:
        header["same"] = json.dumps(same)
    header["sha256"] = _digest(tensors, text + header.get("same", ""))
    draft = path.with_name(f".{path.name}")  # Nobody else writes here.
    try:
        save_file(tensors, draft, metadata=header)
        draft.replace(path)
    except Exception as error:
        if not is_of_disk(error):
            raise
        remove(draft)
        reason = getattr(error, "strerror", None) or error
        raise WriteError(f"{path} cannot be written: {reason}. Make room there.") from error


def _load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `_save` wrote. Raises LoadError, also where a bit of it is another one."""
    with foreign(lambda reason: LoadError(f"{path} is damaged ({reason}). Restore the pair anew.")):
        header = _header(path)
        tensors = load_file(path)
        if header["sha256"] != _digest(tensors, header["text"] + header["same"]):
            raise ValueError("it is not as it was written")
        same = json.loads(header["same"] or "{}")
        return tensors | {name: tensors[first] for name, first in same.items()}, header["facts"]


def _header(path: Path) -> dict[str, Any]:
    """`facts`, their `text`, which tensors are the `same`, as text, and `sha256` of a file that `_save` wrote; the
    tensors are not read. Raises whatever."""
    check_regular(path)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    if header["format"] != str(FORMAT):
        raise ValueError(f"it has format {header['format']}; this version reads format {FORMAT}")
    kept = {"text": header["facts"], "same": header.get("same", ""), "sha256": header["sha256"]}
    return {"facts": json.loads(header["facts"]), **kept}


def _once(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(each tensor once, the first name of each of the others by its name): what is trained and the best of it share
    what is done."""
    own: dict[str, Tensor] = {}
    same: dict[str, str] = {}
    firsts: dict[int, str] = {}
    for name, part in tensors.items():
        first = firsts.setdefault(part.untyped_storage().data_ptr(), name) if part.numel() else name
        if first == name:
            own[name] = part
        elif (part.data_ptr(), part.shape, part.dtype) == (own[first].data_ptr(), own[first].shape, own[first].dtype):
            same[name] = first
        else:
            own[name] = part.clone()
    return own, same


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, part in sorted(tensors.items()):
        digest.update(f"{name} {part.dtype} {tuple(part.shape)}".encode())
        digest.update(part.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
