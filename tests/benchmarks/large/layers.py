"""What training layer by layer takes in memory where both models are on disk: it grows with a layer and with the
changes, not with the models.

    python tests/benchmarks/large/layers.py [--layers 12,24] [--width 1024] [--dtype float32] [--device disk]

A random pair in a temporary folder; every surviving weight of every layer is trained. The most that the process holds,
Python, PyTorch and Transformers included, held against half a model and 1 GB.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from making import Watch, made, size_of

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
MEGABYTE = 10**6


def measured(folder: Path, args: argparse.Namespace) -> None:
    """One pair, in a process of its own."""
    from restorelcc.capture.components import LostComponents
    from restorelcc.models.loading import Loading
    from restorelcc.models.pair import load_pair
    from restorelcc.restoration.training import Settings, Training
    from restorelcc.selection.picks import everything
    from restorelcc.text.tokens import Tokens

    torch.set_num_threads(1)
    began = time.perf_counter()
    with Watch() as peak:
        pair = load_pair(str(folder / "dense"), str(folder / "pruned"), Loading(args.device))
        layers, heads, width = pair.geometry.n_layers, pair.geometry.n_heads, pair.geometry.d_head
        ones = torch.ones(layers, heads, width)  # weights are not trained by components: these are so in name alone
        lost = LostComponents(directions=torch.eye(width).expand(layers, heads, width, width), magnitude=0 * ones,
                              energy=ones / width, variance=ones,
                              present=torch.ones(layers, heads, dtype=torch.bool))  # fmt: skip
        ids = torch.randint(3, args.vocabulary, (args.windows, args.length), generator=torch.Generator().manual_seed(1))
        real = torch.ones_like(ids, dtype=torch.bool)
        tokens = Tokens(ids, real, real, real)
        settings = Settings(kind="weights", where="all", way="blocks", steps=args.steps, batch=2, evaluate_every=1)
        training = Training(pair, lost, everything(lost.shape), tokens, tokens[:2], settings)
        for _ in training.steps():
            pass
    model, changes = size_of(str(folder / "pruned")), 4 * training.parameters.count
    told = {"model": model, "peak": peak.all, "without mapped files": peak.own, "changes": changes}
    told |= {"peak less changes": peak.all - changes}
    numbers = ", ".join(f"{name} {value / MEGABYTE:.0f} MB" for name, value in told.items())
    share, seconds = (peak.all - 10**9) / model, time.perf_counter() - began
    print(
        f"{layers} layers of {args.width}, {args.device}: {numbers}; (peak − 1 GB) / model {share:.2f}, {seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="12,24", help="with commas")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="disk")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="of a pair that is there, to measure in this process")
    args = parser.parse_args()
    if args.folder:
        measured(args.folder, args)
        return
    for layers in map(int, args.layers.split(",")):
        with tempfile.TemporaryDirectory() as place:
            made(Path(place), layers=layers, width=args.width, vocabulary=args.vocabulary, dtype=args.dtype)
            given = [f"--{name}={value}" for name, value in vars(args).items() if name not in ("layers", "folder")]
            subprocess.run([sys.executable, __file__, f"--folder={place}", *given], check=True)


if __name__ == "__main__":
    main()
