"""Probes of 1 024 heads on 2 000 pairs at d_head 128, against a loop of scikit-learn's LogisticRegression over heads.

    python tests/benchmarks/probing.py

Activations are real, so that they are as ill-conditioned as activations are: those of the embedded model at every token
of its stories, four heads side by side to make one 128 wide. A pair is a token, one up to 16 tokens on (right), and one
of the same distance from elsewhere (wrong); tokens are drawn anew for each of the 1 024. The loop is timed over 8 heads
in turns with ours over all, and scaled. Both standardise, fit 1 400 pairs and score 600. scikit-learn runs as it comes
and with BLAS on one thread, which can be the faster, in float64 and float32.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from restorelcc.capture.statistics import head_activations
from restorelcc.cli.console import quiet_libraries
from restorelcc.demo.pair import demo_dense
from restorelcc.progress import finish
from restorelcc.selection.probing import Contrast, Probing, fit_all
from restorelcc.text import sources
from restorelcc.text.tokens import windows

HEADS, PAIRS, SAMPLE, TURNS = 1_024, 2_000, 8, 3


def activations() -> Contrast:
    """[1, 1 024, 2 000, 128] each, float32."""
    dense, tokenizer = demo_dense()
    tokens = windows(sources.read("demo"), tokenizer, 256)
    layers = zip(*(head_activations(dense, batch.ids)[0] for batch in tokens.batches(8)), strict=True)
    z = torch.cat([torch.cat(parts).flatten(0, 1).float().unflatten(-1, (2, 128)) for parts in layers], dim=1)
    generator = torch.Generator().manual_seed(0)
    question, right, wrong = (torch.empty(1, HEADS, PAIRS, 128) for _ in range(3))
    for head in range(HEADS):
        at, elsewhere = torch.randint(len(z) - 16, (2, PAIRS), generator=generator)
        on = torch.randint(1, 17, (PAIRS,), generator=generator)
        group = z[:, head % z.shape[1]]
        question[0, head], right[0, head], wrong[0, head] = group[at], group[at + on], group[elsewhere + on]
    return Contrast(question, right, wrong)


def one_by_one(contrast: Contrast, heads: range, training: int, dtype: type) -> list[float]:
    """Held-out accuracies of a loop of scikit-learn."""
    accuracies = []
    for head in heads:
        q, r, w = (part[0, head].numpy() for part in (contrast.question, contrast.right, contrast.wrong))
        rows = np.stack([np.hstack([q, r]), np.hstack([q, w])]).astype(dtype)
        labels = np.repeat([1, 0], len(q)).reshape(2, -1)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        model.fit(rows[:, :training].reshape(-1, rows.shape[-1]), labels[:, :training].flatten())
        accuracies.append(model.score(rows[:, training:].reshape(-1, rows.shape[-1]), labels[:, training:].flatten()))
    return accuracies


def timed(work: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def main() -> None:
    quiet_libraries()
    warnings.simplefilter("error")  # scikit-learn warns where it has not converged
    contrast = activations()
    heads = range(0, HEADS, HEADS // SAMPLE + 1)  # of every layer's two groups in turn
    training = round(PAIRS * 0.7)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    found: Probing | None = None
    accuracies: list[float] = []
    for _ in range(TURNS):
        seconds, found = timed(lambda: finish(fit_all(contrast)))  # type: ignore[assignment]
        ours.append(seconds)
        for limit, words in ((None, "as it comes"), (1, "BLAS on one thread")):
            for dtype in (np.float64, np.float32):
                with threadpool_limits(limit):
                    seconds, accuracies = timed(lambda kind=dtype: one_by_one(contrast, heads, training, kind))
                theirs.setdefault(f"{words}, {dtype.__name__}", []).append(seconds * HEADS / len(heads))
    mine = statistics.median(ours)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {HEADS} heads, {PAIRS} pairs, d_head 128")
    print(f"all heads at once: {mine:.1f} s (turns {', '.join(f'{each:.1f}' for each in ours)})")
    for name, seconds in theirs.items():
        loop = statistics.median(seconds)
        print(f"{loop / mine:6.1f}  times faster than the loop, {name} ({loop:.0f} s, scaled from {len(heads)} heads)")
    apart = (found.accuracy[0, list(heads)] - torch.tensor(accuracies)).abs() / found.stderr[0, list(heads)]
    print(f"accuracies {min(accuracies):.3f} to {max(accuracies):.3f}, at most {apart.max():.2f} standard errors apart")


if __name__ == "__main__":
    main()
