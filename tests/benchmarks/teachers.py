"""Who teaches: the mean put back untrained, cross-entropy and distillation, on given text and on the model's own.

    python tests/benchmarks/teachers.py [--steps 200] [--out assets/demo/teachers.json]

Constants in all heads of the embedded pair; recovered share of the lost log-likelihood on the evaluation text, which
nothing was trained on, and the share of the distance to the dense model (mean KL) that is gone, with standard errors by
windows. One seed.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from defaults import Judge, figures

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.components import components
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import Compensation
from restorelcc.progress import finish
from restorelcc.restoration.injection import capture_in_order
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.calibration import sampled_windows, split_held_out
from restorelcc.workspace import open_workspace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--out", type=Path, help="JSON that the Learn page shows: assets/demo/teachers.json")
    args = parser.parse_args()
    recipe = Recipe()
    workspace = finish(open_workspace(recipe))
    pair, lost, found = workspace.pair(), workspace.lost, workspace.findings
    picks = everything(lost.shape)
    by_evaluation = Judge(pair, found.evaluation)
    rows = {}

    def judge(name: str, constants: Compensation) -> None:
        row = by_evaluation.of(constants)
        rows[name] = figures([row])
        print(f"{name:20} {row['share']:6.3f} ± {row['share_stderr']:.3f}  nearer {row['nearer']:6.3f} ± "
              f"{row['nearer_stderr']:.3f}", flush=True)  # fmt: skip

    judge("injected", injected(lost, picks.mask()))
    in_order = components(finish(capture_in_order(pair, found.calibration[: recipe.captured])))
    judge("injected_in_order", injected(in_order, picks.mask()))
    length, count = found.calibration.ids.shape[1], len(found.calibration)
    own = split_held_out(finish(sampled_windows(pair.dense, pair.tokenizer, length, count)))
    for name, (text, held_out) in (("given", (workspace.training, workspace.held_out)), ("own", own)):
        for loss in ("kl", "ce"):
            training = Training(pair, lost, picks, text, held_out, Settings(loss=loss, steps=args.steps))
            for _ in training.steps():
                pass
            judge(f"{loss}_{name}", training.result().compensation)
    if args.out is not None:
        facts = {"pair": "The embedded pair, Wanda 60 %", "steps": args.steps, "windows": count, "length": length}
        facts |= {"tokens": found.evaluation.count, "lost": round(by_evaluation.missing.nats, 4), "recovered": rows}
        args.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
