"""What of one text stands in another one too, wherever it begins there and whatever file it is of.

Texts are compared by runs of `RUN` tokens, by their digests: what shares one was copied, or is a duplicate. Of tens of
thousands of tokens that takes a few hundredths of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from .tokens import Tokens

RUN = 24
"""Tokens in a row: fewer also come up by chance, in turns of phrase."""
SHORTEST = 8
"""Tokens of a row that is compared as a whole."""
SAME = 0.5
"""Share of a window from which on it is taken for the other text's."""
BENIGN = 0.01
"""Share of a text below which what it has in common with another moves no figure worth telling."""
SKETCHED = 1_024
"""Digests that are kept of a text, the smallest: enough to know it again by."""
_FACTOR, _MIXER = 6364136223846793005, -49064778989728563  # of Knuth's generator and Appleby's hash, 64 bits


def repeated(tokens: Tokens, others: Sequence[Tokens]) -> Tensor:
    """[text, pos] bool: in a run of `RUN` tokens that stands in one of the others too; or in a row shorter than that
    which is one of theirs."""
    inside = _inside(tokens)
    ids = tokens.ids[inside]
    found = torch.isin(_digests(ids), _all(_digests(other.ids[_inside(other)]) for other in others))
    ends = torch.zeros(len(ids) + 1, dtype=torch.int64)
    ends[: len(found)] += found
    ends[RUN : RUN + len(found)] -= found.long()
    mask = torch.zeros_like(tokens.real)
    mask[inside] = ends.cumsum(0)[:-1] > 0
    rows, own = _short_rows(tokens)
    known = torch.isin(own, _all(_short_rows(other)[1] for other in others))
    mask[rows[known]] = tokens.real[rows[known]]
    return mask


def share(tokens: Tokens, others: Sequence[Tokens]) -> float:
    """Of the tokens that are scored, those that are `repeated`."""
    return int((repeated(tokens, others) & tokens.response).sum()) / max(1, int(tokens.response.sum()))


def windows_of(tokens: Tokens, others: Sequence[Tokens]) -> Tensor:
    """[text] bool: the windows that are the others', but for less than half of what is scored."""
    common = (repeated(tokens, others) & tokens.response).sum(1)
    return (common >= SAME * tokens.response.sum(1)) & (common > 0)


def remark(tokens: Tokens, others: Mapping[str, Tokens], what: str = "it") -> str:
    """What to make of what a text has in common with others, which it is to be told apart from, in a sentence; empty
    where that is nothing. others: by what they are called. what: how the text is called."""
    common = share(tokens, list(others.values()))
    if not common:
        return ""
    said = f"{_percent(common)} of {what} stands in {' or '.join(others)} too"
    if common < BENIGN:
        return f"{said}, too little to matter."
    return f"{said}, word for word: figures of it flatter."


def _percent(value: float) -> str:
    return "less than 0.1 %" if value < 0.001 else f"{100 * value:.{0 if value >= 0.1 else 1}f} %"


# --- known again later --------------------------------------------------------------------------------------------


def sketch(texts: Sequence[Tokens]) -> str:
    """What texts can be known again by, whatever is cut out of them: the smallest digests of their runs, 8 hexadecimal
    digits each."""
    digests = _all(_small(_digests(tokens.ids[_inside(tokens)])) for tokens in texts).unique()
    return "".join(f"{value:08x}" for value in digests[:SKETCHED].tolist())


def share_sketched(tokens: Tokens, known: str) -> float:
    """About which share of a text's runs are of the texts of a `sketch`. Raises ValueError for what is none."""
    kept = torch.tensor([int(known[at : at + 8], 16) for at in range(0, len(known), 8)], dtype=torch.int64)
    digests = _small(_digests(tokens.ids[_inside(tokens)]))
    if len(kept) >= SKETCHED:  # It has no more of those texts than goes up to here.
        digests = digests[digests <= kept.max()]
    return float(torch.isin(digests, kept).double().mean()) if len(digests) and len(kept) else 0.0


# --- digests ------------------------------------------------------------------------------------------------------


def _inside(tokens: Tokens) -> Tensor:
    """[text, pos] bool: what is text. A start that stands before every window is none."""
    inside = tokens.real.clone()
    if len(tokens) > 1 and bool((tokens.ids[:, 0] == tokens.ids[0, 0]).all()):
        inside[:, 0] = False
    return inside


def _digests(ids: Tensor) -> Tensor:
    """[run] of every `RUN` tokens in a row; ids: [pos]. Windows that were cut side by side are one text again, so that
    runs across a cut count, and it makes no difference where it is."""
    count = len(ids) - RUN + 1
    digest = torch.zeros(max(0, count), dtype=torch.int64)
    for at in range(RUN if count > 0 else 0):
        digest = digest * _FACTOR + ids[at : at + count] + 1
    return digest


def _short_rows(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """(numbers of the rows too short for a run, the digest of each): prompts and answers, which may be in any order."""
    lengths = tokens.real.sum(1)
    rows = ((lengths < RUN) & (lengths >= SHORTEST)).nonzero()[:, 0]
    digest = torch.zeros(len(rows), dtype=torch.int64)
    for at in range(min(RUN, tokens.ids.shape[1])):
        digest = torch.where(tokens.real[rows, at], digest * _FACTOR + tokens.ids[rows, at] + 1, digest)
    return rows, digest


def _small(digests: Tensor) -> Tensor:
    """32 bits of each, which look as if drawn."""
    return ((digests ^ (digests >> 29)) * _MIXER >> 32) & 0xFFFFFFFF


def _all(parts: Iterable[Tensor]) -> Tensor:
    """One after the other."""
    return torch.cat([torch.zeros(0, dtype=torch.int64), *parts])
