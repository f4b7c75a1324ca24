"""Which heads to restore: a quarter of the embedded pair's, by every score, trained alike; what each strategy recovers.

    python tests/benchmarks/strategies.py [--pair "demo wanda 2:4"] [--steps 50] [--seeds 3] [--loss kl]

Two figures of the evaluation text, which nothing was picked or trained on: the recovered share of the lost
log-likelihood, and the share of the distance to the dense model (mean KL) that is gone. Errors are of the mean over
windows, of one run; the spread is over seeds.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from defaults import Judge, recipe_of

from restorelcc.compensation import Compensation
from restorelcc.models import DEMO
from restorelcc.progress import finish
from restorelcc.restore import Settings, Training
from restorelcc.scores import LOWEST_FIRST, score_heads
from restorelcc.selection import Selection, everything, of_heads, random_heads, top_heads
from restorelcc.workspace import Workspace, open_workspace

NAMES = (
    "together,together_dense,predicted,towards_dense,gradient,probing,output_weighted,relative_error,random,"
    "first_layers,all_heads"
)


def strategies(workspace: Workspace, count: int, names: list[str]) -> dict[str, list[Selection]]:
    """By name; one selection, or one a seed."""
    shape, lost = workspace.lost.shape, workspace.lost
    layers = max(1, count // shape[1])
    found: dict[str, list[Selection]] = {}
    for name in names:
        if name in LOWEST_FIRST:
            score = finish(score_heads(name, workspace.pair(), lost, workspace.training, workspace.held_out)).values
            found[name] = [top_heads(shape, -score if LOWEST_FIRST[name] else score, count)]
        elif name == "random":
            found[name] = [random_heads(shape, count, seed) for seed in range(9)]
        elif name == "first_layers":
            heads = [(layer, head) for layer in range(layers) for head in range(shape[1])]
            found[name] = [of_heads(shape, heads)]
        elif name == "all_heads":
            found[name] = [everything(shape)]
        else:
            found[name] = [top_heads(shape, workspace.loss.table(name), count)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", default="demo wanda 0.6", help="MODEL METHOD AMOUNT")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--loss", default="kl")
    parser.add_argument("--only", default=NAMES, help="strategies, with commas")
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--out", type=Path, help="JSON that the Learn page shows: assets/demo/strategies.json")
    args = parser.parse_args()
    workspace = finish(open_workspace(recipe_of(args.pair, "auto")))
    pair, evaluation = workspace.pair(), workspace.findings.evaluation
    judge = Judge(pair, evaluation, Compensation.none(pair.geometry))
    lost = judge.missing
    print(f"{args.pair}: lost {lost.nats:.4f} ± {lost.stderr:.4f} nats over {evaluation.count} tokens", flush=True)
    rows: dict[str, dict[str, object]] = {}
    shape = workspace.lost.shape
    count = round(args.share * shape[0] * shape[1])
    for name, selections in strategies(workspace, count, args.only.split(",")).items():
        runs = []
        for seed in range(args.seeds):
            settings = Settings(loss=args.loss, steps=args.steps, seed=seed, evaluate_every=args.steps)
            selection = selections[seed % len(selections)]
            training = Training(pair, workspace.lost, selection, workspace.training, workspace.held_out, settings)
            for _ in training.steps():
                pass
            runs.append(judge.of(training.result().compensation))
        by_figure = {key: [run[key] for run in runs] for key in runs[0]}
        rows[name] = {
            "shares": [round(share, 4) for share in by_figure["share"]],
            "stderr": round(statistics.mean(by_figure["share_stderr"]), 4),
            "nearer": [round(share, 4) for share in by_figure["nearer"]],
            "nearer_stderr": round(statistics.mean(by_figure["nearer_stderr"]), 4),
        }
        told = "  ".join(f"{key} {_told(by_figure[key], by_figure[f'{key}_stderr'])}" for key in ("share", "nearer"))
        print(f"{name:16} {told}", flush=True)
    if args.out is not None:
        facts = {"pair": named(workspace), "heads": count, "of": shape[0] * shape[1], "loss": args.loss}
        facts |= {"steps": args.steps, "seeds": args.seeds, "tokens": evaluation.count, "lost": round(lost.nats, 4)}
        args.out.write_text(json.dumps(facts | {"recovered": rows}, indent=1) + "\n")


def named(workspace: Workspace) -> str:
    """Of the pair, for the Learn page."""
    dense, pruned = workspace.findings.dense_name, workspace.findings.pruned_name
    return f"{'The embedded pair' if dense == DEMO else dense}, {pruned.capitalize()}"


def _told(values: list[float], errors: list[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else float("nan")
    each = ", ".join(f"{value:.3f}" for value in values)
    return f"{statistics.mean(values):.3f} ± {errors[0]:.3f}, spread {spread:.3f} ({each})"


if __name__ == "__main__":
    main()
