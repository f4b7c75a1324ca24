"""How well one backward pass foretells what putting something back does, on the embedded pair at Wanda 60 %.

    python tests/benchmarks/prediction.py [--text live]

Rank correlation (Spearman) between predicted and measured change of the NLL, over all heads with their predicted best
constants, and over 64 random components at their predicted best magnitudes; predicted from the training windows of the
calibration text, measured on those (`training`), on the whole evaluation text, or on the live set of it.
"""

import argparse
import sys
from pathlib import Path

import torch
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import finish
from restorelcc.selection.measured_effect import of_components, of_heads, tried
from restorelcc.selection.predicted_effect import on_loss
from restorelcc.selection.scores import ScoreInputs
from restorelcc.workspace import open_workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default="training,live", help="training, evaluation, live; with commas")
    parser.add_argument("--components", type=int, default=64)
    args = parser.parse_args()
    workspace = finish(open_workspace(Recipe()))
    pair, lost = workspace.pair(), workspace.lost
    texts = {
        "training": workspace.training,
        "evaluation": workspace.findings.evaluation,
        "live": workspace.findings.live,
    }
    statistics, live = workspace.findings.statistics, workspace.findings.live
    effect = finish(on_loss(ScoreInputs(pair, statistics, lost, workspace.training, live)))
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


if __name__ == "__main__":
    main()
