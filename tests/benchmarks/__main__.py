"""What our work costs, as one table of ratios within one run: `python -m tests.benchmarks`, from the repository's root.

    python -m tests.benchmarks [--pairs demo,wide,FOLDER] [--windows 16] [--length 256] [--turns 5] [--out FILE.json]

demo: the embedded pair; wide: a random model of 12 layers, 1 024 wide; a folder: that model. The last two are pruned
here by magnitudes. Each figure is of two pieces of work that are timed in turns, and medians are divided.
"""

import argparse
import json
import sys
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from ratios.rows import rows
from ratios.timing import in_turn
from transformers import LlamaConfig, LlamaForCausalLM

from restorelcc.cli.console import quiet_libraries
from restorelcc.demo.pair import demo_dense
from restorelcc.models.loading import load_model, load_tokenizer
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens


def pair_of(name: str) -> ModelPair:
    """By its name on the command line."""
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
    dense.requires_grad_(False)
    pruned = finish(prune(dense, random_tokens(dense, 2, 8), Pruning("magnitude", 0.5)))
    return paired(dense, pruned, tokenizer, name, "magnitude 50 %")


def random_tokens(model: torch.nn.Module, windows: int, length: int) -> Tokens:
    """What they say costs nothing more or less."""
    ids = torch.randint(0, model.config.vocab_size, (windows, length), generator=torch.Generator().manual_seed(0))
    real = torch.ones_like(ids, dtype=torch.bool)
    scored = real.clone()
    scored[:, 0] = False
    return Tokens(ids, real, scored, scored)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", default="demo,wide", help="with commas: demo, wide, or folders of models")
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--length", type=int, default=256, help="tokens a window")
    parser.add_argument("--batch", type=int, default=8, help="windows a forward pass")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON is written to it")
    args = parser.parse_args()
    quiet_libraries()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    table = []
    for name in args.pairs.split(","):
        pair = pair_of(name)
        tokens = random_tokens(pair.dense, args.windows, args.length)
        print(f"\n{name}, {args.windows} windows of {args.length} tokens, {args.batch} at once, {pair.dense.dtype}")
        for measured in in_turn(rows(pair, tokens, args.batch), args.turns):
            print(measured.line(), flush=True)
            table.append({"pair": name} | measured.figures())
    if args.out is not None:
        args.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
