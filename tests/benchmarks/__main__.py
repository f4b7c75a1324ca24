"""What our work costs, as one table of ratios within one run: `python -m tests.benchmarks`, from the repository's root.

    python -m tests.benchmarks [--pairs demo,wide,FOLDER] [--windows 16] [--length 256] [--turns 5] [--out FILE.json]
    python -m tests.benchmarks --growth [--out FILE.json]

demo: the embedded pair; wide: a random model of 12 layers, 1 024 wide; app: the app, in a browser; a folder: that
model. Models are pruned here by magnitudes, and are on the GPU where there is one. Each figure is of two pieces of work
that are timed in turns, and medians are divided. --growth: how time a token and memory grow instead.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from ratios.growth import grown
from ratios.rows import rows
from ratios.timing import Row, in_turn
from transformers import LlamaConfig, LlamaForCausalLM

from restorelcc.cli.console import quiet_libraries
from restorelcc.demo.pair import demo_dense
from restorelcc.models.loading import load_model, load_tokenizer
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens


def pair_of(name: str) -> ModelPair:
    """By its name on the command line; where the GPU is, if there is one."""
    if name == "demo":
        dense, tokenizer = demo_dense()
    elif name == "wide":
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=8192, hidden_size=1024, intermediate_size=2816, num_hidden_layers=12, num_attention_heads=16
        )
        dense, tokenizer = LlamaForCausalLM(config).eval(), demo_dense()[1]
    else:
        dense, tokenizer = load_model(name), load_tokenizer(name)
    dense.requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")
    pruned = finish(prune(dense, random_tokens(dense, 2, 8), Pruning("magnitude", 0.5)))
    return paired(dense, pruned, tokenizer, name, "magnitude 50 %")


def random_tokens(model: torch.nn.Module, windows: int, length: int) -> Tokens:
    """What they say costs nothing more or less."""
    ids = torch.randint(0, model.config.vocab_size, (windows, length), generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(ids, dtype=torch.bool)
    scored = real.clone()
    scored[:, 0] = False
    return Tokens(ids, real, scored, scored)


def rows_of(name: str, args: argparse.Namespace) -> Iterator[Row]:
    """Of a pair, or of the app."""
    if name == "app":
        from ratios.starting import app_rows  # needs a browser, which other rows do not

        print("\nthe app, in a browser")
        return app_rows()
    pair = pair_of(name)
    tokens = random_tokens(pair.dense, args.windows, args.length)
    size = f"{args.windows} windows of {args.length} tokens, {args.batch} at once"
    print(f"\n{name}, {size}, {pair.dense.dtype} on {pair.dense.device}")
    return rows(pair, tokens, args.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default="demo,wide,app", help="with commas: demo, wide, app, or folders of models")
    parser.add_argument("--only", default="", help="rows, or axes of growth, whose name contains this")
    parser.add_argument("--growth", action="store_true", help="how time and memory grow, instead of ratios")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256, help="tokens a window")
    parser.add_argument("--batch", type=int, default=8, help="windows a forward pass")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON is written to it")
    args = parser.parse_args()
    quiet_libraries()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    table = [point.figures() for point in grown(args.only)] if args.growth else []
    for name in [] if args.growth else args.pairs.split(","):
        for measured in in_turn(rows_of(name, args), args.turns, args.only):
            print(measured.line(), flush=True)
            table.append({"pair": name} | measured.figures())
    if args.out is not None:
        args.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
