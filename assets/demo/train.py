"""Train the embedded demo model: a 7 M-parameter Llama on TinyStories, from nothing to `dense/`.

    python assets/demo/train.py                         # TinyStories from the Hugging Face hub
    python assets/demo/train.py --text stories.txt      # any file of stories split by <|endoftext|>
    python assets/demo/train.py --teacher FIRST --steps 1700 --decay 0.8    # again, taught by the first as well

Stories are held out whole, so that the held-out perplexity is of text the model never saw. The data is small (1.3 M
tokens in the file this model was trained on), so the recipe is made against memorising: strong weight decay, dropout
on everything written to the residual stream, and stories in a new order every epoch. A second model may have the first
as a teacher: a third of each step is then stories that the first wrote, with its whole distribution over every next
token to learn instead of the one that was drawn. That is more text than there is, of the same kind, and it does not
repeat.
"""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END = "<|endoftext|>"
WINDOW = 256  # tokens
BATCH = 24  # windows a step
TAUGHT = 8  # of them, where there is a teacher
WRITTEN = 3072  # stories that a teacher writes


def read_stories(source: str | None, limit: int) -> list[str]:
    """Distinct stories in a stated order, from a local file or from the hub."""
    if source is None:
        from datasets import load_dataset

        rows = load_dataset("roneneldan/TinyStories", split=f"train[:{limit}]")  # rows of text, no code  # nosec B615
        texts = [row["text"] for row in rows]
    else:
        texts = Path(source).read_text(encoding="utf-8").split(END)
    # dict keeps the order and drops copies, so that no held-out story was trained on.
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))


def split(stories: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Whole stories into (training, held out)."""
    order = stories.copy()
    random.Random(seed).shuffle(order)  # to be the same again, not to be secret  # nosec B311
    held = max(1, round(len(order) * share))
    return order[held:], order[:held]


def train_tokenizer(stories: list[str], size: int) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(stories, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, stories: list[str]) -> list[Tensor]:
    """Every story led by the end-of-text token."""
    # Straight to the backend: it batches over threads and does not warn about long texts.
    rows = tokenizer.backend_tokenizer.encode_batch(stories)
    return [torch.tensor([tokenizer.bos_token_id, *row.ids]) for row in rows]


def windows(stories: list[Tensor], generator: torch.Generator | None = None) -> Tensor:
    """[window, pos]: stories one after the other, in a new order if there is a generator, cut into windows."""
    order = range(len(stories)) if generator is None else torch.randperm(len(stories), generator=generator).tolist()
    stream = torch.cat([stories[index] for index in order])
    cut = stream[: len(stream) // WINDOW * WINDOW].view(-1, WINDOW)
    return cut if generator is None else cut[torch.randperm(len(cut), generator=generator)]


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return LlamaForCausalLM(config)


def nats(model: torch.nn.Module, ids: Tensor) -> Tensor:
    """Mean next-token loss of windows [batch, pos], in nats."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        logits = model(ids).logits
    return F.cross_entropy(logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten())


def taught_nats(model: torch.nn.Module, ids: Tensor, theirs: Tensor, soft: Tensor) -> Tensor:
    """`nats` of ids, and cross-entropy with the teacher's distribution `soft` [batch, pos - 1, vocabulary] on windows
    `theirs`, averaged over all windows."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        logits = model(torch.cat([ids, theirs])).logits
    count = len(ids)
    real = F.cross_entropy(logits[:count, :-1].float().flatten(0, 1), ids[:, 1:].flatten())
    taught = -(soft * logits[count:, :-1].float().log_softmax(-1)).sum(-1).mean()
    return (count * real + len(theirs) * taught) / (count + len(theirs))


class Teacher:
    """An earlier model, in bf16, and stories that it wrote."""

    def __init__(self, folder: Path, device: str, seed: int) -> None:
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)  # a folder  # nosec B615
        self.model = model.to(device).eval()
        self.device, self.stories = device, self._write(seed)
        self.queue = torch.empty(0, WINDOW, dtype=torch.long)

    @torch.no_grad()
    def _write(self, seed: int) -> list[Tensor]:
        """At temperature 1, from its whole distribution, each up to its end or to the end of the window."""
        torch.manual_seed(seed)
        end = self.model.config.eos_token_id
        written: list[Tensor] = []
        while len(written) < WRITTEN:
            start = torch.full((512, 1), self.model.config.bos_token_id, device=self.device)
            for row in self.model.generate(start, do_sample=True, top_k=0, max_length=WINDOW, pad_token_id=end).cpu():
                ends = (row[1:] == end).nonzero()
                written.append(row[: int(ends[0]) + 1] if len(ends) else row)
            print(f"the teacher wrote {len(written)} stories", flush=True)
        return written

    @torch.no_grad()
    def next(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(windows, the distribution over every next token)."""
        if len(self.queue) < TAUGHT:
            self.queue = torch.cat([self.queue, windows(self.stories, generator)])
        ids, self.queue = self.queue[:TAUGHT].to(self.device), self.queue[TAUGHT:]
        return ids, self.model(ids).logits[:, :-1].float().softmax(-1).to(torch.bfloat16)


@torch.no_grad()
def perplexity(model: torch.nn.Module, cut: Tensor) -> float:
    """Over windows [window, pos]; the first token of a window is not predicted."""
    model.eval()
    losses = [nats(model, batch) * len(batch) for batch in cut.split(BATCH)]
    model.train()
    return math.exp(float(sum(losses)) / len(cut))


def rate(step: int, steps: int) -> float:
    """Share of the peak rate: warm-up over 50 steps, constant, then linear to zero over the second half."""
    return min(1.0, (step + 1) / 50, (steps - step) / (0.5 * steps))


def add_dropout(model: LlamaForCausalLM, share: float) -> None:
    """On the embeddings and on what attention and MLP write to the residual stream, while training."""
    writers = [model.model.embed_tokens]
    for layer in model.model.layers:
        writers += [layer.self_attn.o_proj, layer.mlp.down_proj]
    for writer in writers:
        writer.register_forward_hook(lambda module, _, output: F.dropout(output, share, module.training))


def optimizers(model: LlamaForCausalLM, args: argparse.Namespace) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the decoder layers, AdamW for the embedding and the norms."""
    hidden = [p for p in model.model.layers.parameters() if p.ndim == 2]
    norms = [p for p in model.parameters() if p.ndim < 2]
    decayed = {"params": [model.model.embed_tokens.weight], "weight_decay": args.decay}
    muon = torch.optim.Muon(hidden, lr=args.muon_lr, weight_decay=args.decay, adjust_lr_fn="match_rms_adamw")
    groups = [decayed, {"params": norms, "weight_decay": 0.0}]
    return [muon, torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95))]


def train(
    model: LlamaForCausalLM, stories: list[Tensor], held: Tensor, teacher: Teacher | None, args: argparse.Namespace
) -> list[dict[str, float]]:
    both = optimizers(model, args)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in both]
    seen = windows(stories)[:96].to(args.device)
    loss_of = nats if teacher is None else taught_nats
    step_loss = torch.compile(loss_of) if args.compile else loss_of
    own = BATCH if teacher is None else BATCH - TAUGHT
    generator = torch.Generator().manual_seed(args.seed)
    history: list[dict[str, float]] = []
    began, queue = time.time(), torch.empty(0, WINDOW, dtype=torch.long)
    model.train()
    for step in range(args.steps):
        if len(queue) < own:
            queue = torch.cat([queue, windows(stories, generator)])
        ids, queue = queue[:own].to(args.device), queue[own:]
        loss = step_loss(model, ids, *(() if teacher is None else teacher.next(generator)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, rates in zip(both, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * rate(step, args.steps)
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            row = {
                "step": step + 1,
                "loss": round(loss.item(), 4),
                "train_perplexity": round(perplexity(model, seen), 3),
                "held_out_perplexity": round(perplexity(model, held[:96].to(args.device)), 3),
                "seconds": round(time.time() - began),
            }
            history.append(row)
            print(json.dumps(row), flush=True)
    return history


@torch.no_grad()
def samples(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int) -> list[str]:
    torch.manual_seed(seed)
    model.eval()
    prompt = torch.tensor([[tokenizer.bos_token_id]] * 4, device=model.device)
    out = model.generate(prompt, do_sample=True, temperature=0.8, max_length=WINDOW, pad_token_id=0)
    return tokenizer.batch_decode(out, skip_special_tokens=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", help="file of stories; without it, roneneldan/TinyStories from the hub")
    parser.add_argument("--stories", type=int, default=200_000, help="how many stories to take from the hub")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "dense")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--lr", type=float, default=3e-3, help="peak rate of AdamW: embedding and norms")
    parser.add_argument("--muon-lr", type=float, default=5e-3, help="peak rate of Muon: all other matrices")
    parser.add_argument("--decay", type=float, default=0.3, help="weight decay, of the learning rate")
    parser.add_argument("--teacher", type=Path, help="folder of an earlier model, made with the same stories and seed")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--held-out", type=float, default=0.05, help="share of the stories")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile: 1.6 times faster on a CPU")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    training, held_out = split(read_stories(args.text, args.stories), args.held_out, args.seed)
    tokenizer = train_tokenizer(training, 4096)
    stories, held = encode(tokenizer, training), windows(encode(tokenizer, held_out))
    tokens = sum(len(story) for story in stories)
    print(f"{len(training)} stories ({tokens} tokens) to train on, {len(held_out)} ({held.numel()}) held out")
    tokenizer.save_pretrained(args.out)

    teacher = Teacher(args.teacher, args.device, args.seed) if args.teacher else None
    torch.manual_seed(args.seed)
    model = build_model(tokenizer).to(args.device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    add_dropout(model, args.dropout)
    history = train(model, stories, held, teacher, args)

    model = model.to(torch.bfloat16)
    figures = {
        "tokens": tokens,
        "held_out_tokens": held.numel(),
        "steps": args.steps,
        "train_perplexity": perplexity(model, windows(stories)[: len(held)].to(args.device)),
        "held_out_perplexity": perplexity(model, held.to(args.device)),
    }
    model.save_pretrained(args.out)
    text = json.dumps({"figures": figures, "history": history}, indent=1)
    (Path(__file__).parent / "training.json").write_text(text + "\n")
    print(json.dumps(figures))
    for text in samples(model.float(), tokenizer, args.seed):
        print("---", text, sep="\n")


if __name__ == "__main__":
    main()
