"""A training as tensors and JSON, so that it can be kept on disk and go on elsewhere: what it was given, and where it
stands between two steps, which is all that the steps to come depend on.

    state = written(training)                          # between two steps
    again = begun(pair, given(training), selection, settings)
    resume(again, state)                               # its steps are those that `training` would have taken
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.kinds import read_compensation
from ..errors import LoadError
from ..evaluation.perplexity import Perplexity
from ..foreign import foreign
from ..models.pair import ModelPair
from ..selection.picks import Selection
from ..text.tokens import Tokens
from .parameters import Best, has_moved
from .settings import Settings
from .training import Step, Training

TEXTS = ("tokens", "held_out")


@dataclass(frozen=True)
class State:
    """Where a training stands."""

    tensors: dict[str, Tensor]
    """What is trained, the optimiser's, the best so far, what will be drawn and in which order; on the CPU."""
    facts: dict[str, Any]
    """All else, as JSON has it: the curve among it."""


def given(training: Training) -> dict[str, Tensor]:
    """What a training was given beside the models, picks and settings: its texts, and what was lost."""
    tensors = {f"components.{name}": part for name, part in _parts(training.components).items()}
    for name in TEXTS:
        tensors |= {f"{name}.{key}": part for key, part in _parts(getattr(training, name)).items()}
    return {name: _own(part) for name, part in tensors.items()}


def begun(pair: ModelPair, given: Mapping[str, Tensor], selection: Selection, settings: Settings) -> Training:
    """A training at its beginning, of what `given` gave. Raises LoadError where that is not all there."""
    with foreign(lambda reason: LoadError(f"What the training was given is not all there ({reason}). Begin it anew.")):
        components = LostComponents(**_beginning(given, "components"))
        tokens, held_out = (Tokens(**_beginning(given, name)) for name in TEXTS)  # type: ignore[arg-type]
    return Training(pair, components, selection, tokens, held_out, settings)


def written(training: Training, shared: bool = False) -> State:
    """Where it stands. Between two steps only. shared: its tensors are the training's own, so it is of use until the
    next step."""
    best, kind = training.best, training.best.compensation
    tensors = {f"moved.{index}": part for index, part in enumerate(training.parameters.moved) if has_moved(part)}
    for number, held in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": part for name, part in held.items()}
    tensors |= {f"best.compensation.{name}": part for name, part in kind.tensors().items()}
    tensors |= {f"best.trained.{name}": part for name, part in best.trained.items()}
    tensors |= {"generator": training.generator.get_state(), "order": torch.tensor(training.order, dtype=torch.int64)}
    facts = {
        "history": [_row(step) for step in training.history],
        "best": {"kind": kind.kind, "version": kind.version, "step": best.step, "loss": _number(best.loss)},
        "ended": training.ended,
    }
    return State(
        {name: part.detach().cpu().contiguous() if shared else _own(part) for name, part in tensors.items()}, facts
    )


def resume(training: Training, state: State) -> None:
    """Put a training of the same inputs where another stood. Raises LoadError where the state is of another."""
    with foreign(lambda reason: LoadError(f"The state of the training does not fit it ({reason}). Begin it anew.")):
        _resume(training, state.tensors, state.facts)


def _resume(training: Training, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    best = facts["best"]
    compensation = read_compensation(
        best["kind"], best["version"], _beginning(tensors, "best.compensation"), training.pair.geometry
    )
    history = [step_of(row) for row in facts["history"]]
    held: dict[int, dict[str, Tensor]] = {}
    for name, part in _beginning(tensors, "optimizer").items():
        number, _, key = name.partition(".")
        held.setdefault(int(number), {})[key] = part.clone()
    with torch.no_grad():
        for index, part in enumerate(training.parameters.moved):
            if not has_moved(part) and f"moved.{index}" not in tensors:
                continue  # Its turn is yet to come.
            if part.shape != tensors[f"moved.{index}"].shape:
                raise ValueError(f"it has {list(tensors[f'moved.{index}'].shape)} in place of {list(part.shape)}")
            part.data = tensors[f"moved.{index}"].to(part.device, copy=True)
    groups = training.optimizer.state_dict()["param_groups"]
    training.optimizer.load_state_dict({"state": held, "param_groups": groups})
    training.generator.set_state(tensors["generator"])
    training.order = tensors["order"].tolist()
    lowest = math.inf if best["loss"] is None else best["loss"]
    training.best = Best(compensation, _beginning(tensors, "best.trained"), best["step"], lowest)
    training.history, training.ended = history, facts["ended"]


def _parts(value: LostComponents | Tokens) -> dict[str, Tensor]:
    """The tensors among its fields."""
    named = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: part for name, part in named if isinstance(part, Tensor)}


def _beginning(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Those whose names begin so, by what follows."""
    return {key.removeprefix(f"{name}."): part for key, part in tensors.items() if key.startswith(f"{name}.")}


def _own(part: Tensor) -> Tensor:
    """Its numbers as they are now, sharing memory with nothing."""
    return part.detach().to("cpu", copy=True).contiguous()


def _number(value: float | None) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if value is not None and math.isfinite(value) else None


def _row(step: Step) -> dict[str, Any]:
    return asdict(step) | {"loss": _number(step.loss)}


def step_of(row: Mapping[str, Any]) -> Step:
    """A step as the curve of a `State` has it."""
    held_out = row["held_out"]
    measured = None if held_out is None else Perplexity(**held_out)
    return Step(**{**row, "loss": math.nan if row["loss"] is None else row["loss"], "held_out": measured})
