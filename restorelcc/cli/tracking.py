"""Trainings, handed to a tracker of experiments step by step, through accelerate: a run of its project each."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from ..errors import SettingError
from ..foreign import foreign, is_failure, one_line
from ..processes import process
from ..registry import Choice, briefs, chosen, table

if TYPE_CHECKING:
    from ..evaluation.comparison import Comparison
    from ..restoration.training import Step, Stepped

TRACKERS = table(
    Choice(name="tensorboard", title="TensorBoard", brief="files in ./restorelcc-logs"),
    Choice(name="wandb", title="Weights & Biases", brief="its project restorelcc"),
    Choice(name="mlflow", title="MLflow", brief="its experiment restorelcc"),
    Choice(name="trackio", title="Trackio", brief="its project restorelcc"),
)
PLACE = "restorelcc-logs"
LogWith = Annotated[
    str,
    typer.Option(
        "--log-with",
        metavar=f"<{'|'.join(TRACKERS)}>",
        help=f"Log every step of every training, each as a run. {briefs(TRACKERS)}.",
    ),
]


class Tracker(Protocol):
    """As accelerate has them."""

    def start(self) -> None:
        """Open it."""

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Once: what was asked for."""

    def log(self, values: dict[str, Any], step: int | None, **given: Any) -> None:
        """Figures of a step."""

    def finish(self) -> None:
        """All is written."""


def check_tracker(name: str) -> None:
    """Raises SettingError for one that is not known, or not installed."""
    if not name:
        return
    from accelerate.tracking import get_available_trackers

    chosen(name, TRACKERS, "Tracker")
    if name not in {str(getattr(each, "value", each)) for each in get_available_trackers()}:
        raise SettingError(f"{name} is not installed, so nothing can be logged with it. Install it: pip install {name}")


class Log:
    """The runs of a tracker, one open at a time. A tracker that fails once it has begun costs its figures alone: that
    is said, and the work goes on."""

    def __init__(self, name: str, group: str, say: Callable[[str], None]) -> None:
        """name: of `TRACKERS`; empty: nothing is logged. group: what the runs have in common, a sweep say; empty:
        nothing. say: told a line where the tracker fails."""
        self._name = "" if process() > 0 else name  # All processes come to the same.
        self._group, self._say = group, say
        self._open: Tracker | None = None
        self._run, self._step, self._before = "", 0, math.nan
        self._done: set[str] = set()

    def begin(self, run: str, config: Mapping[str, Any], before: float | None = None) -> None:
        """A training begins. before: the held-out loss before its first step; None: that of the first step that is
        handed over. Raises SettingError where the tracker cannot be had at all."""
        self.end({})
        if not self._name:
            return
        self._run, self._step, self._before = run, 0, math.nan if before is None else before
        if not self._done:
            with foreign(lambda reason: SettingError(f"{self._name} cannot be logged with: {reason}")):
                self._open = self._started(run, config)
        else:
            self._try(lambda: setattr(self, "_open", self._started(run, config)))
        self._done.add(run)

    def _started(self, run: str, config: Mapping[str, Any]) -> Tracker:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        made = LOGGER_TYPE_TO_CLASS[self._name]
        parts = [_plain(part) for part in (self._group, run) if part]
        given: dict[str, Any] = {"run_name" if self._name == "mlflow" else "name": ", ".join(parts)}
        # A folder is all that TensorBoard tells runs apart by.
        tracker: Tracker = made("/".join(parts), PLACE) if self._name == "tensorboard" else made("restorelcc", **given)
        tracker.start()
        tracker.store_init_configuration(
            {key: value if isinstance(value, int | float | str | bool) else str(value) for key, value in config.items()}
        )
        return tracker

    def step(self, step: Step, loss: str) -> None:
        """A step of the training that began last. loss: what it minimises."""
        if step.held_out_loss is not None and math.isnan(self._before):
            self._before = step.held_out_loss
        self._step = step.step
        # Of other losses the held-out one says nothing of the distance to the dense model.
        self._log(figures_of(step, self._before if loss == "kl" else None))

    def steps(self, run: str, stepped: Stepped) -> None:
        """A step of one of several trainings, which begins where it is another than before."""
        if run != self._run:
            self.begin(run, asdict(stepped.settings))
        self.step(stepped.step, stepped.settings.loss)

    def knows(self, run: str) -> bool:
        """Whether a run of this name was begun."""
        return not self._name or run in self._done

    def end(self, figures: Mapping[str, float]) -> None:
        """The training that began last is over, and came to this."""
        self._log(figures)
        tracker, self._open, self._run = self._open, None, ""
        if tracker is not None:
            self._try(tracker.finish)

    def _log(self, figures: Mapping[str, float]) -> None:
        tracker, known = self._open, {name: value for name, value in figures.items() if math.isfinite(value)}
        if tracker is not None and known:
            self._try(lambda: tracker.log(known, step=self._step))

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            if not is_failure(error):
                raise
            self._say(f"{self._name} takes no more figures ({one_line(error)}). The work goes on without it.")
            self._name, self._open = "", None


@contextmanager
def logged(name: str, group: str, say: Callable[[str], None]) -> Iterator[Log]:
    """A `Log` that is closed in any case."""
    log = Log(name, group, say)
    try:
        yield log
    finally:
        log.end({})


def _plain(name: str) -> str:
    """As a folder may be called, wherever that is."""
    return re.sub(r"[^\w .,=+-]", "-", name).strip(" .") or "run"


def figures_of(step: Step, pruned: float | None) -> dict[str, float]:
    """What is logged of a step. pruned: the held-out distance to the dense model before training, of which `nearer` is
    the share that is gone; None where another loss is minimised."""
    found = {} if step.step == 0 else {"loss": step.loss, "rate": step.lr, "tokens_per_second": step.tokens_per_second}
    if step.held_out is not None and step.held_out_loss is not None:
        found |= {"perplexity": step.held_out.value, "held_out_loss": step.held_out_loss}
        if pruned:
            found["nearer"] = 1 - step.held_out_loss / pruned
    return found


def came_to(there: Comparison, elsewhere: Comparison | None, **more: float | None) -> dict[str, float]:
    """What is logged of a restoration once it is judged, on both texts; `more`, where it is known."""
    found = {name: float(value) for name, value in more.items() if value is not None}
    for end, judged in (("", there), ("_elsewhere", elsewhere)):
        if judged is not None:
            found |= {f"recovered{end}": judged.recovered.value, f"nearer{end}": judged.nearer.value}
            found[f"perplexity{end}"] = judged.restored.value
    return {f"final/{name}": value for name, value in found.items()}
