"""What can go wrong for a reason that the user can do something about.

RestoreLCCError
├── LoadError            a model, tokenizer, dataset or adapter cannot be had
│   ├── NoTokenizer        a model has none beside it
│   └── UnsupportedModel   it loads, but its attention heads cannot be found
├── PairMismatch         the dense and the pruned model are not two states of one model
│   └── SwappedSides       they are, but each was given as the other
├── NotFinite            a model computes infinite values or NaN
├── TextError            there is no usable text in what was given
├── SettingError         a number or name outside what makes sense
├── WriteError           a result cannot be written where it was asked for
└── ProcessLost          another process of the same launch ended before its time

Every message says what was found, why it matters and what to do, on one line.
"""

LONGEST = 500
"""Characters of a message, whatever it quotes."""


class RestoreLCCError(Exception):
    """Parent of everything that this package raises on purpose. What it quotes may be as long as a file and hold what
    cannot be printed; the message is one line all the same."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(" ".join(str(message).split()), LONGEST))


class LoadError(RestoreLCCError):
    """A model, tokenizer, dataset or adapter cannot be had."""


class NoTokenizer(LoadError):
    """A model has no tokenizer beside it."""


class UnsupportedModel(LoadError):
    """The model loads, but its attention heads cannot be found."""


class PairMismatch(RestoreLCCError):
    """The dense and the pruned model are not two states of one model."""


class SwappedSides(PairMismatch):
    """The dense model was given as the pruned one, and the pruned one as the dense."""


class NotFinite(RestoreLCCError):
    """A model computes infinite values or NaN, so that nothing can be measured, captured, pruned or trained with it."""


class TextError(RestoreLCCError):
    """There is no usable text in what was given."""


class SettingError(RestoreLCCError, ValueError):
    """A number or name outside what makes sense."""


class WriteError(RestoreLCCError):
    """A result cannot be written where it was asked for."""


class ProcessLost(RestoreLCCError):
    """Another process of the same launch ended before its time."""


def shortened(text: str, most: int = 120) -> str:
    """Of what may be long, or hold what cannot be printed: a name, a path, another's message. Both ends stay."""
    text = "".join(character if character.isprintable() else "�" for character in text)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
