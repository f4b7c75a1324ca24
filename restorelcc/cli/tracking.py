"""Steps of a training, handed to a tracker of experiments, through accelerate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import SettingError
from ..registry import Choice, chosen, table

if TYPE_CHECKING:
    from ..restoration.training import Step

TRACKERS = table(
    Choice(name="tensorboard", title="TensorBoard", brief="files in ./restorelcc-logs"),
    Choice(name="wandb", title="Weights & Biases", brief="its project restorelcc"),
    Choice(name="mlflow", title="MLflow", brief="its experiment restorelcc"),
    Choice(name="trackio", title="Trackio", brief="its project restorelcc"),
)
PLACE = "restorelcc-logs"


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


@contextmanager
def tracked(name: str, run: str, config: Mapping[str, Any]) -> Iterator[Tracker | None]:
    """The tracker of this name while a training goes on; None where there is no name."""
    if not name:
        yield None
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    made = LOGGER_TYPE_TO_CLASS[name]
    place = {"logging_dir": PLACE} if made.requires_logging_directory else {}
    tracker: Tracker = made(run if name == "tensorboard" else "restorelcc", **place)
    tracker.start()
    tracker.store_init_configuration(
        {key: value if isinstance(value, int | float | str | bool) else str(value) for key, value in config.items()}
    )
    try:
        yield tracker
    finally:
        tracker.finish()


def figures_of(step: Step, pruned: float | None) -> dict[str, float]:
    """What is logged of a step. pruned: the held-out distance to the dense model before training, of which `nearer` is
    the share that is gone; None where another loss is minimised."""
    found = {} if step.step == 0 else {"loss": step.loss, "rate": step.lr, "tokens_per_second": step.tokens_per_second}
    if step.held_out is not None and step.held_out_loss is not None:
        found |= {"perplexity": step.held_out.value, "held_out_loss": step.held_out_loss}
        if pruned:
            found["nearer"] = 1 - step.held_out_loss / pruned
    return found
