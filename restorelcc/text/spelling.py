"""Tokens as people read them: each as it stands among its neighbours, or alone."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BROKEN = "\N{REPLACEMENT CHARACTER}"
SPACE = "▁"
"""How SentencePiece writes the space before a word."""
BYTE = re.compile("<0x([0-9A-F]{2})>")
"""How it writes a byte of a letter that it has no token for."""
LONGEST_LETTER = 4  # bytes of a character in UTF-8, so tokens at most


def _in_brackets(error: UnicodeError) -> tuple[str, int]:
    """Stands in for bytes that are no character."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(f"<0x{value:02X}>" for value in error.object[error.start : error.end]), error.end


codecs.register_error("restorelcc-bytes", _in_brackets)


def _alphabet() -> dict[str, int]:
    """The byte that each character of a GPT-2 token stands for: printable ones for themselves, others U+0100 and on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + at): value for at, value in enumerate(others)}


ALPHABET = _alphabet()


def token_strings(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text of those before it: joined, they are the text, spaces between words included.

    Of a character that several tokens hold the bytes of, the last has it all and the others have nothing. Bytes that
    never become a character are written <0xE2>, ids that are no token's as <50300>.
    """
    alone = {token: token_string(tokenizer, token) for token in set(ids)}
    spelled = [alone[token] for token in ids]
    known = [at for at, token in enumerate(ids) if _token(tokenizer, token) is not None]
    for at, text in zip(
        known, _running(tokenizer, [ids[at] for at in known], [spelled[at] for at in known]), strict=True
    ):
        spelled[at] = text
    return spelled


def readable(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """`token_strings` to be shown one by one: a token that holds part of a character is written as its bytes."""
    return [
        text or token_string(tokenizer, token) for text, token in zip(token_strings(tokenizer, ids), ids, strict=True)
    ]


def token_string(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """One token alone, its space included where it is the token's own."""
    piece = _token(tokenizer, token)
    if piece is None:
        return f"<{token}>"
    text = _decoded(tokenizer, [token])
    if SPACE in piece and SPACE not in text:
        return piece.replace(SPACE, " ")
    raw = _bytes(piece) if BROKEN in text else None
    return (text or piece) if raw is None else raw.decode("utf-8", "restorelcc-bytes")


def known_tokens(tokenizer: PreTrainedTokenizerBase, size: int) -> Tensor:
    """[size] bool: which of the first `size` ids are tokens. Embeddings often have rows beyond, as round numbers do."""
    known = torch.zeros(size, dtype=torch.bool)
    known[[token for token in tokenizer.get_vocab().values() if token < size]] = True
    return known


def _token(tokenizer: PreTrainedTokenizerBase, token: int) -> str | None:
    """As the vocabulary writes it; None where it has none of this number."""
    try:
        piece = tokenizer.convert_ids_to_tokens(token)
    except (IndexError, KeyError, OverflowError, ValueError):  # those that are not `tokenizers` raise
        return None
    return None if piece is None else str(piece)


def _bytes(piece: str) -> bytes | None:
    """What a token that is written in bytes holds; None for one that is not."""
    if BYTE.fullmatch(piece):
        return bytes([int(piece[3:5], 16)])
    return bytes(ALPHABET[letter] for letter in piece) if all(letter in ALPHABET for letter in piece) else None


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    # Spaces before points and commas stay: tidied away, the text of a beginning would be no beginning of the text.
    return str(tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def _running(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], alone: Sequence[str]) -> list[str]:
    """As `token_strings`, of ids that are all tokens."""
    text = _decoded(tokenizer, ids)
    if BROKEN not in text:
        joined = "".join(alone)
        if joined == text:
            return list(alone)
        if joined == " " + text:  # the space before the first word is not shown
            return [alone[0][1:], *alone[1:]]
    return _one_by_one(tokenizer, ids, alone)


def _one_by_one(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], alone: Sequence[str]) -> list[str]:
    """By decoding each with the few before it, which decide what stands between."""
    spelled = [""] * len(ids)
    context, done = 0, 0  # decoding begins at `context`, which is spelled already; what is, ends at `done`
    for end in range(1, len(ids) + 1):
        before, text = (_decoded(tokenizer, ids[context:stop]) for stop in (done, end))
        added, run = text[len(before) :], [_token(tokenizer, token) for token in ids[done:end]]
        if BROKEN in added and not _is_text(run):
            if added.endswith(BROKEN) and len(run) < LONGEST_LETTER and end < len(ids):
                continue  # the next tokens may complete it
            spelled[done:end] = alone[done:end]
            context = done = end  # what stands beside broken bytes is decoded as broken too
            continue
        first = context == done > 0  # decoded with nothing before it, it would lose its space
        spelled[end - 1] = alone[end - 1] if first and len(run) == 1 else added
        context, done = done, end
    return spelled


def _is_text(pieces: Sequence[str | None]) -> bool:
    """Whether the bytes of tokens are characters and nothing else, U+FFFD itself among them."""
    raw = [_bytes(piece or "") for piece in pieces]
    try:
        return bool(b"".join(part for part in raw if part is not None).decode()) and None not in raw
    except UnicodeDecodeError:
        return False
