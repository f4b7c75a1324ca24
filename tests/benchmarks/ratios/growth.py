"""How time a token and peak memory grow with the text, the context, the model and the batch: one size after the other,
each in a process of its own, on a small random model pruned by half."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from restorelcc.capture.statistics import capture
from restorelcc.evaluation.perplexity import measure
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens

D_HEAD = 16
LEAST = 1e-9


@dataclass(frozen=True)
class Size:
    """Of a text and a model. Attention is as wide as its heads, everything else `width`."""

    text: int = 16_384
    """Tokens."""
    context: int = 128
    batch: int = 8
    layers: int = 4
    heads: int = 4
    """A layer."""
    width: int = 64
    vocabulary: int = 512

    def pair(self) -> ModelPair:
        """A random model and itself pruned."""
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=self.vocabulary, hidden_size=self.width, intermediate_size=2 * self.width,
            num_hidden_layers=self.layers, num_attention_heads=self.heads, num_key_value_heads=4, head_dim=D_HEAD,
            max_position_embeddings=self.context,
        )  # fmt: skip
        dense = LlamaForCausalLM(config).eval().requires_grad_(False)
        dense.to("cuda" if torch.cuda.is_available() else "cpu")
        nothing = self.tokens(1)
        return paired(dense, finish(prune(dense, nothing, Pruning("magnitude", 0.5))), None, "dense", "pruned")

    def tokens(self, windows: int) -> Tokens:
        """Random, in windows of the context."""
        ids = torch.randint(self.vocabulary, (windows, self.context), generator=torch.Generator().manual_seed(1))
        real = torch.ones(ids.shape, dtype=torch.bool)
        return Tokens(ids, real, real, real)


AXES: dict[str, list[Size]] = {
    "text": [Size(text=count, layers=2) for count in (1_024, 10_240, 102_400, 1_024_000, 10_240_000)],
    "context": [Size(context=length, text=32_768) for length in (128, 512, 1_024, 4_096)],
    "layers": [Size(layers=count) for count in (2, 4, 8, 16, 32)],
    "heads in all": [
        Size(layers=layers, heads=heads, text=8_192, width=128) for layers, heads in ((4, 16), (8, 64), (40, 128))
    ],
    "batch": [Size(batch=count) for count in (1, 4, 16, 64)],
    "vocabulary": [Size(vocabulary=count, text=8_192) for count in (512, 16_384, 150_000)],
}


@dataclass(frozen=True)
class Point:
    """What came of one size."""

    axis: str
    value: int
    work: str
    microseconds: float
    """A token of the text, of all models that pass it; of processor time, since machines are shared, but on a GPU."""
    peak: float
    """MB of the process, or of the GPU, at its highest."""
    over: float
    """MB of these above what there was before the work: models, text, Python and its libraries."""

    def figures(self) -> dict[str, Any]:
        """As it is written in JSON."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        amount = f"{self.axis} {self.value:>10,}  {self.work:10}"
        return f"{amount} {self.microseconds:9.1f} µs a token  peak {self.peak:7.0f} MB, {self.over:6.0f} of the work"


def grown(only: str = "") -> Iterator[Point]:
    """Every size of every axis; says each as it comes. only: what an axis is called, or a part of it."""
    for axis, size in ((axis, size) for axis, sizes in AXES.items() if only in axis for size in sizes):
        if size == AXES[axis][0]:
            print()
        for work in WORKS:
            given = json.dumps([axis, asdict(size), work])
            done = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.ratios.growth", given],
                stdout=subprocess.PIPE, check=True, text=True, cwd=Path(__file__).resolve().parents[3],
            )  # fmt: skip
            point = Point(**json.loads(done.stdout.splitlines()[-1]))
            print(point.line(), flush=True)
            yield point


def _evaluated(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    finish(measure(pair.pruned, tokens, batch))


def _captured(pair: ModelPair, tokens: Tokens, batch: int) -> None:
    finish(capture(pair, tokens, batch=batch))


WORKS: dict[str, Callable[[ModelPair, Tokens, int], None]] = {"capture": _captured, "evaluation": _evaluated}


def _value(axis: str, size: Size) -> int:
    return size.layers * size.heads if axis == "heads in all" else int(asdict(size)[axis])


def _point(axis: str, size: Size, work: str) -> Point:
    """In this process."""
    pair, tokens = size.pair(), size.tokens(size.text // size.context)
    small = replace(size, text=size.batch * size.context)
    WORKS[work](pair, small.tokens(1), 1)  # What comes with the first pass is none of the work's.
    before, clock = _memory(anew=True), time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    WORKS[work](pair, tokens, size.batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    took, peak = clock() - began, _memory()
    each = 1e6 * took / max(LEAST, tokens.ids.numel())
    return Point(axis, _value(axis, size), work, each, peak, max(0.0, peak - before))


def _memory(anew: bool = False) -> float:
    """MB at the highest since it was asked for anew."""
    if torch.cuda.is_available():
        if anew:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if anew:
        Path("/proc/self/clear_refs").write_text("5")  # The highest is what is there now.
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    axis, size, work = json.loads(sys.argv[1])
    print(json.dumps(_point(axis, Size(**size), work).figures()))
