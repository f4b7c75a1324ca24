"""The text in a row of a file or dataset: by a field that is named, or by the names that datasets use."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TextError

# Columns in which datasets keep a question and its answer, in the order they are looked for.
PROMPTS = ("prompt", "instruction", "question", "query")
CONTEXTS = ("input", "context")
"""What a question is about, asked after it: Alpaca's and Dolly's second half of an instruction."""
RESPONSES = ("right", "response", "output", "answer", "completion", "answers")
CHATS = ("messages", "conversations")
"""Lists of turns, each with who speaks and what is said."""
INDICES = ("gold", "answer", "label")
"""Which of a row's `choices` is right, counted from 0."""
LONGEST_LIST = 120  # characters of a row's names in a message

Row = tuple[str, object]
"""(where it stands, for messages; what it says)."""


@dataclass(frozen=True)
class Document:
    """One piece of text; `prompt` is empty where the text is not an answer to anything."""

    response: str
    prompt: str = ""

    @property
    def text(self) -> str:
        """Prompt and response, as the model reads them."""
        return self.prompt + self.response


def documents(rows: Iterable[Row], field: str = "") -> tuple[list[Document], tuple[str, ...]]:
    """(the documents of rows, what should be said of rows that are left out: those that are null or blank).

    Raises TextError where a row is no object with named fields, or where none has the field: what the first one lacks.
    """
    kept, count, first, lacking = list[Document](), 0, "", None
    for where, row in rows:
        count += 1
        document = as_document(row, field, where)
        if document is not None and document.response.strip():
            kept.append(document)
            continue
        first = first or where
        if document is None and lacking is None:
            lacking = _without_text(row, field, where)
    if not kept and lacking is not None:
        raise lacking
    left = count - len(kept)
    return kept, (f"{left:,} of {count:,} rows hold no text and are left out, first {first}.",) if left else ()


def as_document(row: object, field: str, where: str) -> Document | None:
    """A row's text: its `field` (`a.b`: of an object inside), or by the names in use, with the prompt where it has one.
    None where it has no text, as where it is null.

    A question with its answer comes before `text`, where datasets such as Alpaca keep both once more in a template.
    Raises TextError, which names `where` the row stands, for one that is no object with named fields.
    """
    if isinstance(row, str):
        return Document(clean(row))
    if not isinstance(row, Mapping):
        raise TextError(f"{where} is not an object with named fields. One object a line is needed.")
    if field:
        return _made(text_of(nested(row, field)))
    named = {str(name).strip().lower(): value for name, value in row.items()}
    for name in CHATS:
        if isinstance(named.get(name), list | tuple):
            return _of_turns(named[name])
    prompt, answered = _prompt(named), any(name in named for name in RESPONSES)
    if prompt and (answered or not isinstance(named.get("text"), str)):
        return _made(_answer(named), prompt)
    if isinstance(named.get("text"), str):
        return Document(clean(named["text"]))
    return _made(_answer(named))


def _made(response: str | None, prompt: str = "") -> Document | None:
    if response is None:
        return None
    # A prompt and an answer written apart need something between them; a continuation brings its own space.
    apart = prompt and not prompt[-1:].isspace() and not response[:1].isspace()
    return Document(response, prompt + "\n" if apart else prompt)


def _without_text(row: object, field: str, where: str) -> TextError:
    names = [field] if field else ["text", *RESPONSES]
    own = ", ".join(map(str, row)) if isinstance(row, Mapping) else "nothing"
    own = textwrap.shorten(own, LONGEST_LIST, placeholder=" …")
    return TextError(f"{where} has no text in {' or '.join(names)}; it has {own}. Name the field.")


def _prompt(named: Mapping[str, Any]) -> str:
    asked = next((text for name in PROMPTS if (text := text_of(named.get(name)))), "")
    about = next((text for name in CONTEXTS if (text := text_of(named.get(name)))), "")
    return "\n".join(part for part in (asked, about) if part)


def _answer(named: Mapping[str, Any]) -> str | None:
    choice = right_choice(named)
    if choice is not None:
        return choice[0]
    return next((text for name in RESPONSES if (text := text_of(named.get(name))) is not None), None)


def right_choice(named: Mapping[str, Any]) -> tuple[str, tuple[str, ...]] | None:
    """(the right one, the others) of a row's `choices`; None where it has none, or nothing says which is right."""
    choices = named.get("choices")
    if not isinstance(choices, Sequence) or not all(isinstance(choice, str) for choice in choices):
        return None
    for name in INDICES:
        index = named.get(name)
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(choices):
            others = tuple(clean(other) for at, other in enumerate(choices) if at != index)
            return clean(choices[index]), others
    return None


def _of_turns(turns: Sequence[Any]) -> Document | None:
    """The last answer of a conversation, and all that was said before it, a turn a line. No model's chat template."""
    said = [
        (str(turn.get("role", turn.get("from", ""))), text_of(turn) or "")
        for turn in turns
        if isinstance(turn, Mapping)
    ]
    last = max((at for at, (who, _) in enumerate(said) if who in ("assistant", "gpt", "model", "bot")), default=None)
    if last is None:
        return None
    return _made(said[last][1], "\n".join(text for _, text in said[:last] if text))


def nested(row: object, field: str) -> Any:
    """What a row has under this name, or, for `a.b`, what is under `b` in what it has under `a`; None where nothing."""
    if not isinstance(row, Mapping):
        return None
    if field in row:
        return row[field]
    first, _, rest = field.partition(".")
    return nested(row.get(first), rest) if rest else None


def text_of(value: Any, deep: int = 3) -> str | None:
    """As text: numbers as they are written, the first of several answers, what an object holds as its text, at most
    `deep` of these within each other. None where there is nothing to read."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int | float):
        return str(value) if value == value else None  # NaN is how tables write nothing
    if isinstance(value, Mapping):
        value = [value.get(name) for name in ("text", "content", "value")]
    if not isinstance(value, list | tuple) or deep == 0:
        return None
    return next((text for item in value if (text := text_of(item, deep - 1)) is not None), None)


def clean(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can hold and no encoding, so no tokenizer, takes."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
