"""What training layer by layer takes in memory beside the models: it grows with a layer, not with the network.

    python tests/benchmarks/memory.py [--layers 12,24] [--width 1024] [--way blocks] [--windows 8] [--length 64]

A random model with half of its weights zeroed; every surviving weight is trained, two steps. Peak resident memory of
the process, less what it had before the training, in MB and as a share of the model.
"""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from transformers import LlamaConfig, LlamaForCausalLM

from restorelcc.capture.components import LostComponents
from restorelcc.hf.slices import sliced
from restorelcc.models.pair import paired
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.tokens import Tokens

D_HEAD, VOCABULARY = 64, 1000


def resident() -> int:
    """Bytes of this process in memory now, of files that are mapped nothing."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def model_of(layers: int, width: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // D_HEAD,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def nothing_lost(layers: int, heads: int) -> LostComponents:
    """Components in name alone: weights are not trained by them."""
    directions = torch.eye(D_HEAD).expand(layers, heads, D_HEAD, D_HEAD)
    ones = torch.ones(layers, heads, D_HEAD)
    return LostComponents(directions=directions, magnitude=0 * ones, energy=ones / D_HEAD, variance=ones,
                          present=torch.ones(layers, heads, dtype=torch.bool))  # fmt: skip


def measured(layers: int, args: argparse.Namespace) -> None:
    """One model, in a process of its own."""
    torch.set_num_threads(1)
    dense, pruned = model_of(layers, args.width), model_of(layers, args.width)
    draw = torch.Generator().manual_seed(1)
    for row in sliced(pruned, "layer"):
        for entry in row:
            entry.weight[torch.rand(entry.weight.shape, generator=draw) < 0.5] = 0
    ids = torch.randint(VOCABULARY, (args.windows, args.length), generator=draw)
    real = torch.ones_like(ids, dtype=torch.bool)
    tokens = Tokens(ids, real, real, real)
    pair = paired(dense, pruned, None, "dense", "pruned")
    before, peak, over = resident(), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            peak[0] = max(peak[0], resident())
            time.sleep(0.01)

    threading.Thread(target=watch).start()
    settings = Settings(kind="weights", where="all", way=args.way, steps=2, batch=2, evaluate_every=1)
    lost = nothing_lost(layers, args.width // D_HEAD)
    training = Training(pair, lost, everything(lost.shape), tokens, tokens[:2], settings)
    began = time.perf_counter()
    for _ in training.steps():
        pass
    over.set()
    size = sum(weight.nbytes for weight in pruned.parameters())
    more = peak[0] - before
    megabytes = {"model": size, "training": more, "stated": training.memory, "values": 4 * training.parameters.count}
    told = ", ".join(f"{name} {value / 2**20:.0f} MB" for name, value in megabytes.items())
    seconds = time.perf_counter() - began
    print(f"{layers} layers of {args.width}: {told}; {more / size:.2f} × the model, {seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", default="12,24", help="with commas")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--way", default="blocks")
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    args = parser.parse_args()
    sizes = args.layers.split(",")
    if len(sizes) == 1:
        measured(int(sizes[0]), args)
    for layers in sizes if len(sizes) > 1 else ():
        given = [f"--{name}={value}" for name, value in vars(args).items() if name != "layers"]
        subprocess.run([sys.executable, __file__, f"--layers={layers}", *given], check=True)


if __name__ == "__main__":
    main()
