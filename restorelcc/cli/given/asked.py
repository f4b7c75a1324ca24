"""What is asked of a restoration on the command line, as values: of which pair, picks, text and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...artifacts.export_formats import FORMATS
from ...errors import LoadError, SettingError
from ...foreign import document_of, foreign
from ...models.loading import Loading
from ...restoration.settings import MOST_STEPS, Settings
from ...restoration.sweep import share_of
from ...selection.picks import Selection, check_share
from ..opening import Text, check_own
from .in_app import InApp

TRAINED_ON = "calibration"
"""Names the text trained on as the source of the questions for probes."""


@dataclass(frozen=True)
class Picks:
    """Which heads and components to restore."""

    heads: float
    """Share of all heads that the pruned model has."""
    score: str
    components: int | None
    budget: int | None = None
    """Trained parameters: the components that do most together for so many, whatever their heads."""
    contrast: str = "demo"
    """Source of the questions that `probing` asks (see `contrast`); `TRAINED_ON`: the text trained on."""
    own: str = ""
    """A file that orders heads, in place of the score; empty: none."""
    chosen: str = ""
    """A file that names every component, a run's config among others, in place of all these; empty: none."""

    def __post_init__(self) -> None:
        check_share(self.heads)
        check_own(self.own, [self.heads])
        if self.budget is not None and (self.heads < 1 or self.components is not None):
            raise SettingError("--budget says which components, so give it without --heads and --components.")
        if self.chosen and (self.heads < 1 or self.components is not None or self.budget or self.own):
            raise SettingError("--picks names components: leave --heads, --components, --budget and --own out.")

    def selection(self) -> tuple[Selection, Tensor, str]:
        """What the file names; [layer, head, component] how many times α each of it is put back with where training
        starts from what is picked; and that as a run keeps it, empty where it is once. Raises LoadError."""
        with foreign(
            lambda reason: LoadError(f"{self.chosen} names no components ({reason}). Give a run's config.json.")
        ):
            said = document_of(Path(self.chosen))
            selection, written = Selection.from_json(json.dumps(said.get("selection", said))), said.get("picks") or ""
            magnitudes = selection.mask().double()
            for pick, factor in _factors(written):
                magnitudes[pick] = factor
            return selection, magnitudes, str(written)


@dataclass(frozen=True)
class Asked:
    """What is to be restored, how, and where it goes."""

    dense: str
    pruned: str
    loading: Loading
    text: Text
    picks: Picks
    settings: Settings
    elsewhere: str
    """Source of a second text to judge by, which nothing is trained or chosen on; empty: none."""
    folder: Path
    format: str
    """Of `FORMATS`."""
    name: str | None
    """Of the run; None: that of the folder."""
    in_app: InApp | None = None
    """How the app opened the pair, where it is to be trained and judged as there; it wins over what is said above of
    models and texts."""
    share: float = 1.0
    """Of the windows to train on, evenly spread."""
    log_with: str = ""
    """The tracker that steps are handed to, of `tracking.TRACKERS`; empty: none."""

    def __post_init__(self) -> None:
        share_of(1, self.share)

    @property
    def run_name(self) -> str:
        """What the run is called."""
        return self.name or self.folder.name

    def made_with(self) -> dict[str, Any]:
        """What a run says of it, beside its settings: all that repeats it, and not where it went."""
        return {name: value for name, value in self.written().items() if name not in ("folder", "format", "name")}

    def written(self) -> dict[str, Any]:
        """As JSON keeps it with a training, beside its settings: from another folder too, and without permission to run
        foreign code, which is given anew."""
        loading = {name: getattr(self.loading, name) for name in ("device", "dtype", "revision")}
        return {
            **{side: _absolute(getattr(self, side)) for side in ("dense", "pruned")},
            "loading": loading,
            "text": asdict(self.text),
            "picks": asdict(self.picks),
            "elsewhere": self.elsewhere,
            "folder": str(self.folder.absolute()),
            "format": self.format,
            "name": self.name,
            "in_app": None if self.in_app is None else self.in_app.written(),
            "share": self.share,
        }

    @classmethod
    def read(cls, written: dict[str, Any], settings: dict[str, Any], changed: dict[str, Any]) -> Asked:
        """What `written` gave. changed: `folder`, `format`, and of the loading `device`, `allow_pickle` and
        `trust_remote_code`; what is None is as it was. Raises LoadError."""
        given = {name: value for name, value in changed.items() if value is not None}
        loading: dict[str, Any] = {
            name: given.pop(name) for name in ("device", "allow_pickle", "trust_remote_code") if name in given
        }
        with foreign(lambda reason: LoadError(f"What it was begun with is damaged ({reason}). Restore the pair anew.")):
            parts: dict[str, Any] = {
                "loading": Loading(**(written["loading"] | loading)),
                "text": Text(**written["text"]),
                "picks": Picks(**written["picks"]),
                "settings": Settings(**settings),
                "folder": Path(written["folder"]),
            }
            if isinstance(written.get("in_app"), Mapping):  # What was begun by an earlier version does not say.
                parts["in_app"] = InApp.read(written["in_app"]).given(loading)
            rest = {name: written[name] for name in ("dense", "pruned", "elsewhere", "format", "name")}
            rest["share"] = float(written.get("share", 1.0))
            if rest["format"] not in FORMATS or not all(isinstance(rest[name], str) for name in ("dense", "pruned")):
                raise ValueError("it does not say what models are restored, or in which format")
            return cls(**(parts | rest | given))


def _factors(picks: str) -> Iterator[tuple[tuple[int, int, int], float]]:
    """(layer, head, component) and how many times α, of picks as a run keeps them: `2.4_0-3_7~2.5_0*1.5`."""
    for head in picks.split("~"):
        place, *components = head.split("_")
        for component, _, factor in (written.partition("*") for written in components):
            if factor:
                layer, _, number = place.partition(".")
                yield (int(layer), int(number), int(component)), float(factor)


def _absolute(model: str) -> str:
    """The name of a model, wherever one is."""
    return str(Path(model).absolute()) if Path(model).is_dir() else model


def settings_of(given: dict[str, Any], epochs: float | None) -> Settings:
    """Training settings, at their defaults where None is `given`. Raises SettingError."""
    if epochs is not None and given["steps"] is not None:
        raise SettingError("Give --steps or --epochs, not both: each says how long to train.")
    if epochs is not None and not 0 < epochs <= MOST_STEPS:
        raise SettingError(f"{epochs} epochs would train nothing, or for ever. Give more than 0, such as 3.")
    named = {name: value for name, value in given.items() if value is not None}
    return Settings(**named, epochs=epochs or 0.0, bounded="lr" not in named)
