"""A pair larger than memory looks, inspected and restored: how much of it is ever held.

    python tests/benchmarks/large/pair.py [--folder KEPT] [--windows 4,40] [--ways constants,output] [--layers 28] …

A random model of 1.5 billion weights in bfloat16, half of them zeroed in its partner (`--layers`, `--width`, `--mlp`
and the like make another), weights on disk. Read, captured on as many windows as each number says, scored by gradients,
restored by constants through the network and by weights layer by layer, and measured: seconds and the most that the
process holds, Python, PyTorch and Transformers included, as a share of one model. The numbers mean nothing else.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from making import Watch, made, size_of

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
SHAPE = {
    "layers": 28,
    "width": 1536,
    "mlp": 8960,
    "heads": 12,
    "kv_heads": 2,
    "vocabulary": 151936,
    "dtype": "bfloat16",
}
WAYS = {
    "constants": {"kind": "constants"},
    "output": {"kind": "weights", "where": "output", "way": "blocks"},
    "attention": {"kind": "weights", "where": "attention", "way": "blocks"},
    "all": {"kind": "weights", "where": "all", "way": "blocks"},
}


def tokens_of(windows: int, length: int, seed: int) -> Any:
    """Of the words that its tokenizer knows, at random."""
    from restorelcc.text.tokens import Tokens

    ids = torch.randint(3, 40, (windows, length), generator=torch.Generator().manual_seed(seed))
    real = torch.ones_like(ids, dtype=torch.bool)
    scored = real.clone()
    scored[:, 0] = False
    return Tokens(ids, real, scored, scored)


def timed(what: str, size: int, work: Callable[[], Any]) -> Any:
    """What the work gives; says what it took."""
    began = time.perf_counter()
    with Watch() as peak:
        result = work()
    seconds, held = time.perf_counter() - began, f"{peak.all / 1e9:.2f} GB, {peak.all / size:.2f} × one model"
    print(f"{what}: {seconds:.0f} s, peak {held}; without mapped files {peak.own / 1e9:.2f} GB", flush=True)
    return result


def measured(folders: tuple[str, str], args: argparse.Namespace) -> None:
    from restorelcc.capture.components import components
    from restorelcc.capture.statistics import capture
    from restorelcc.compensation.interface import compensated
    from restorelcc.evaluation.comparison import side_by_side
    from restorelcc.models.loading import Loading
    from restorelcc.models.pair import load_pair
    from restorelcc.progress import finish
    from restorelcc.restoration.training import Settings, Training
    from restorelcc.selection.picks import everything
    from restorelcc.selection.predicted_effect import slopes

    torch.set_num_threads(1)
    size = size_of(folders[1])
    print(f"One model takes {size / 1e9:.2f} GB")
    pair = timed("opened and checked", size, lambda: load_pair(*folders, Loading("disk")))
    for windows in map(int, args.windows.split(",")):
        text = tokens_of(windows, args.length, 0)
        statistics = timed(
            f"captured, {windows} × {args.length} tokens", size, lambda text=text: finish(capture(pair, text))
        )
    lost = components(statistics)
    text, held_out = tokens_of(args.batch * args.steps, args.length, 1), tokens_of(2, args.length, 2)
    if not args.brief:
        timed("slopes of the distance", size, lambda: finish(slopes(pair, held_out, "kl")))
    put_back = None
    for way in args.ways.split(","):
        settings = Settings(**WAYS[way], steps=args.steps, batch=args.batch, evaluate_every=args.steps)

        def restored(settings: Settings = settings) -> Any:
            training = Training(pair, lost, everything(lost.shape), text, held_out, settings)
            for _ in training.steps():
                pass
            return training.result().compensation

        put_back = timed(f"restored, {way}, {args.steps} steps of {args.batch} × {args.length}", size, restored)
    if put_back is not None and not args.brief:
        states = [(pair.pruned, nullcontext), (pair.pruned, partial(compensated, pair.pruned, put_back))]
        timed("dense, pruned and restored measured", size, lambda: finish(side_by_side(pair.dense, held_out, states)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where the pair is kept, or made if it is not there")
    parser.add_argument("--windows", default="4,40", help="captured on, with commas")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--ways", default="constants,output,all", help=f"of {', '.join(WAYS)}, with commas")
    parser.add_argument("--brief", action="store_true", help="no slopes and no measurement at the end")
    for name, value in SHAPE.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = args.folder or Path(place)
        measured(made(folder, **{name: getattr(args, name) for name in SHAPE}), args)


if __name__ == "__main__":
    main()
