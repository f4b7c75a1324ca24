"""What can go wrong for a reason that the user can do something about.

RestoreLCCError
├── LoadError            a model, tokenizer, dataset or adapter cannot be had
│   ├── NoTokenizer        a model has none beside it
│   └── UnsupportedModel   it loads, but its attention heads cannot be found
├── PairMismatch         the dense and the pruned model are not two states of one model
├── NotFinite            a model computes infinite values or NaN
├── TextError            there is no usable text in what was given
├── SettingError         a number or name outside what makes sense
└── WriteError           a result cannot be written where it was asked for

Every message says what was found, why it matters and what to do.
"""


class RestoreLCCError(Exception):
    """Parent of everything that this package raises on purpose."""


class LoadError(RestoreLCCError):
    """A model, tokenizer, dataset or adapter cannot be had."""


class NoTokenizer(LoadError):
    """A model has no tokenizer beside it."""


class UnsupportedModel(LoadError):
    """The model loads, but its attention heads cannot be found."""


class PairMismatch(RestoreLCCError):
    """The dense and the pruned model are not two states of one model."""


class NotFinite(RestoreLCCError):
    """A model computes infinite values or NaN, so that nothing can be measured, captured, pruned or trained with it."""


class TextError(RestoreLCCError):
    """There is no usable text in what was given."""


class SettingError(RestoreLCCError, ValueError):
    """A number or name outside what makes sense."""


class WriteError(RestoreLCCError):
    """A result cannot be written where it was asked for."""
