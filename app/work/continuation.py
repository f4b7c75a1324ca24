"""One prompt continued by three models at once, token by token. No screen in here."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from restorelcc.compensation.interface import Compensation, compensated
from restorelcc.errors import SettingError
from restorelcc.hf.layout import context_length
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.text.generate import generate
from restorelcc.text.tokens import lead
from restorelcc.workspace import Workspace

from .jobs import Job
from .live import lane

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODELS = ("dense", "pruned", "restored")


@dataclass(frozen=True)
class Asked:
    """What is to be continued, and how."""

    prompt: str
    length: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Continued:
    """What the three models have written so far, in the order of MODELS."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    def agreed(self, index: int) -> int:
        """Tokens for which a model wrote what the dense one did, from the first one on."""
        own, dense = self.tokens[index], self.tokens[0]
        pairs = enumerate(zip(own, dense, strict=False))
        return next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(own), len(dense)))


def continued(
    workspace: Workspace, compensation: Compensation, asked: Asked, job: Job
) -> Generator[Progress, None, Continued]:
    """Write; the job's only note is what is written so far. Raises SettingError if it does not fit the context."""
    pair = yield from workspace.loading()
    tokenizer = pair.tokenizer
    prompt = lead(tokenizer) + list(tokenizer(asked.prompt, add_special_tokens=False, verbose=False).input_ids)
    room = context_length(pair.dense)
    if len(prompt) + asked.length > room:
        raise SettingError(
            f"The prompt has {len(prompt)} tokens, and {asked.length} more do not fit the models' context of {room}. "
            "Shorten one of them."
        )
    ids = torch.tensor([prompt])
    ended = tokenizer.eos_token_id
    writers: dict[str, Iterator[Tensor]] = {
        name: generate(_model(pair, name), ids, asked.length, asked.temperature, asked.seed, ended) for name in MODELS
    }
    drawn: dict[str, list[int]] = {name: [] for name in MODELS}

    def one_token_each() -> None:
        for name in list(writers):
            with compensated(pair.pruned, compensation) if name == "restored" else nullcontext():
                token = next(writers[name], None)
            if token is None:
                del writers[name]
            else:
                drawn[name].append(int(token))

    shown = str(tokenizer.decode(prompt, skip_special_tokens=True))

    def so_far() -> Continued:
        texts = []
        for tokens in drawn.values():  # Decoded with the prompt, as some tokenizers drop a leading space otherwise.
            text = str(tokenizer.decode(prompt + tokens, skip_special_tokens=True))
            texts.append(text[len(shown) :] if text.startswith(shown) else text)
        return Continued(tuple(texts), tuple(tuple(tokens) for tokens in drawn.values()))

    for number in range(asked.length):
        yield Progress(f"token {number + 1} of {asked.length}", number, asked.length)
        if job.stopping or not writers:
            break
        lane.run(workspace, one_token_each)
        job.notes[:] = [so_far()]
    return so_far()


def _model(pair: ModelPair, name: str) -> PreTrainedModel:
    return pair.dense if name == "dense" else pair.pruned
