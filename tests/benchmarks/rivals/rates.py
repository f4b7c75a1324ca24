"""Each rival at its best: peak rates of what is trained beside ours, and the regulariser of what is solved for.

    python tests/benchmarks/rivals/rates.py [--methods lora,dora] [--pair "demo wanda 0.5"] [--steps 40] [--out FILE]

On another pair than comparisons are shown of, and judged by windows held out from the calibration text, so that no
text of a comparison has a say. What came out stands beside each constant (`restorelcc/restoration/baselines`).
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[3])]

import torch
from defaults import recipe_of

from restorelcc.progress import finish
from restorelcc.restoration.baselines.comparing import compared
from restorelcc.restoration.baselines.rival import Task
from restorelcc.selection.picks import everything
from restorelcc.workspace import open_workspace

HERE = "restorelcc.restoration.baselines"
LOW_RANK = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
GRID = {
    "lora": (f"{HERE}.adapters:LORA_RATE", LOW_RANK),
    "dora": (f"{HERE}.adapters:DORA_RATE", LOW_RANK),
    "masked-lora": (f"{HERE}.adapters:MASKED_RATE", LOW_RANK),
    "lofit": (f"{HERE}.lofit:RATE", (3e-3, 1e-2, 3e-2, 1e-1)),
    "perp": (f"{HERE}.norms:RATE", (3e-3, 1e-2, 3e-2, 1e-1)),
    "ridge": ("restorelcc.restoration.ways.least_squares:RIDGE", (1e-3, 1e-2, 1e-1)),
    "eora": (f"{HERE}.eora:RANK", (8,)),
    "mean-bias": ("", (0.0,)),
    "restorelcc": ("", (0.0,)),
    "weights": ("", (0.0,)),
    "paper": ("", (0.0,)),
}
"""By method: where its constant is, and what is tried. The last three have rates of their own, and are here to be
timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="lora,dora,masked-lora,lofit,perp,ridge")
    parser.add_argument("--pair", default="demo wanda 0.5", help="MODEL METHOD AMOUNT")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rates", help="instead of the grid, with commas")
    parser.add_argument("--out", type=Path, help="JSON lines are added to it")
    args = parser.parse_args()
    workspace = finish(open_workspace(recipe_of(args.pair, "auto")))
    picks = everything(workspace.lost.shape)
    task = Task(workspace.pair(), workspace.lost, picks, workspace.training, workspace.held_out, args.steps, args.batch)
    for method in args.methods.split(","):
        place, values = GRID[method]
        module, _, name = place.partition(":")
        for value in map(float, args.rates.split(",")) if args.rates else values:
            if place:
                setattr(import_module(module), name, value)
            began = time.process_time()
            (row,) = (
                step
                for step in compared(replace(task), [method], 1, {"there": workspace.held_out})
                if hasattr(step, "figures")
            )
            found = {
                "pair": args.pair, "method": method, "value": value, "steps": args.steps, "batch": args.batch,
                **{name: row.figures().get(name) for name in ("nearer", "nearer_stderr", "recovered_share", "error")},
                "seconds": row.figures().get("seconds"), "cpu_seconds": round(time.process_time() - began, 1),
                "threads": torch.get_num_threads(),
            }  # fmt: skip
            print(json.dumps(found), flush=True)
            if args.out is not None:
                with args.out.open("a") as lines:
                    lines.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
