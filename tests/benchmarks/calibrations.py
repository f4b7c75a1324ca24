"""Which text to train on: one author's, what the dense model writes, or both.

    python tests/benchmarks/calibrations.py --evaluation FILE [--trained "constants,output"] [--steps 60] [--batch 4]

One pair, pruned by the same text whatever is trained on, and as many windows of each text; the tenth of them that is
held out chooses the best step. Recovered and nearer on a text of another author and on one of another kind, each with
its standard error over windows. One seed.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import torch
from defaults import recipe_of
from weights import TRAINED, judged

from restorelcc.artifacts.findings import Recipe
from restorelcc.progress import finish
from restorelcc.restoration.settings import DEFAULTS
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.calibration import evaluation_tokens, sampled_windows, split_held_out
from restorelcc.text.tokens import whole
from restorelcc.workspace import open_workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", default="demo wanda 0.6", help="MODEL METHOD AMOUNT")
    parser.add_argument("--trained", default="constants,output", help=f"with commas, of {', '.join(TRAINED)}")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--evaluation", required=True, help="source of the text to judge by")
    parser.add_argument("--elsewhere", default=Recipe.elsewhere, help="source of another text to judge by")
    parser.add_argument("--windows", type=int, default=64, help="windows of these at most")
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    workspace = finish(open_workspace(recipe_of(args.pair, "auto")))
    pair, lost, given = workspace.pair(), workspace.lost, workspace.findings.calibration
    length, picks = given.ids.shape[1], everything(lost.shape)
    own = finish(sampled_windows(pair.dense, pair.tokenizer, length, len(given)))
    half = len(given) // 2
    # In turns, so that both are held out alike.
    both = whole(torch.stack([given.ids[:half], own.ids[:half]], 1).flatten(0, 1))
    put_back = {}
    for kind in args.trained.split(","):
        for name, tokens in (("given", given), ("its own", own), ("both", both)):
            settings = replace(DEFAULTS, steps=args.steps, batch=args.batch, **TRAINED[kind])
            training = Training(pair, lost, picks, *split_held_out(tokens), settings)
            for _ in training.steps():
                pass
            put_back[f"{kind}, {name}"] = training.result().compensation
    rows = {name: {"what": name} for name in put_back}
    for text, source in (("there", args.evaluation), ("elsewhere", args.elsewhere)):
        tokens = evaluation_tokens(source, pair.dense, pair.tokenizer, length, most=args.windows)
        for name, shares in judged(pair, tokens, put_back).items():
            for what, share in zip(("recovered", "nearer"), shares, strict=True):
                rows[name][f"{what} {text}"] = (round(share.value, 4), round(share.stderr, 4))
    for row in rows.values():
        print(row, flush=True)
    if args.out is not None:
        with args.out.open("a") as lines:
            lines.writelines(json.dumps(row) + "\n" for row in rows.values())


if __name__ == "__main__":
    main()
