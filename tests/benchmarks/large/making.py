"""Random pairs on disk, each made in a process of its own, and the most memory that a process holds."""

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]


def made(folder: Path, **shape: int | str) -> tuple[str, str]:
    """The folders of a dense model and of the same with half of its weights zeroed, at random."""
    if not (folder / "pruned" / "config.json").is_file():
        given = [f"--{name.replace('_', '-')}={value}" for name, value in shape.items()]
        subprocess.run([sys.executable, __file__, str(folder), *given], check=True)
    return str(folder / "dense"), str(folder / "pruned")


class Watch:
    """The most that this process holds while the `with` lasts, in bytes: in all, and of that without mapped files,
    which give way where memory is short."""

    def __init__(self) -> None:
        self.all = self.own = 0
        self._over = threading.Event()

    def __enter__(self) -> "Watch":
        Path("/proc/self/clear_refs").write_text("5")  # from here on VmHWM is counted anew: see proc(5)
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.all = status("VmHWM")

    def _look(self) -> None:
        while not self._over.is_set():
            self.own = max(self.own, status("RssAnon"))
            time.sleep(0.01)


def status(name: str) -> int:
    """Bytes, as /proc/self/status has them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def size_of(folder: str) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def main() -> None:
    from conftest import make_tokenizer
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from restorelcc.hf.slices import sliced

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, value in {
        "layers": 24,
        "width": 1024,
        "mlp": 2816,
        "heads": 16,
        "kv-heads": 4,
        "vocabulary": 32000,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, args.dtype))
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=args.vocabulary,
            hidden_size=args.width,
            intermediate_size=args.mlp,
            num_hidden_layers=args.layers,
            num_attention_heads=args.heads,
            num_key_value_heads=args.kv_heads,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        )
    )
    tokenizer = make_tokenizer()
    model.eval().requires_grad_(False)
    for name in ("dense", "pruned"):
        if name == "pruned":
            draw = torch.Generator().manual_seed(1)
            for entry in (entry for row in sliced(model, "layer") for entry in row):
                entry.weight[torch.rand(entry.weight.shape, generator=draw, dtype=torch.float32) < 0.5] = 0
        model.save_pretrained(args.folder / name)
        tokenizer.save_pretrained(args.folder / name)


if __name__ == "__main__":
    main()
