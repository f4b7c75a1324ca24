"""What each of several processes holds in memory and how long it takes, with a copy of both models each and with the
models shared out among them.

    python tests/benchmarks/large/shares.py [--processes 2] [--layers 12] [--what constants]

A random pair in a temporary folder, restored through the network; of each process the most that it holds, Python,
PyTorch and Transformers included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from making import Watch, made, size_of
from torch.nn.functional import one_hot

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
MEGABYTE = 10**6


def measured(folder: Path, device: str, args: argparse.Namespace) -> None:
    """By all processes of a launch; the first says it."""
    from restorelcc.capture.components import components
    from restorelcc.capture.statistics import capture
    from restorelcc.models.loading import Loading
    from restorelcc.models.pair import load_pair
    from restorelcc.processes import from_all, process, wait_for_all
    from restorelcc.progress import finish
    from restorelcc.restoration.training import Settings, Training
    from restorelcc.selection.picks import everything
    from restorelcc.text.tokens import Tokens

    torch.set_num_threads(1)
    with Watch() as peak:
        pair = load_pair(str(folder / "dense"), str(folder / "pruned"), Loading(device))
        ids = torch.randint(3, args.vocabulary, (args.windows, args.length), generator=torch.Generator().manual_seed(1))
        real = torch.ones_like(ids, dtype=torch.bool)
        tokens = Tokens(ids, real, one_hot(torch.tensor(0), args.length).expand_as(ids) == 0, real)
        began = time.perf_counter()
        lost = components(finish(capture(pair, tokens)))
        captured = time.perf_counter() - began
        settings = Settings(kind=args.what, steps=args.steps, batch=4, evaluate_every=args.steps)
        training = Training(pair, lost, everything(lost.shape), tokens, tokens[:4], settings)
        curve = [f"{step.held_out_loss:.6f}" for step in training.steps() if step.held_out_loss is not None]
        trained = time.perf_counter() - began - captured
    peaks = from_all([f"{peak.all / MEGABYTE:.0f} ({peak.own / MEGABYTE:.0f} without mapped files)"])
    if process() == 0:
        size = size_of(str(folder / "pruned")) / MEGABYTE
        print(f"{args.what}, models of {size:.0f} MB each, {device}: MB a process {', '.join(peaks)}; capture")
        print(f"  {captured:.1f} s, {args.steps} steps {trained:.1f} s, held-out loss {' to '.join(curve)}", flush=True)
    wait_for_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--what", default="constants")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--devices", default="cpu,shard,disk", help="with commas")
    parser.add_argument("--folder", type=Path, help="of a pair that is there, to measure in this process")
    args = parser.parse_args()
    if args.folder:
        measured(args.folder, args.devices, args)
        return
    with tempfile.TemporaryDirectory() as place:
        made(Path(place), layers=args.layers, width=args.width, vocabulary=args.vocabulary, dtype=args.dtype)
        given = [f"--{name}={value}" for name, value in vars(args).items() if name not in ("folder", "devices")]
        for index, device in enumerate(args.devices.split(",")):
            command = [sys.executable, __file__, f"--folder={place}", f"--devices={device}", *given]
            shared = {"WORLD_SIZE": str(args.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29700 + index)}
            ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(args.processes)]
            started = [subprocess.Popen(command, env=os.environ | shared | rank) for rank in ranks]
            for each in started:
                each.wait()


if __name__ == "__main__":
    main()
