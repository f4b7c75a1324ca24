"""Whether a tokenizer is there and can be used, and whether two of them read the same text as the same tokens."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LoadError, NoTokenizer, PairMismatch
from ..text.spelling import token_string
from ..text.tokens import encoded, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WHOLE = "tokenizer.json"
# What tokenizers are kept in, and the package that reads it where it is not kept whole.
PACKAGES = {
    "*.model": "sentencepiece",
    "*.spm": "sentencepiece",
    "*.tiktoken": "tiktoken",
    "tekken.json": "mistral-common",
}
FILES = (WHOLE, *PACKAGES, "vocab.json", "vocab.txt", "vocab.bpe", "tokenization*.py")
LONGEST = 40  # characters of text in a message
LARGEST = 2**24  # number of a token; vocabularies in use have up to 2**18
MANY, MOST = 500, 2_000
"""Texts that are read at once, and texts of one kind that are read at all, which takes seconds."""

PROBES = (
    "The little girl's 3 dogs (Rex, Max & Bo) ran: \"wait!\" It's IT'S they'll We're",
    "Once upon a time there was a little boy who said that he would go to the park with his mom and dad.",
    "1234567890 3.14159 1,000,000 0x1F 10% $5.00 2024-01-31 12:30",
    "def f(x):\n    return x**2 + y_1 if x >= 0 else -x  # done\n\n\tfor (int i = 0; i < n; i++) { a[i] += b; }",
    "  leading,  double   and trailing  \n\n\n two lines\r\n\ttab\u00a0no-break\u3000wide\u200bnone",
    "Où est-il? cafe\u0301 café ﬁn ½ ２ Straße ŁÓDŹ İstanbul naïve “quotes” … — – ™",
    "你好，世界。こんにちは 안녕하세요 Привет мир שלום مرحبا नमस्ते สวัสดี",
    "😀 👩‍👩‍👧‍👦 🇫🇷 \U00010348 \x07 \x1b[0m ~`^|\\",
    "antidisestablishmentarianism https://example.org/a?b=c#d user@example.org",
    "a" * 120,
)
"""Text of every kind that tokenizers are known to differ in: cases, spaces, digits, code, accents in one character or
two, scripts, emoji, long words."""


def check_there(folder: Path, name: str) -> None:
    """Raises NoTokenizer where the folder of a model holds none."""
    if not any(any(folder.glob(pattern)) for pattern in FILES):
        raise NoTokenizer(
            f"{name} has no tokenizer beside its weights. Copy {WHOLE} and tokenizer_config.json into it, from the "
            "model that it was made of."
        )


def check_package(folder: Path, name: str) -> None:
    """Raises LoadError where a package that is not installed here is what reads the tokenizer in a folder."""
    needed = (package for pattern, package in PACKAGES.items() if any(folder.glob(pattern)))
    lacking = next((package for package in needed if find_spec(package.replace("-", "_")) is None), None)
    if lacking is not None and not (folder / WHOLE).is_file():
        raise LoadError(
            f"The tokenizer of {name} is read by the package {lacking}, which is not installed: pip install {lacking}."
        )


def check_speaks(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raises LoadError for one that makes nothing of text, as Transformers gives where a vocabulary is missing, and for
    one whose tokens are numbered beyond reason, which is written and compared number by number."""
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest > LARGEST:
        raise LoadError(
            f"The tokenizer of {name} has a token numbered {largest:,}, which no model has an embedding for: its file "
            f"is damaged. Copy {WHOLE} from the model that it was made of."
        )
    if not token_ids(tokenizer, PROBES[1]):
        raise LoadError(
            f"The tokenizer of {name} makes no tokens of plain text: its vocabulary is missing, or of another kind "
            f"than its tokenizer_config.json says. Copy {WHOLE} from the model that it was made of."
        )


def check_tokenizers(dense: PreTrainedTokenizerBase, pruned: PreTrainedTokenizerBase) -> None:
    """Raises PairMismatch, with a text that shows it, unless both turn text into the same tokens.

    Tokens that stand for no text, such as padding, what is put before a text, and chat templates make no difference.
    """
    text = differing_text(dense, pruned)
    if text is None:
        return
    ours, theirs = (_shown(tokenizer, text) for tokenizer in (dense, pruned))
    raise PairMismatch(
        f"The two models have different tokenizers: {text[:LONGEST]!r} is {ours} to the dense one and {theirs} to the "
        "pruned one, so the same text reaches them as different tokens. Give two states of one model."
    )


def _shown(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    ids = token_ids(tokenizer, text)
    return f"{ids[:5]}".replace("]", ", …]" if len(ids) > 5 else "]")


def differing_text(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> str | None:
    """A text that two tokenizers read as different tokens, a short one first; None where none is found.

    Those that work alike are known to be the same. Others are tried on `PROBES`, on the text of what their vocabularies
    and merges differ in, and on that of tokens spread over all.
    """
    if _workings(ours) == _workings(theirs):
        return None
    words = sorted({word for probe in PROBES for word in probe.split()}, key=len)
    texts: list[str] = [*words, *PROBES, *_texts_at_odds(ours, theirs), *_texts_spread(ours)]
    for start in range(0, len(texts), MANY):
        part = texts[start : start + MANY]
        left, right = (encoded(tokenizer, part).input_ids for tokenizer in (ours, theirs))
        different = (text for at, text in enumerate(part) if left[at] != right[at])
        text = next(different, None)
        if text is not None:
            return text
    return None


def _workings(tokenizer: PreTrainedTokenizerBase) -> object:
    """All that decides how it reads plain text, to be compared; itself where that cannot be seen."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return tokenizer
    added, special = tokenizer.added_tokens_decoder.items(), _special(tokenizer)
    words = sorted((number, token.content) for number, token in added if number not in special)
    parts = (backend.normalizer, backend.pre_tokenizer, backend.model)
    return [None if part is None else part.__getstate__() for part in parts], words


def _special(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that stand for no text."""
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(number for number, token in added if token.special)}


def _texts_at_odds(ours: PreTrainedTokenizerBase, theirs: PreTrainedTokenizerBase) -> list[str]:
    """The texts of tokens that have another number in the other, or none, and of merges at another place."""
    texts = []
    for own, other in ((ours, theirs), (theirs, ours)):
        vocabulary, others, special = own.get_vocab(), other.get_vocab(), _special(own)
        odd = [token for piece, token in vocabulary.items() if others.get(piece) != token]
        own_merges, their_merges = _merges(own), _merges(other)
        moved = (piece for at, piece in enumerate(own_merges) if their_merges[at : at + 1] != [piece])
        odd += [vocabulary[piece] for piece in moved if piece in vocabulary]
        texts += [token_string(own, token) for token in odd if token not in special][:MOST]
    return texts


def _merges(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What is merged, in order, by byte pair encoding; nothing for other kinds."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    learnt = {} if backend is None else json.loads(backend.model.__getstate__())
    return ["".join(pair) if isinstance(pair, list) else pair.replace(" ", "") for pair in learnt.get("merges", ())]


def _texts_spread(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The texts of tokens spread over the vocabulary."""
    tokens = sorted(set(tokenizer.get_vocab().values()) - _special(tokenizer))
    return [token_string(tokenizer, token) for token in tokens[:: max(1, len(tokens) // MOST)]]
