"""Questions asked through lm-eval: its prompts, its tokenization, its log-likelihoods, its scoring. It takes seconds to
import, so that is done when the first question is asked."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import SettingError, TextError
from ...foreign import foreign
from ...hf import hub
from ...hf.layout import context_length, device_of, vocabulary_size
from ...hf.overflow import check_finite
from ...progress import Progress
from .known import METRICS, TASKS, KnownTask
from .results import TaskResult
from .rows import Questions

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..comparison import Within

AT_ONCE = 16
"""Questions that are asked of one model before the next has its turn, and who waits is told how far it is."""
LOGITS = {"cpu": 2**27, "cuda": 2**30}
"""Numbers of float32 logits that are held at once, about: of 256 tokens a question's choice."""
MOST_AT_ONCE = 64


@dataclass(frozen=True)
class Asked:
    """One task, ready to be asked: lm-eval's, of which a task may have several (BLiMP has 67)."""

    name: str
    metric: str
    parts: tuple[Any, ...]

    def questions(self, limit: int | None) -> list[tuple[Any, dict[str, Any]]]:
        """(the part, the question), of each part the first `limit`."""
        return [
            (part, part.eval_docs[at])
            for part in self.parts
            for at in range(min(len(part.eval_docs), limit or len(part.eval_docs)))
        ]


def prepared(tasks: Sequence[str | Questions]) -> list[Asked]:
    """Tasks by name, which come from the hub, and of one's own. Raises TextError where the hub cannot be reached, or
    where it has no such data any more."""
    _quiet()
    return [_known(task) if isinstance(task, str) else _own(task) for task in tasks]


def answered(
    models: Mapping[str, tuple[PreTrainedModel, Within]],
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Asked],
    limit: int | None = None,
) -> Generator[Progress, None, list[TaskResult]]:
    """All tasks, asked of all models in turn, without examples before a question; yields after every few questions.

    models: by their names, and what is entered around each of their forward passes. Nothing is in place while the
    caller has the turn. limit: questions of each part of a task, the first ones. Raises NotFinite, SettingError.
    """
    if limit is not None and limit < 1:
        raise SettingError(f"A limit of {limit} leaves no question: give 1 or more.")
    asking = {name: _asking(*model, tokenizer) for name, model in models.items()}
    results = []
    for task in tasks:
        questions = task.questions(limit)
        right: dict[str, dict[str, list[float]]] = {name: {} for name in models}
        for start in range(0, len(questions), AT_ONCE):
            some = questions[start : start + AT_ONCE]
            for turn, (name, lm) in enumerate(asking.items()):
                done = start * len(models) + turn * len(some)
                yield Progress(f"asking {task.name}", done, len(questions) * len(models))
                for metrics in _scored(lm, some):
                    for metric in METRICS:
                        if metric in metrics:
                            right[name].setdefault(metric, []).append(float(metrics[metric]))
        choices = [len(part.doc_to_choice(question)) for part, question in questions]
        guessed = 1 / torch.tensor(choices, dtype=torch.float64)
        results.append(TaskResult(task.name, task.metric, _tensors(right), guessed))
    yield Progress("asking", 1, 1)
    return results


def _tensors(right: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, Tensor]]:
    return {
        name: {metric: torch.tensor(values, dtype=torch.float64) for metric, values in metrics.items()}
        for name, metrics in right.items()
    }


def _scored(lm: Any, questions: Sequence[tuple[Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What lm-eval says of each answer: `acc`, `acc_norm` …"""
    requests = [
        part.construct_requests(
            doc=question,
            ctx=part.fewshot_context(question, num_fewshot=0, gen_prefix=part.doc_to_prefix(question)),
            metadata=(part.config.task, at, 1),
        )
        for at, (part, question) in enumerate(questions)
    ]
    given = iter(lm.loglikelihood([request for group in requests for request in group], disable_tqdm=True))
    return [
        part.process_results(question, [next(given) for _ in group])
        for (part, question), group in zip(questions, requests, strict=True)
    ]


# --- what lm-eval is given --------------------------------------------------------------------------------------


def _quiet() -> None:
    """It remarks on everything; what matters is refused by us."""
    import lm_eval.api.task

    logging.getLogger(lm_eval.__name__).setLevel(logging.ERROR)


def _known(name: str) -> Asked:
    """A task of the hub."""
    if not hub.reachable():
        raise TextError(
            f"{TASKS[name].title} is on the Hugging Face hub, which cannot be reached. Connect, or give a local file "
            "of rows."
        )
    with foreign(lambda reason: TextError(f"{TASKS[name].title} cannot be read from the hub: {reason}")):
        parts = manager(TASKS[name]).load([name])["tasks"].values()
        return Asked(name, TASKS[name].metric, tuple(parts))


def manager(task: KnownTask) -> TaskManager:
    """lm-eval's, of this task's folder alone."""
    import lm_eval.tasks

    folder = Path(lm_eval.tasks.__file__).parent / task.folder
    return lm_eval.tasks.TaskManager(include_path=str(folder), include_defaults=False)


def _own(questions: Questions) -> Asked:
    """One of lm-eval's own kind, of rows that are at hand."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    rows = Dataset.from_list([dict(row) for row in questions.rows])
    metrics = [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in METRICS]
    task = ConfigurableTask(
        config={
            "task": questions.name,
            "custom_dataset": lambda: {"test": rows},
            "test_split": "test",
            "output_type": "multiple_choice",
            # Names of fields, not templates: what rows hold is data, whatever braces it has.
            "doc_to_text": "query",
            "doc_to_choice": "choices",
            "doc_to_target": "gold",
            "num_fewshot": 0,
            "metric_list": metrics,
        }
    )
    return Asked(questions.name, questions.metric, (task,))


@dataclass(frozen=True)
class _Lent:
    """A model as lm-eval calls it. No module of torch: of those it would tie weights anew and change their mode, and
    the model is somebody else's too."""

    model: PreTrainedModel
    within: Callable[[], AbstractContextManager[None]]

    @property
    def device(self) -> torch.device:
        return device_of(self.model)

    @property
    def config(self) -> Any:
        return self.model.config

    def __call__(self, ids: Tensor) -> Any:
        with self.within():
            output = self.model(ids, use_cache=False)
            check_finite(output.logits, self.model, ids, "its logits")
        return output


def _asking(model: PreTrainedModel, within: Within, tokenizer: PreTrainedTokenizerBase) -> Any:
    """lm-eval's own wrapper around a model that is loaded. The tokenizer is a copy: it is given a token for padding."""
    from lm_eval.models.huggingface import HFLM

    room = LOGITS.get(device_of(model).type, LOGITS["cpu"]) // (256 * vocabulary_size(model))
    with foreign(lambda reason: SettingError(f"lm-eval cannot ask this model: {reason}")):
        return HFLM(
            pretrained=_Lent(model, within),
            backend="causal",
            tokenizer=copy.deepcopy(tokenizer),
            max_length=context_length(model),
            batch_size=max(1, min(MOST_AT_ONCE, room)),
            # Sums of log-probabilities in half precision would be rounded to steps larger than what parts choices.
            softmax_dtype="float32",
        )
