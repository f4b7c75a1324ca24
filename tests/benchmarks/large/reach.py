"""How far it goes, on paper: bytes, operations and hours of pruning, reading, scoring and restoring large models, and
the same sums held against what a pair of 1.5 billion weights took (`pair.py`).

    python tests/benchmarks/large/reach.py            # the table of the README
    python tests/benchmarks/large/reach.py --check    # the sums against what was measured

One token's way through a model takes 2 N + 2 L T d operations, N its weights, L layers of width d, T tokens of context
(Kaplan et al. 2020, section 2.1); the way back by what it computes as much again, by its weights too once more. Weights
that do not fit stay on disk, and every pass reads them. Reading and computing wait for each other, so they add up.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from restorelcc.hf.layout import decoder_layers, vocabulary_size
from restorelcc.models.memory import SPARE, activation_bytes
from restorelcc.progress import duration
from restorelcc.restoration.parameters import training_bytes

HALF = 2
"""Bytes of a weight in bfloat16."""
AT_ONCE = 8
"""Windows that are read at once."""


@dataclass(frozen=True)
class Machine:
    """What one can do; assumed, or measured."""

    name: str
    memory: float
    """Bytes for models where they compute, of all of them together."""
    speed: float
    """Operations a second of products in bfloat16, as they come out of a model: half of what is advertised."""
    disk: float
    """Bytes a second from where the weights are to where they compute."""
    number: float
    """Seconds that moving one trained weight takes a step: the optimiser, and its place in a matrix."""
    host_speed: float
    """Operations a second of the processor beside it, where it prunes: that holds the model in its memory."""


@dataclass(frozen=True)
class Work:
    """As SmolLM2's row in the README: 64 windows of 512 tokens, 60 steps of 4."""

    windows: int = 64
    length: int = 512
    steps: int = 60
    batch: int = 4
    held_out: int = 6
    every: int = 10


@dataclass(frozen=True)
class Sum:
    """What one piece of work takes."""

    what: str
    operations: float
    read: float
    """Bytes from disk."""
    memory: float
    """Bytes where it computes, beside models that fit there."""
    seconds: float


def skeleton(
    layers: int, width: int, mlp: int, heads: int, kv_heads: int, vocabulary: int, tied: bool = False
) -> PreTrainedModel:
    """A model of this shape without weights."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=tied,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config).to(torch.bfloat16)


def numbers(model: PreTrainedModel) -> tuple[int, int, int]:
    """(weights in all, of the layers, of the largest table)."""
    of_layers = sum(part.numel() for layer in decoder_layers(model) for part in layer.parameters())
    return model.num_parameters(), of_layers, vocabulary_size(model) * model.config.hidden_size


def sums(model: PreTrainedModel, machine: Machine, work: Work) -> list[Sum]:
    """Of each piece of work."""
    whole, of_layers, table = numbers(model)
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    size, on_disk = HALF * whole, SPARE * 2 * HALF * whole > machine.memory
    text, step, judged = (work.length * count for count in (work.windows, work.batch, work.held_out))
    passes = math.ceil(work.windows / AT_ONCE)
    held = 2 * HALF * of_layers / layers + HALF * table if on_disk else 0.0
    measured = 2 + work.steps // work.every

    def way(tokens: int, upto: int) -> float:
        """One way through so many weights."""
        return tokens * (2 * upto + 2 * layers * work.length * width)

    def made(what: str, operations: float, read: float, memory: float, moved: float = 0.0) -> Sum:
        read = read if on_disk else 2 * size  # Once, as they are opened.
        seconds = operations / machine.speed + read / machine.disk + moved * machine.number
        return Sum(what, operations, read, held + memory, seconds)

    judging = measured * way(judged, of_layers + table) + way(judged, of_layers + table)
    judging_reads = (measured + 1) * size
    at_work = activation_bytes(model, AT_ONCE * work.length, 1)
    constants, output = 2 * layers * width, layers * width * width // 2
    every = list(range(layers))
    by_layer = training_bytes(model, output, step, every, "layer")
    return [
        Sum(
            "prune",
            2 * way(text, of_layers),
            size,
            size + HALF * text * width,
            2 * way(text, of_layers) / machine.host_speed + 2 * size / machine.disk,
        ),
        made("capture", 2 * way(text, of_layers), passes * 2 * size,
             at_work + HALF * AT_ONCE * work.length * layers * width),
        made("score", (4 + on_disk) * way(text, of_layers + table), passes * 4 * size, at_work),
        made("constants", work.steps * (3 + on_disk) * way(step, of_layers + table) + judging,
             work.steps * 3 * size + judging_reads, training_bytes(model, constants, step, every, "recomputed")),
        made("weights", work.steps * 3 * way(step, of_layers) + 2 * way(text, of_layers) + judging,
             (2 * work.steps + 2 * math.ceil(work.windows / work.batch)) * HALF * of_layers + judging_reads,
             by_layer, work.steps * output),
    ]  # fmt: skip


MODELS = {
    "7 B": skeleton(32, 4096, 11008, 32, 32, 32000),
    "70 B": skeleton(80, 8192, 28672, 64, 8, 128256),
    "405 B": skeleton(126, 16384, 53248, 128, 8, 128256),
}
CASES = [
    ("7 B", Machine("a laptop of 32 GB, 0.3 TFLOP/s", 24e9, 0.3e12, 3e9, 40e-9, 0.3e12)),
    ("70 B", Machine("one card of 24 GB, 70 TFLOP/s", 24e9, 70e12, 3e9, 0.3e-9, 1e12)),
    ("405 B", Machine("a node of 8 × 80 GB, 8 × 350 TFLOP/s", 640e9, 8 * 350e12, 8 * 20e9, 0.04e-9, 4e12)),
]
WORDS = {"prune": "`prune`, Wanda", "capture": "capture", "score": "score (`predicted` by KL)",
         "constants": "`restore`, constants", "weights": "`restore --what weights --way blocks`, outputs"}  # fmt: skip


def table() -> str:
    """As the README has it."""
    heads = ["", "operations", "read from disk", "memory", "time"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, machine in CASES:
        size = _bytes(HALF * MODELS[name].num_parameters())
        lines.append(f"| **{name} ({size} each) on {machine.name}** | | | | |")
        lines += [
            f"| {WORDS[each.what]} | {each.operations:.1e} | {_bytes(each.read)} | {_bytes(each.memory)} "
            f"| {duration(each.seconds)} |"
            for each in sums(MODELS[name], machine, Work())
        ]
    return "\n".join(lines)


def _bytes(count: float) -> str:
    return f"{count / 1e12:.1f} TB" if count >= 1e12 else f"{count / 1e9:.{0 if count >= 1e10 else 1}f} GB"


MEASURED = {"capture": 47.0, "score": 17.0, "constants": 34.0, "weights": 55.0}
"""Seconds of `pair.py --windows 2,20` on one core: 20 × 64 tokens captured, 2 × 64 scored, 2 steps of 2 × 64."""
HERE = Machine("one core", 2e9, 0.162e12, 2.8e9, 250e-9, 0.162e12)
"""Speed and disk so that both captures (2 windows: 6 s; 20: 47 s) come out; a weight so that restoring all does."""


def check() -> str:
    """The sums of the pair of 1.5 billion weights beside what was measured."""
    model = skeleton(28, 1536, 8960, 12, 2, 151936, tied=True)
    few = Work(windows=2, length=64, steps=2, batch=2, held_out=2, every=2)
    found = {each.what: each.seconds for each in sums(model, HERE, few)}
    found["capture"] = next(
        each.seconds for each in sums(model, HERE, Work(windows=20, length=64)) if each.what == "capture"
    )
    rows = [f"{what}: {found[what]:.0f} s on paper, {seconds:.0f} s measured" for what, seconds in MEASURED.items()]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="against what was measured")
    print(check() if parser.parse_args(arguments).check else table())


if __name__ == "__main__":
    main()
