"""Tokens a second and memory of several models, in turn, so that whatever else the machine does hits all of them."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import SettingError
from ...hf.layout import context_length, device_of, vocabulary_size
from ...models.memory import Peak, let_go
from ...progress import Progress
from .kernels import held_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from ..comparison import Within


@dataclass(frozen=True)
class Load:
    """What is computed in each round."""

    prompt: int = 128
    """Tokens that are read at once (prefill)."""
    new: int = 32
    """Tokens that are written after it, one at a time (decoding)."""
    rounds: int = 7
    """Of all models in turn, after one that does not count."""

    def __post_init__(self) -> None:
        for name, least in (("prompt", 1), ("new", 1), ("rounds", 2)):
            if getattr(self, name) < least:
                raise SettingError(f"{name} is {getattr(self, name)}, and has to be {least} or more.")


@dataclass(frozen=True)
class Spread:
    """Of a figure that was measured several times: the median, and the quarter of it below and above."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of two or more."""
        low, middle, high = quantiles(values, n=4, method="inclusive")
        return cls(middle, low, high)

    def figures(self) -> dict[str, float]:
        """As it is written in JSON."""
        return {"median": self.median, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Speed:
    """Of one model."""

    prefill: tuple[float, ...]
    """Seconds in which the prompt is read, a round each."""
    decode: tuple[float, ...]
    """Seconds in which a token is written, on average over those of a round, a round each."""
    weights: int
    """Bytes of its parameters. Zeros take as many as other numbers, but where kernels of their own leave them out."""
    beside: int | None
    """Bytes that a round takes at most on top of all models; None where the system does not tell."""


@dataclass(frozen=True)
class Speeds:
    """Of several models, timed in turn."""

    load: Load
    models: Mapping[str, Speed]
    machine: str
    """The device, precision and threads, in words."""

    def rates(self, model: str) -> tuple[Spread, Spread]:
        """(tokens a second of prefill, of decoding)."""
        speed = self.models[model]
        read = Spread.of([self.load.prompt / seconds for seconds in speed.prefill])
        return read, Spread.of([1 / seconds for seconds in speed.decode])

    def ratio(self, model: str, against: str) -> tuple[Spread, Spread]:
        """How many times as fast one is as another, (prefill, decoding): paired by round."""
        one, other = self.models[model], self.models[against]
        pairs = (one.prefill, other.prefill), (one.decode, other.decode)
        first, second = (Spread.of([b / a for a, b in zip(*pair, strict=True)]) for pair in pairs)
        return first, second

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON; ratios against the pruned model, where it is there."""
        rows: dict[str, Any] = {}
        for name, speed in self.models.items():
            read, written = self.rates(name)
            rows[name] = {"prefill": read.figures(), "decode": written.figures()}
            rows[name] |= {"weights_bytes": speed.weights, "beside_bytes": speed.beside}
            if "pruned" in self.models and name != "pruned":
                read, written = self.ratio(name, "pruned")
                rows[name]["against_pruned"] = {"prefill": read.figures(), "decode": written.figures()}
        load = {"prompt": self.load.prompt, "new": self.load.new, "rounds": self.load.rounds}
        return {**load, "machine": self.machine, "models": rows}


def timed(
    models: Mapping[str, tuple[PreTrainedModel, Within]], load: Load, seed: int = 0
) -> Generator[Progress, None, Speeds]:
    """All models on the same random tokens, one after the other in every round; yields before each.

    models: by their names, and what is entered around a round of each. Raises SettingError where a round does not fit
    the context.
    """
    first = next(iter(models.values()))[0]
    if load.prompt + load.new > context_length(first):
        raise SettingError(
            f"{load.prompt} + {load.new} tokens do not fit the model's context of {context_length(first)}: time fewer."
        )
    generator = torch.Generator().manual_seed(seed)
    least = min(vocabulary_size(model) for model, _ in models.values())
    ids = torch.randint(least, (1, load.prompt), generator=generator)
    read: dict[str, list[float]] = {name: [] for name in models}
    written: dict[str, list[float]] = {name: [] for name in models}
    beside: dict[str, list[int]] = {name: [] for name in models}
    for number in range(load.rounds + 1):
        # Another begins in every round: who comes after whom matters to caches.
        order = [*models][number % len(models) :] + [*models][: number % len(models)]
        for turn, name in enumerate(order):
            model, within = models[name]
            yield Progress(
                f"timing {name}, round {number} of {load.rounds}",
                number * len(models) + turn,
                (load.rounds + 1) * len(models),
            )
            if not number:
                let_go()  # Memory that the one before freed would be used again, and not be seen as this one's.
            with Peak() as peak, within():
                reading, writing = _round(model, ids.to(device_of(model)), load.new)
            if peak.bytes is not None:
                beside[name].append(peak.bytes)
            if number:  # The first warms up: caches, kernels, pages of memory.
                read[name].append(reading)
                written[name].append(writing)
    found = {
        name: Speed(
            tuple(read[name]), tuple(written[name]), held_bytes(model), max(beside[name]) if beside[name] else None
        )
        for name, (model, _) in models.items()
    }
    return Speeds(load, found, _machine(first))


@torch.no_grad()
def _round(model: PreTrainedModel, ids: Tensor, new: int) -> tuple[float, float]:
    """(seconds to read `ids` [1, pos], seconds a token to write `new` more)."""
    begun = _now(ids)
    output = model(ids, use_cache=True, logits_to_keep=1)
    read = _now(ids)
    for _ in range(new):
        token = output.logits[:, -1:].argmax(-1)
        output = model(token, past_key_values=output.past_key_values, use_cache=True, logits_to_keep=1)
    return read - begun, (_now(ids) - read) / new


def _now(ids: Tensor) -> float:
    """Once all that was asked of the device is done."""
    if ids.is_cuda:
        torch.cuda.synchronize(ids.device)
    return time.perf_counter()


def _machine(model: PreTrainedModel) -> str:
    device, kind = device_of(model), str(model.dtype).removeprefix("torch.")
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {kind}"
    return f"{device}, {kind}, {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
