"""Capture of a pair of which only one model is in memory at a time.

The dense model's activations wait in a file, in its own precision, until the pruned model has computed its own; from
there on all is as in the joint capture, batch by batch, so the results are the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from platformdirs import user_cache_path
from torch import Tensor

from ..errors import WriteError
from ..hf.layout import HeadGeometry, output_projections
from ..hf.weights import weight_of
from ..models.memory import let_go
from ..models.pair import ModelPair
from ..processes import apart, process, processes
from ..progress import Progress
from ..storage.drafts import draft, remove
from ..text.tokens import Tokens
from .statistics import Choice, DenseBatch, HeadStatistics, Positions, batch_statistics, of_all, read_dense

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BUDGET = 16 * 2**30
"""Bytes on disk, at most: 30 windows of 2 048 tokens of a 7 B model in half precision."""
WHAT = "reading head activations, one model at a time"


def capture_one_at_a_time(
    pair: ModelPair,
    dense: Callable[[], PreTrainedModel],
    pruned: Callable[[], PreTrainedModel],
    tokens: Tokens,
    positions: Positions = "all",
    samples: int = 256,
    seed: int = 0,
    batch: int = 8,
    budget: int = BUDGET,
) -> Generator[Progress, None, HeadStatistics]:
    """What `capture` gives, from models that are each loaded when their turn comes and let go after it. Where several
    processes are at it, each does that for its part of the texts, and all get the whole.

    pair: see `pair.skeleton_pair`. budget: bytes that the dense model's activations may take on disk; text that needs
    more is read in rounds, both models loaded for each. They are in the user's cache, a temporary folder being in
    memory on many machines, and are removed whatever happens. Raises WriteError where one text does not fit on disk,
    and whatever loading raises.
    """
    choice = Choice(positions, samples, seed)
    result: HeadStatistics | None = None
    own, budget = _own(tokens, batch), budget // processes()
    done = own.start
    with apart(), _scratch() as folder:  # Rounds of two need not be as many, so each loads its models for itself.
        while done < own.stop:
            kept = yield from _dense_round(pair, dense, tokens, own, done, choice, batch, folder / "dense", budget)
            let_go()
            result = yield from _pruned_round(pair, pruned, tokens, own, kept, choice, result)
            let_go()
            done = kept.starts.stop
    yield Progress(WHAT, 2 * len(own), 2 * len(own))
    return of_all(result, samples)


def _own(tokens: Tokens, batch: int) -> range:
    """The texts of this process's part of the batches: those behind one another."""
    batches = -(-len(tokens) // batch)
    ends = (-(-batches * part // processes()) for part in (process(), process() + 1))  # rounded up
    return range(*(min(batch * end, len(tokens)) for end in ends))


@dataclass(frozen=True)
class _Kept:
    """What is kept of the dense model for one round of texts."""

    starts: range
    """First texts of its batches, in steps of a batch's size."""
    path: Path
    """For each batch z [layer, token, head * d_head], one after the other."""
    dtype: torch.dtype
    projections: list[Tensor]
    """[layer] of [d_model, head * d_head]; empty where no head is gone."""
    energies: list[Tensor] = field(default_factory=list)
    """[layer] a batch: mean of ‖attention output‖²."""


def _dense_round(
    pair: ModelPair,
    load: Callable[[], PreTrainedModel],
    tokens: Tokens,
    own: range,
    first: int,
    choice: Choice,
    batch: int,
    path: Path,
    budget: int,
) -> Generator[Progress, None, _Kept]:
    before = first - own.start
    yield Progress(f"{WHAT}: loading the dense one", 2 * before, 2 * len(own))
    model = load()
    last = _fitting(
        choice.mask(tokens).sum(1)[first : own.stop], _width(pair.geometry) * model.dtype.itemsize, path, budget
    )
    starts = range(first, first + last, batch)
    gone = pair.match is not None
    projections = [weight_of(one).to("cpu", copy=True) for one in output_projections(model)] if gone else []
    kept = _Kept(starts, path, model.dtype, projections)
    with path.open("wb") as file:
        for start in starts:
            yield Progress(f"{WHAT}: dense", before + start - own.start, 2 * len(own))
            some = tokens[start : min(start + batch, starts.stop)]

            def keep(z: Tensor) -> None:
                file.write(z.to("cpu", kept.dtype).contiguous().view(torch.uint8).numpy().data)

            kept.energies.append(read_dense(model, some, choice, keep))
    return kept


def _pruned_round(
    pair: ModelPair,
    load: Callable[[], PreTrainedModel],
    tokens: Tokens,
    own: range,
    kept: _Kept,
    choice: Choice,
    result: HeadStatistics | None,
) -> Generator[Progress, None, HeadStatistics | None]:
    """The statistics of this round merged into `result`, those of the rounds before."""
    starts, shape = kept.starts, pair.geometry
    after = starts.stop - own.start
    yield Progress(f"{WHAT}: loading the pruned one", starts.start - own.start + after, 2 * len(own))
    model = load()
    size = kept.path.stat().st_size // kept.dtype.itemsize
    z = torch.from_file(str(kept.path), shared=True, size=size, dtype=kept.dtype)  # mapped: read when looked at
    for start, energy in zip(starts, kept.energies, strict=True):
        yield Progress(f"{WHAT}: pruned", start - own.start + after, 2 * len(own))
        some = tokens[start : min(start + starts.step, starts.stop)]
        count = int(choice.mask(some).sum())
        ours, z = z[: count * _width(shape)], z[count * _width(shape) :]
        dense = DenseBatch(ours.view(shape.n_layers, count, -1), energy, kept.projections)
        part = batch_statistics(pair, model, dense, some, start, choice)
        result = part if result is None else result.merged(part, choice.samples)
    return result


def _width(shape: HeadGeometry) -> int:
    """Numbers a token: the activations of all heads of all layers."""
    return shape.n_layers * shape.n_heads * shape.d_head


def _fitting(counts: Tensor, each: int, path: Path, budget: int) -> int:
    """How many texts of `counts` tokens, of `each` bytes a token, fit. Raises WriteError where not one does."""
    room = min(budget, shutil.disk_usage(path.parent).free * 9 // 10)
    texts = int((counts.cumsum(0) * each <= room).sum())
    if texts == 0:
        raise WriteError(
            f"One text's head activations take {int(counts[0]) * each / 1e9:.1f} GB on disk, and {room / 1e9:.1f} GB "
            f"can be had in {path.parent.parent}. Make room there, or give shorter windows or the last position alone."
        )
    return texts


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder that is gone after the `with`. Raises WriteError, also for what fails to be written within."""
    place = user_cache_path("restorelcc")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with draft(place) as folder:
            folder.mkdir()
            try:
                yield folder
            finally:
                remove(folder)
    except OSError as error:
        raise WriteError(
            f"Activations of the dense model cannot be kept in {place}: {error.strerror or error}. Make room there, or "
            "point XDG_CACHE_HOME to another disk."
        ) from error
