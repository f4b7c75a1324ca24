"""How much of what constants leave the surviving weights win back, at equal tokens.

    python tests/benchmarks/weights.py [--pairs "demo wanda 0.6,FOLDER wanda 0.5"] [--trained "constants,output,all"]
        [--seeds 3] [--evaluation FILE] [--elsewhere everyday] [--calibration SRC] [--windows 32] [--out FILE]

A pair is `MODEL METHOD AMOUNT`: a hub id, a folder or `demo`, pruned here; its architecture may be any. All heads are
trained with the settings that everybody gets. Two figures on a text that nothing was trained or chosen on, and on
another of another kind: the recovered share of the lost log-likelihood and by how much the distance to the dense model
shrank (nearer), each with the standard error of one run over windows, and the spread over seeds. `left`: the share of
the distance that constants leave which is gone.
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import mean, stdev
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from defaults import recipe_of

from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.interface import Compensation, compensated
from restorelcc.evaluation.comparison import Share, compare, side_by_side
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.restoration.settings import DEFAULTS, Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.calibration import evaluation_tokens
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace, open_workspace

Row = dict[str, Any]

PAIRS = "demo wanda 0.5,demo wanda 0.6,demo wanda 0.7,demo wanda 2:4,demo sparsegpt 0.6"
TRAINED: dict[str, dict[str, Any]] = {
    "constants": {},
    "output": {"kind": "weights"},
    "output+constants": {"kind": "weights", "constants": True},
    "attention": {"kind": "weights", "where": "attention"},
    "all": {"kind": "weights", "where": "all"},
    "all blocks": {"kind": "weights", "where": "all", "way": "blocks"},
    "all both": {"kind": "weights", "where": "all", "way": "both"},
    "output solved": {"kind": "weights", "way": "solved"},
    "all solved": {"kind": "weights", "where": "all", "way": "solved"},
}


def judged(pair: ModelPair, tokens: Tokens, put_back: dict[str, Compensation]) -> dict[str, tuple[Share, Share]]:
    """(recovered, nearer) of each on one text."""
    within = [nullcontext, *(partial(compensated, pair.pruned, each) for each in put_back.values())]
    dense, pruned, *others = finish(side_by_side(pair.dense, tokens, [(pair.pruned, enter) for enter in within]))
    found = (compare(dense, pruned, other) for other in others)
    return {name: (each.recovered, each.nearer) for name, each in zip(put_back, found, strict=True)}


def summary(rows: list[Row], name: str) -> str:
    """Mean over seeds ± the standard error of one, and the standard error over seeds."""
    values = [row[name][0] for row in rows]
    over = f" ({stdev(values) / len(values) ** 0.5:.1%})" if len(values) > 1 else ""
    return f"{mean(values):6.1%} ± {mean(row[name][1] for row in rows):.1%}{over}"


def restored(pair: ModelPair, workspace: Workspace, name: str, seed: int, args: argparse.Namespace) -> Row:
    """One restoration of all heads and what it took; `put_back` is what came of it."""
    given = {"steps": args.steps, "batch": args.batch, "lr": args.lr, "seed": seed, **TRAINED[name]}
    settings = replace(DEFAULTS, **{key: value for key, value in given.items() if value is not None})
    picks = everything(workspace.lost.shape)
    training = Training(pair, workspace.lost, picks, workspace.training, workspace.held_out, settings)
    began = time.perf_counter()
    curve = [step.held_out_loss for step in training.steps() if step.held_out_loss is not None]
    return {
        "trained": name, "seed": seed, "lr": round(training.settings.lr, 4),
        "seconds": round(time.perf_counter() - began), "values": training.parameters.count,
        "tokens": training.history[-1].tokens,
        "held_out": [round(value, 5) for value in curve], "peak_mb": getrusage(RUSAGE_SELF).ru_maxrss // 1024,
        "put_back": training.result().compensation,
    }  # fmt: skip


def measured(name: str, args: argparse.Namespace) -> dict[str, list[Row]]:
    """Of one pair all that is asked for: rows of every seed, by what was trained."""
    recipe = replace(recipe_of(name, args.dtype), evaluation=args.evaluation, calibration=args.calibration)
    workspace = finish(open_workspace(replace(recipe, length=args.length)))
    pair, length = workspace.pair(), workspace.training.ids.shape[1]
    texts = {
        kind: evaluation_tokens(source, pair.dense, pair.tokenizer, length, most=args.windows)
        for kind, source in (("there", args.evaluation), ("elsewhere", args.elsewhere))
    }
    rows: dict[str, list[Row]] = {each: [] for each in args.trained.split(",")}
    for seed in range(args.seeds):
        for each, found in rows.items():
            found.append({"pair": name} | restored(pair, workspace, each, seed, args))
        put_back = {each: found[-1].pop("put_back") for each, found in rows.items()}
        for kind, tokens in texts.items():
            for each, shares in judged(pair, tokens, put_back).items():
                for what, share in zip(("share", "nearer"), shares, strict=True):
                    rows[each][-1][f"{what} {kind}"] = (round(share.value, 4), round(share.stderr, 4))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default=PAIRS, help="MODEL METHOD AMOUNT, with commas")
    parser.add_argument("--trained", default="constants,output,all", help=f"with commas, of {', '.join(TRAINED)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--batch", type=int, default=Settings.batch)
    parser.add_argument("--lr", type=float, help="peak rate; default: as anybody gets it, bounded")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--calibration", default=Recipe.calibration, help="source of the text to prune and train on")
    parser.add_argument("--length", type=int, help="tokens a window")
    parser.add_argument("--evaluation", default=Recipe.evaluation, help="source of the text to judge by")
    parser.add_argument("--elsewhere", default=Recipe.elsewhere, help="source of another text to judge by")
    parser.add_argument("--windows", type=int, help="windows of these at most; default: all")
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    for name in args.pairs.split(","):
        rows = measured(name, args)
        print(f"\n{name}, {args.steps} steps of {args.batch} windows, {args.seeds} seeds", flush=True)
        first = next(iter(rows.values()))
        base = mean(row["nearer there"][0] for row in first)
        for each, found in rows.items():
            left = (mean(row["nearer there"][0] for row in found) - base) / (1 - base)
            figures = "  ".join(f"{key} {summary(found, key)}" for key in found[0] if key.startswith(("share", "near")))
            rises = max(max(row["held_out"][1:]) / row["held_out"][0] for row in found)
            took = f"{found[0]['values']} values  {mean(row['seconds'] for row in found):.0f} s"
            print(f"  {each:17} {figures}  left {left:5.1%}  highest {rises:.2f} × the start  {took}", flush=True)
        if args.out is not None:
            with args.out.open("a") as lines:
                lines.writelines(json.dumps(row) + "\n" for found in rows.values() for row in found)


if __name__ == "__main__":
    main()
