"""One prompt continued by three models at once, token by token. No screen in here."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from restorelcc.compensation.interface import Compensation, compensated
from restorelcc.errors import SettingError
from restorelcc.hf.layout import context_length, vocabulary_size
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.text.calibration import check_embedded
from restorelcc.text.generate import generate
from restorelcc.text.spelling import known_tokens
from restorelcc.text.tokens import lead, led, token_ids
from restorelcc.workspace import Workspace

from .jobs import Job
from .live import lane

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
    writers = _Writers((yield from workspace.loading()), compensation, asked)
    for number in range(asked.length):
        yield Progress(f"token {number + 1} of {asked.length}", number, asked.length)
        if job.stopping or writers.ended:
            break
        lane.run(workspace, writers.write)
        job.notes[:] = [writers.so_far()]
    return writers.so_far()


class _Writers:
    """The three models, each in the middle of its text."""

    def __init__(self, pair: ModelPair, compensation: Compensation, asked: Asked) -> None:
        self._pruned, self._compensation, self._tokenizer = pair.pruned, compensation, pair.tokenizer
        self._prompt = led(lead(self._tokenizer), token_ids(self._tokenizer, asked.prompt))
        check_embedded(torch.tensor(self._prompt), pair.dense, self._tokenizer)
        room = context_length(pair.dense)
        if len(self._prompt) + asked.length > room:
            raise SettingError(
                f"The prompt has {len(self._prompt)} tokens, and {asked.length} more do not fit the models' context of "
                f"{room}. Shorten one of them."
            )
        end, start = self._tokenizer.eos_token_id, torch.tensor([self._prompt])
        known = known_tokens(self._tokenizer, vocabulary_size(pair.dense))
        self._writing: dict[str, Iterator[Tensor]] = {
            name: generate(model, start, asked.length, asked.temperature, asked.seed, end, known)
            for name, model in zip(MODELS, (pair.dense, pair.pruned, pair.pruned), strict=True)
        }
        self._tokens: dict[str, list[int]] = {name: [] for name in MODELS}

    @property
    def ended(self) -> bool:
        """All have come to the end of what they had to say."""
        return not self._writing

    def write(self) -> None:
        """One token more of each."""
        for name in list(self._writing):
            with compensated(self._pruned, self._compensation) if name == "restored" else nullcontext():
                token = next(self._writing[name], None)
            if token is None:
                del self._writing[name]
            else:
                self._tokens[name].append(int(token))

    def so_far(self) -> Continued:
        """The texts without the prompt. They are decoded with it, as some tokenizers drop a leading space otherwise."""
        prompt, texts = self._decoded(self._prompt), []
        for tokens in self._tokens.values():
            texts.append(self._decoded(self._prompt + tokens).removeprefix(prompt))
        return Continued(tuple(texts), tuple(tuple(tokens) for tokens in self._tokens.values()))

    def _decoded(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
