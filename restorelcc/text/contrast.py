"""Questions with a right and a wrong response, to probe heads with. A source is one word:

    demo                  225 prompts that come with this package, with a right and a wrong ending
    rows.jsonl            a question (`prompt`, `question` …), its answer (`right`, `answer` …) and, where it has them,
                          wrong answers (`wrong`, one or a list)
    alpaca                instructions and answers from the Hugging Face hub
    boolq, rte, arc-e, arc-c   questions with right and wrong answers from the hub, their training splits
    hf:dataset[/config][:split]   any dataset of the hub, rows as in a file

Where no wrong response is given, it is the *most similar other* response (RestoreLCC, Eq. 7): the right response
of another question, and never one that equals the right one. Similar is a large cosine of TF-IDF vectors, where the
paper takes sentence embeddings, which would be one more model to download.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import TextError
from . import sources

# What the paper probes with.
MOST_ITEMS = 1_000


@dataclass(frozen=True)
class ContrastItem:
    """A question, and two responses that are text to be read right after it."""

    prompt: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Asked:
    """A question as a source has it: its right answer and any number of wrong ones."""

    prompt: str
    right: str
    wrong: tuple[str, ...] = ()


def contrast_items(source: str = sources.DEMO, limit: int = MOST_ITEMS) -> list[ContrastItem]:
    """At most `limit` items of a source. Of several wrong answers the one most similar to the right one is taken.

    Raises TextError.
    """
    asked = _read(source, limit)
    if not asked:
        raise TextError(f"{source} holds no question. Give a file or dataset with questions and answers.")
    wrong = _wrong_responses(asked, source)
    # A right response brings the space it begins with, or its question ends with one; the wrong one does the same.
    return [
        ContrastItem(item.prompt, item.right, _led_like(item.right, other))
        for item, other in zip(asked, wrong, strict=True)
    ]


# --- sources ----------------------------------------------------------------------------------------------------


def _boolq(row: Mapping[str, Any]) -> Asked:
    right, wrong = (" yes", " no") if row["answer"] else (" no", " yes")
    return Asked(f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:", right, (wrong,))


def _rte(row: Mapping[str, Any]) -> Asked:
    right, wrong = (" True", " False") if row["label"] == 0 else (" False", " True")  # 0 is entailment
    return Asked(f"{row['sentence1']}\nQuestion: {row['sentence2']} True or False?\nAnswer:", right, (wrong,))


def _arc(row: Mapping[str, Any]) -> Asked:
    choices = dict(zip(row["choices"]["label"], row["choices"]["text"], strict=True))
    right = choices.pop(row["answerKey"])
    return Asked(f"Question: {row['question']}\nAnswer:", f" {right}", tuple(f" {other}" for other in choices.values()))


# Dataset and split, and how a row of it is put. The wording of the questions is the LM evaluation harness's.
TASKS: dict[str, tuple[str, Callable[[Mapping[str, Any]], Asked]]] = {
    "boolq": ("hf:google/boolq:train", _boolq),
    "rte": ("hf:nyu-mll/glue/rte:train", _rte),
    "arc-e": ("hf:allenai/ai2_arc/ARC-Easy:train", _arc),
    "arc-c": ("hf:allenai/ai2_arc/ARC-Challenge:train", _arc),
}


def _read(source: str, limit: int) -> list[Asked]:
    if source in TASKS:
        name, put = TASKS[source]
        found = []
        for where, row in sources.dataset_rows(name, limit):
            try:
                found.append(put(row))
            except (KeyError, TypeError, ValueError) as error:
                raise TextError(
                    f"{where} is not as {source} was known to be ({error!r}). Give the data as a file."
                ) from error
        return found
    if source == sources.DEMO:
        rows = sources.json_rows(sources.ASSETS / "contrast.jsonl")
    elif source in sources.HUB or source.startswith("hf:"):
        rows = sources.dataset_rows(f"hf:{sources.HUB[source][0]}:train" if source in sources.HUB else source, limit)
    else:
        rows = _file_rows(source)
    return [_asked(row, where) for where, row in rows[:limit]]


def _file_rows(source: str) -> list[tuple[str, object]]:
    path = Path(source).expanduser()
    if path.suffix != ".jsonl" or not path.is_file():
        known = ", ".join((sources.DEMO, "alpaca", *TASKS))
        raise TextError(f"There is no file {path} of questions. Give a .jsonl file, hf:…, or one of: {known}.")
    try:
        return sources.json_rows(path)
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 text (byte {error.start}). Convert it, or give another file.") from error


def _asked(row: object, where: str) -> Asked:
    """A row by the names in use. Raises TextError."""
    found = sources.document(row, "", where)
    given: Any = row.get("wrong") if isinstance(row, Mapping) else None
    wrong = list(given) if isinstance(given, list | tuple) else [given] if given is not None else []
    if not all(isinstance(other, str) for other in wrong):
        raise TextError(
            f"{where} has something in `wrong` that is not text. Give one wrong response or a list of them."
        )
    if not found.prompt.strip() or not found.response.strip():
        raise TextError(
            f"{where} is not a question with an answer. Name them {' or '.join(sources.PROMPTS)}, and "
            f"{' or '.join(sources.RESPONSES)}."
        )
    return Asked(found.prompt, found.response, tuple(wrong))


# --- wrong responses --------------------------------------------------------------------------------------------


def _wrong_responses(asked: Sequence[Asked], source: str) -> list[str]:
    """One a question: the most similar to the right response of those given, or of all others' right responses."""
    given = [[other for other in item.wrong if other.strip() and not _same(other, item.right)] for item in asked]
    if all(len(others) == 1 for others in given):
        return [others[0] for others in given]
    rights = [item.right for item in asked]
    pool = [*rights, *(other for others in given for other in others)]
    vectors = _vectors([response.strip() for response in pool])
    # What is the same response has the same number.
    number = np.unique([response.strip().lower() for response in pool], return_inverse=True)[1]
    chosen, start = [], len(asked)
    for index, others in enumerate(given):
        candidates = (
            np.arange(start, start + len(others)) if others else np.flatnonzero(number[: len(asked)] != number[index])
        )
        start += len(others)
        if len(candidates) == 0:
            raise TextError(
                f"All {len(asked)} questions of {source} have the same answer, so none has a wrong one. "
                "Give wrong responses, or more questions."
            )
        cosines = (vectors @ vectors[[index]].T).toarray()[:, 0]
        chosen.append(pool[candidates[cosines[candidates].argmax()]])
    return chosen


def _vectors(responses: Sequence[str]) -> Any:
    """Sparse [response, feature] TF-IDF, rows of unit length or zero: products are cosines."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # Takes a second to import.

    # Any run of letters is a word, or yes and no, a and b would be nothing and all alike.
    return TfidfVectorizer(token_pattern=r"(?u)\w+|[^\w\s]").fit_transform(responses)


def _same(one: str, other: str) -> bool:
    return one.strip().lower() == other.strip().lower()


def _led_like(right: str, wrong: str) -> str:
    return right[: len(right) - len(right.lstrip())] + wrong.lstrip()
