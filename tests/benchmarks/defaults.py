"""Which settings hold across pairs: the published schedule in full against ours in a quarter of its tokens.

    python tests/benchmarks/defaults.py [--pairs "demo wanda 0.6,demo wanda 2:4"] [--rates 0.1,0.2,0.4]
        [--evaluation FILE] [--out FILE]

A pair is `MODEL METHOD AMOUNT`: a hub id, a folder or `demo`, pruned here. All heads are trained, towards the dense
model's distribution, so that schedules alone differ. Two figures of the evaluation text, which nothing was trained on:
the recovered share of the lost log-likelihood, and by how much the distance to the dense model (mean KL) shrank, which
is what is minimised and has far less noise. Errors are of the mean over windows.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import Compensation, compensated
from restorelcc.evaluation.losses import distillation
from restorelcc.evaluation.perplexity import TokenLoss, paired_difference, token_loss
from restorelcc.models.loading import Loading
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning
from restorelcc.restoration.settings import PUBLISHED, Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import open_workspace

PAIRS = "demo wanda 0.5,demo wanda 0.6,demo wanda 0.7,demo wanda 2:4,demo sparsegpt 0.6,demo magnitude 0.5"
STEPS = 750
"""The published schedule: 3 epochs of 2 000 texts, 8 a step."""
LOOKED_AT = (50, 188, 400, STEPS)


def recipe_of(name: str, dtype: str) -> Recipe:
    dense, method, amount = name.split()
    pruning = Pruning(method, pattern=amount) if ":" in amount else Pruning(method, float(amount))
    return Recipe(dense=dense, pruning=pruning, loading=Loading(dtype=dtype))


@torch.no_grad()
def distance(pair: ModelPair, tokens: Tokens, constants: Compensation) -> Tensor:
    """[text] mean KL(dense ‖ pruned with constants) of each text, nats per token."""
    found = []
    for texts in torch.arange(len(tokens)).split(8):
        part = tokens[texts]
        teacher = pair.dense(part.ids, use_cache=False).logits
        with compensated(pair.pruned, constants):
            logits = pair.pruned(part.ids, use_cache=False).logits
        for row in range(len(part)):
            one = slice(row, row + 1)
            found.append(distillation(logits[one], teacher[one], part.scored[one]))
    return torch.stack(found)


class Judge:
    """Figures of the evaluation text for any constants of one pair."""

    def __init__(self, pair: ModelPair, tokens: Tokens) -> None:
        self.pair, self.tokens = pair, tokens
        self.pruned = token_loss(pair.pruned, tokens)
        self.missing = paired_difference(self.pruned, token_loss(pair.dense, tokens))
        self.apart = distance(pair, tokens, Constants.none(pair.geometry))

    def of(self, constants: Compensation) -> dict[str, float]:
        gain = paired_difference(self._loss(constants), self.pruned)
        nearer = self.apart - distance(self.pair, self.tokens, constants)
        scale = float(self.apart.mean())
        return {
            "share": -gain.nats / self.missing.nats,
            "share_stderr": gain.stderr / self.missing.nats,
            "nearer": float(nearer.mean()) / scale,
            "nearer_stderr": float(nearer.std()) / len(nearer) ** 0.5 / scale,
        }

    def _loss(self, constants: Compensation) -> TokenLoss:
        with compensated(self.pair.pruned, constants):
            return token_loss(self.pair.pruned, self.tokens)


def figures(runs: list[dict[str, float]]) -> dict[str, Any]:
    """What a judge found, as the Learn page reads it: shares of every run, and the standard error of one of them."""
    return {
        "shares": [round(run["share"], 4) for run in runs],
        "shares_stderr": round(mean(run["share_stderr"] for run in runs), 4),
        "nearer": [round(run["nearer"], 4) for run in runs],
        "nearer_stderr": round(mean(run["nearer_stderr"] for run in runs), 4),
    }


def trained(training: Training, looked_at: tuple[int, ...]) -> Iterator[tuple[int, Compensation]]:
    """Constants at some steps: as they stand, and at the end the best of all steps, which is what a person gets."""
    for step in training.steps():
        if step.step in looked_at and step.step < training.settings.steps:
            with torch.no_grad():
                now = training.parameters.compensation()
            yield step.step, now
    yield training.settings.steps, training.result().compensation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default=PAIRS, help="MODEL METHOD AMOUNT, with commas")
    parser.add_argument("--rates", default="0.1,0.2,0.4", help="peak rates of ours, with commas")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--loss", default="kl")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--evaluation", default=Recipe.evaluation, help="source of the text to judge by")
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    for name in args.pairs.split(","):
        workspace = finish(open_workspace(replace(recipe_of(name, args.dtype), evaluation=args.evaluation)))
        pair, lost = workspace.pair(), workspace.lost
        judge = Judge(pair, workspace.findings.evaluation)
        print(f"\n{name}: lost {judge.missing.nats:.4f} ± {judge.missing.stderr:.4f} nats, "
              f"KL {float(judge.apart.mean()):.4f}", flush=True)  # fmt: skip
        ways = {"published": replace(PUBLISHED, loss=args.loss, steps=STEPS)}
        ways |= {f"rate {lr}": Settings(loss=args.loss, lr=float(lr), steps=STEPS // 4) for lr in args.rates.split(",")}
        for way, settings in ways.items():
            for seed in range(args.seeds):
                settings = replace(settings, seed=seed)
                training = Training(
                    pair, lost, everything(lost.shape), workspace.training, workspace.held_out, settings
                )
                for step, constants in trained(training, LOOKED_AT):
                    row = {"pair": name, "way": way, "seed": seed, "step": step, **judge.of(constants)}
                    print(f"  {way:12} step {step:4}  share {row['share']:6.3f} ± {row['share_stderr']:.3f}  "
                          f"nearer {row['nearer']:6.3f} ± {row['nearer_stderr']:.3f}", flush=True)  # fmt: skip
                    if args.out is not None:
                        with args.out.open("a") as lines:
                            lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
