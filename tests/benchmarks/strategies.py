"""Which heads to restore: a quarter of the embedded pair's, by every score, trained alike; what each strategy recovers.

    python tests/benchmarks/strategies.py [--pair "demo wanda 2:4"] [--steps 50] [--seeds 3] [--loss kl]
        [--calibration SOURCE] [--texts "our stories=demo,TinyStories held out=FILE"]

Two figures of every text, which nothing was picked or trained on: the recovered share of the lost log-likelihood, and
the share of the distance to the dense model (mean KL) that is gone. Errors are of the mean over windows, of one run;
the spread is over seeds. The embedded model's held-out stories are what `split` of `assets/demo/train.py` holds out.
"""

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from defaults import Judge, figures, recipe_of

from restorelcc.models.loading import DEMO
from restorelcc.progress import finish
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import Selection, everything, of_heads, random_heads, top_heads
from restorelcc.selection.scores import SCORES, ScoreInputs
from restorelcc.selection.scoring import score_heads
from restorelcc.text import sources
from restorelcc.text.tokens import Tokens, tokenized
from restorelcc.workspace import Workspace, open_workspace

NAMES = (
    "together,together_dense,predicted,towards_dense,gradient,probing,output_weighted,relative_error,random,"
    "first_layers,all_heads"
)
DRAWS = 9
"""Of heads at random: what one draw recovers says little of chance."""


def strategies(workspace: Workspace, count: int, names: list[str]) -> dict[str, list[Selection]]:
    """By name; one selection, or one a seed."""
    shape, statistics = workspace.lost.shape, workspace.findings.statistics
    inputs = ScoreInputs(workspace.pair(), statistics, workspace.lost, workspace.training, workspace.held_out)
    layers = max(1, count // shape[1])
    found: dict[str, list[Selection]] = {}
    for name in names:
        if name == "random":
            found[name] = [random_heads(shape, count, seed) for seed in range(DRAWS)]
        elif name == "first_layers":
            heads = [(layer, head) for layer in range(layers) for head in range(shape[1])]
            found[name] = [of_heads(shape, heads)]
        elif name == "all_heads":
            found[name] = [everything(shape)]
        else:
            values = finish(score_heads(name, inputs)).values
            found[name] = [top_heads(shape, SCORES[name].order(values), count)]
    return found


def texts_of(workspace: Workspace, sources: str, most: int) -> dict[str, Tokens]:
    """By name; `demo` is the evaluation text of the workspace."""
    length, found = workspace.findings.evaluation.ids.shape[1], {}
    for name, source in (one.split("=", 1) for one in sources.split(",")):
        found[name] = workspace.findings.evaluation
        if source != sources.DEMO:
            documents = sources.read(source, "evaluation")
            found[name] = tokenized(documents, workspace.pair().tokenizer, length, most=most)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", default="demo wanda 0.6", help="MODEL METHOD AMOUNT")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each strategy; of chance, one of every draw")
    parser.add_argument("--loss", default=Settings.loss)
    parser.add_argument("--lr", type=float, default=Settings.lr)
    parser.add_argument("--unit", default=Settings.unit)
    parser.add_argument("--only", default=NAMES, help="strategies, with commas")
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument(
        "--calibration", default=sources.DEMO, help="source of the text that prunes, predicts and trains"
    )
    parser.add_argument("--texts", default="our stories=demo", help="NAME=SOURCE of the texts to judge by, with commas")
    parser.add_argument("--windows", type=int, default=277, help="of each such text, at most")
    parser.add_argument("--out", type=Path, help="JSON that the Learn page shows: assets/demo/strategies.json")
    args = parser.parse_args()
    recipe = replace(recipe_of(args.pair, "auto"), calibration=args.calibration)
    workspace = finish(open_workspace(recipe))
    pair, shape = workspace.pair(), workspace.lost.shape
    count = round(args.share * shape[0] * shape[1])
    facts = {"pair": named(workspace), "heads": count, "of": shape[0] * shape[1], "loss": args.loss}
    facts |= {"steps": args.steps, "seeds": args.seeds}
    judges: dict[str, Judge] = {}
    found: dict[str, dict[str, Any]] = {}
    for name, tokens in texts_of(workspace, args.texts, args.windows).items():
        judges[name] = Judge(pair, tokens)
        lost = judges[name].missing
        found[name] = {"tokens": tokens.count, "lost": round(lost.nats, 4), "recovered": {}}
        print(f"{args.pair}, {name}: lost {lost.nats:.4f} ± {lost.stderr:.4f} nats over {tokens.count} tokens",
              flush=True)  # fmt: skip
    settings = Settings(loss=args.loss, lr=args.lr, unit=args.unit, steps=args.steps, evaluate_every=args.steps)
    for strategy, selections in strategies(workspace, count, args.only.split(",")).items():
        trained = []
        for seed in range(max(args.seeds, len(selections))):
            selection = selections[seed % len(selections)]
            training = Training(
                pair, workspace.lost, selection, workspace.training, workspace.held_out, replace(settings, seed=seed)
            )
            for _ in training.steps():
                pass
            trained.append(training.result().compensation)
        for name, judge in judges.items():
            row = found[name]["recovered"][strategy] = figures([judge.of(constants) for constants in trained])
            told = "  ".join(f"{key} {_told(row[key], row[f'{key}_stderr'])}" for key in ("shares", "nearer"))
            print(f"{strategy:16} {name}: {told}", flush=True)
        if args.out is not None:
            args.out.write_text(json.dumps(facts | {"texts": found}, indent=1) + "\n")


def named(workspace: Workspace) -> str:
    """Of the pair, for the Learn page."""
    dense, pruned = workspace.findings.dense_name, workspace.findings.pruned_name
    return f"{'The embedded pair' if dense == DEMO else dense}, {pruned.capitalize()}"


def _told(values: list[float], error: float) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    each = ", ".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {error:.3f}, spread {spread:.3f} ({each})"


if __name__ == "__main__":
    main()
