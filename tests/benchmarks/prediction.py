"""How well one backward pass foretells what putting something back does, on the embedded pair at Wanda 60 %.

    python tests/benchmarks/prediction.py [--text live] [--sets 50]

Rank correlation (Spearman) between predicted and measured change of the NLL, over all heads with their predicted best
constants, and over 64 random components at their predicted best magnitudes; predicted from the training windows of the
calibration text, measured on those (`training`), on the whole evaluation text, or on the live set of it. With --sets,
over so many random sets of 1 to all heads instead, their components with magnitudes of 0.3 to 1 α; and how long a
prediction takes, here and for a random model of 12 layers and 1 024 numbers.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.components import LostComponents
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import paired_difference, token_loss
from restorelcc.progress import finish
from restorelcc.selection.joint_effect import together
from restorelcc.selection.measured_effect import of_components, of_heads, tried
from restorelcc.selection.predicted_effect import Slopes, on_loss, slopes_of
from restorelcc.selection.scores import ScoreInputs
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace, open_workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default="training,live", help="training, evaluation, live; with commas")
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--sets", type=int, default=0)
    args = parser.parse_args()
    workspace = finish(open_workspace(Recipe()))
    pair, lost = workspace.pair(), workspace.lost
    texts = {
        "training": workspace.training,
        "evaluation": workspace.findings.evaluation,
        "live": workspace.findings.live,
    }
    if args.sets:
        several(workspace, {name: texts[name] for name in args.text.split(",")}, args.sets)
        return
    findings = workspace.findings
    effect = finish(on_loss(ScoreInputs(pair, findings.statistics, lost, workspace.training, findings.live)))
    layers, heads, width = lost.shape
    draw = torch.randperm(layers * heads * width, generator=torch.Generator().manual_seed(0))[: args.components]
    picks = [(i // (heads * width), i // width % heads, i % width) for i in draw.tolist()]
    for name in args.text.split(","):
        tokens = texts[name]
        for what, trials, foretold in (
            ("heads", of_heads(effect.constants), effect.of_head.flatten()),
            (
                "components",
                of_components(lost, effect.best, picks),
                torch.stack([effect.of_component[p] for p in picks]),
            ),
        ):
            changes = [change for _, change in tried(pair, tokens, trials)]
            measured = torch.tensor([change.nats for change in changes])
            error = torch.tensor([change.stderr for change in changes]).median()
            print(
                f"{name} ({tokens.count} tokens), {len(trials)} {what}: rank correlation "
                f"{spearmanr(foretold, measured).statistic:.3f}; median predicted {foretold.median():.6f}, measured "
                f"{measured.median():.6f}, standard error {error:.6f}",
                flush=True,
            )


def several(workspace: Workspace, texts: dict[str, Tokens], count: int) -> None:
    """Random sets of picks, predicted and measured."""
    pair, lost, generator = workspace.pair(), workspace.lost, torch.Generator().manual_seed(0)
    layers, heads, width = lost.shape
    needed = ScoreInputs(pair, workspace.findings.statistics, lost, workspace.training, workspace.held_out)
    slopes, sets = finish(slopes_of(needed)), []
    for _ in range(count):
        some = torch.randperm(layers * heads, generator=generator)
        some = some[: int(torch.randint(1, layers * heads + 1, (1,), generator=generator))]
        factors = torch.zeros(layers * heads, width)
        factors[some] = 0.3 + 0.7 * torch.rand(len(some), width, generator=generator)
        sets.append(factors.view(lost.shape))
    foretold = torch.tensor([together(slopes, injected(lost, factors).vectors).nats for factors in sets])
    print(f"predicting takes {1000 * timed(slopes, lost, sets[0]):.1f} ms", flush=True)
    wide = torch.randn(128, 12, 16, 64)
    random = replace(lost, directions=torch.randn(12, 16, 64, 64).double(), energy=torch.rand(12, 16, 64),
                     magnitude=torch.randn(12, 16, 64).double())  # fmt: skip
    takes = timed(Slopes(wide, wide, torch.full((128,), 255)), random, torch.rand(12, 16, 64))
    print(f"of 12 layers of 16 heads of 64, with 128 texts, {1000 * takes:.1f} ms", flush=True)
    for name, tokens in texts.items():
        plain, measured = token_loss(pair.pruned, tokens), []
        for factors in sets:
            with compensated(pair.pruned, injected(lost, factors)):
                measured.append(paired_difference(token_loss(pair.pruned, tokens), plain).nats)
        off = foretold - torch.tensor(measured)
        print(
            f"{name} ({tokens.count} tokens), {count} sets: rank correlation "
            f"{spearmanr(foretold, measured).statistic:.3f}; predicted {foretold.mean():+.4f}, measured "
            f"{sum(measured) / count:+.4f} on average, off by {off.square().mean().sqrt():.4f} (root mean square)",
            flush=True,
        )


def timed(slopes: Slopes, lost: LostComponents, factors: torch.Tensor) -> float:
    """Seconds from picks to what they are predicted to do: the median of 21."""
    took = []
    for _ in range(21):
        began = time.perf_counter()
        together(slopes, injected(lost, factors).vectors)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


if __name__ == "__main__":
    main()
