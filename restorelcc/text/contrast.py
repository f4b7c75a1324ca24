"""Questions with a right and a wrong response, to probe heads with. A source is one word:

    demo                  225 prompts that come with this package, with a right and a wrong ending
    rows.jsonl            a file of rows (see `files`), each a question (`prompt`, `question` …), its answer (`right`,
                          `answer` …) and, where it has them, wrong answers (`wrong`, one or a list), or `choices` and
                          which of them is right
    alpaca                instructions and answers from the Hugging Face hub
    boolq, rte, arc-e, arc-c   questions with right and wrong answers from the hub, their training splits
    hf:dataset[/config][:split]   any dataset of the hub, rows as in a file

Where no wrong response is given, it is the *most similar other* response (RestoreLCC, Eq. 7): the right response
of another question, and never one that equals the right one. Similar is a large cosine of TF-IDF vectors, where the
paper takes sentence embeddings, which would be one more model to download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ..errors import TextError
from . import files, sources
from .records import PROMPTS, RESPONSES, Row, as_document, right_choice

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


class ContrastItems(list[ContrastItem]):
    """Items, and what of their source was left out, with figures, a sentence each."""

    notes: tuple[str, ...] = ()


def contrast_items(source: str = sources.DEMO, limit: int = MOST_ITEMS) -> ContrastItems:
    """At most `limit` items of a source. Of several wrong answers the one most similar to the right one is taken.

    Raises TextError.
    """
    asked, notes = _read(source, limit)
    if not asked:
        raise TextError(f"{source} holds no question. Give a file or dataset with questions and answers.")
    wrong = _wrong_responses(asked, source)
    # A right response brings the space it begins with, or its question ends with one; the wrong one does the same.
    items = ContrastItems(
        ContrastItem(question.prompt, question.right, _led_like(question.right, other))
        for question, other in zip(asked, wrong, strict=True)
    )
    items.notes = notes
    return items


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


def _read(source: str, limit: int) -> tuple[list[Asked], tuple[str, ...]]:
    """(the questions, what should be said of what is left out)."""
    if source in TASKS:
        return _of_task(source, limit)
    if source == sources.DEMO:
        return _questions(files.rows(sources.ASSETS / "contrast.jsonl"), limit)
    if source in sources.HUB or source.startswith("hf:"):
        name = f"hf:{sources.HUB[source][0]}:train" if source in sources.HUB else source
        rows, notes = sources.dataset_rows(name, limit)
        asked, lacking = _questions(rows, limit)
        return asked, (*notes, *lacking)
    return _questions(_file_rows(source), limit)


def _of_task(source: str, limit: int) -> tuple[list[Asked], tuple[str, ...]]:
    name, put = TASKS[source]
    rows, notes = sources.dataset_rows(name, limit)
    asked = []
    for where, row in rows:
        try:
            asked.append(put(cast("Mapping[str, Any]", row)))
        except (KeyError, TypeError, ValueError) as error:
            raise TextError(
                f"{where} is not as {source} was known to be ({error!r}). Give the data as a file."
            ) from error
    return asked, notes


def _file_rows(source: str) -> Iterator[Row]:
    path, _ = sources.file_of(source, (sources.DEMO, "alpaca", *TASKS), "file of questions")
    if not files.has_rows(path):
        raise TextError(f"{path} is plain text, and questions with answers are rows. Give them as .jsonl, .csv or so.")
    return files.rows(path)


def _questions(rows: Iterable[Row], limit: int) -> tuple[list[Asked], tuple[str, ...]]:
    """(at most `limit` questions, by the names in use; what should be said of rows that are left out). Raises TextError
    where no row is a question with an answer."""
    asked, count, lacking, first = list[Asked](), 0, 0, ""
    for where, row in rows:
        count += 1
        if len(asked) == limit:
            continue
        question = _asked(row, where)
        if question is None:
            lacking, first = lacking + 1, first or where
        else:
            asked.append(question)
    if lacking and not asked:
        raise TextError(
            f"{first} is not a question with an answer. Name them {' or '.join(PROMPTS)}, and {' or '.join(RESPONSES)}."
        )
    notes = []
    if lacking:
        notes.append(f"{lacking:,} of {count:,} rows are no question with an answer and are left out, first {first}.")
    if len(asked) + lacking < count:
        notes.append(f"The first {len(asked):,} questions of {count:,} rows are asked.")
    return asked, tuple(notes)


def _asked(row: object, where: str) -> Asked | None:
    """None where the row has no question, or no answer. Raises TextError."""
    document = as_document(row, "", where)
    if document is None or not document.prompt.strip() or not document.response.strip():
        return None
    given: Any = row.get("wrong") if isinstance(row, Mapping) else None
    wrong = list(given) if isinstance(given, list | tuple) else [given] if given is not None else []
    if not all(isinstance(other, str) for other in wrong):
        raise TextError(
            f"{where} has something in `wrong` that is not text. Give one wrong response or a list of them."
        )
    choice = right_choice(row) if isinstance(row, Mapping) and not wrong else None
    return Asked(document.prompt, document.response, tuple(wrong) if choice is None else choice[1])


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
    words = r"(?u)\w+|[^\w\s]"
    return TfidfVectorizer(token_pattern=words).fit_transform(responses)


def _same(one: str, other: str) -> bool:
    return one.strip().lower() == other.strip().lower()


def _led_like(right: str, wrong: str) -> str:
    return right[: len(right) - len(right.lstrip())] + wrong.lstrip()
