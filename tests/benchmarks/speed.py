"""What our work costs beside the bare model, and what structured pruning saves, as ratios within one run: machines
differ and are noisy, ratios less so.

    python tests/benchmarks/speed.py

Each pair is timed in turns, five times, and the medians are divided.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.cli.console import quiet_libraries
from restorelcc.compensation.constants import Constants, merged
from restorelcc.compensation.interface import compensated
from restorelcc.demo.pair import demo_dense, demo_pair
from restorelcc.hf.twins import with_output_biases
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text import sources
from restorelcc.text.tokens import windows

TURNS = 5


def ratio(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float, float]:
    """(median seconds of ours, of theirs, ours / theirs), measured in turns after one warm-up each."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(TURNS + 1):
        for name, work in (("ours", ours), ("theirs", theirs)):
            started = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - started)
    first, second = (statistics.median(times[name]) for name in ("ours", "theirs"))
    return first, second, first / second


def main() -> None:
    quiet_libraries()
    dense, tokenizer = demo_dense()
    tokens = windows(sources.read("demo"), tokenizer, 256)
    pair = finish(demo_pair(dense, tokenizer, tokens))
    few, ids = tokens[:16], tokens.ids[:16]
    found = finish(capture(pair, few, samples=4096))
    lost = components(found)
    c = Constants(torch.randn(8, 8, 32) * 0.01)
    bare = with_output_biases(pair.pruned, [bias * 0 for bias in merged(pair.pruned, c)])
    folded = with_output_biases(pair.pruned, merged(pair.pruned, c))

    @torch.no_grad()
    def forwards() -> None:
        for model in (pair.dense, pair.pruned):
            for batch in ids.split(8):
                model(batch, use_cache=False)

    @torch.no_grad()
    def forward(model: torch.nn.Module = pair.pruned) -> None:
        model(ids[:8], use_cache=False)

    narrow = finish(prune(dense, tokens[:24], Pruning("structured", 0.25)))

    def hooked() -> None:
        with compensated(pair.pruned, c):
            forward()

    def one_svd_a_head() -> None:
        for layer in found.samples.lost.double():
            for head in layer:
                torch.linalg.svd(head, full_matrices=False)

    def train(steps: int) -> Callable[[], None]:
        trainer = Training(pair, lost, everything(lost.shape), few, few[:1], Settings(steps=10**6, batch=8))
        loop = trainer.steps()
        for _ in range(4):  # the start, and both batches of teacher logits
            next(loop)
        return lambda: [next(loop) for _ in range(steps)] and None

    def three_forwards() -> None:
        for _ in range(3):
            forward()

    sizes = [sum(p.numel() * p.element_size() for p in model.parameters()) for model in (narrow, dense)]
    print(f"{sizes[0] / sizes[1]:6.2f}  bytes, structured 0.25 / dense, embeddings too  ({sizes[0]:,} / {sizes[1]:,})")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {dense.dtype}")
    for name, ours, theirs in (
        ("capture / two bare forward passes", lambda: finish(capture(pair, few)), forwards),
        (
            "components of all heads / one SVD a head of the stored differences",
            lambda: components(found),
            one_svd_a_head,
        ),
        ("forward, compensated by hooks / bare", hooked, forward),
        ("forward, compensation merged / zero biases", lambda: forward(folded), lambda: forward(bare)),
        ("training step / three bare forward passes", train(1), three_forwards),
        ("forward, structured 0.25 / dense", lambda: forward(narrow), lambda: forward(pair.dense)),
    ):
        mine, other, share = ratio(ours, theirs)
        print(f"{share:6.2f}  {name}  ({mine * 1e3:.0f} ms / {other * 1e3:.0f} ms)")


if __name__ == "__main__":
    main()
