"""RestoreLCC Studio's engine: what pruning took from every attention head, and how to put it back.

pair = restorelcc.load_pair("path/to/dense", "path/to/pruned")
restoration = restorelcc.restore(pair, text="stories.txt", heads=0.25)
restorelcc.export(restoration, pair, "path/to/restored")

All that it gives is named in `face.__all__`, and comes when it is first asked for: importing it loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .face import *  # noqa: F403

__version__ = "0.1.0"

# `capture` is a verb of the face, and a wing. Python binds a wing to its package when it is first imported, and never
# again. So that happens now, at no cost, since the door of a wing does nothing; from then on the name is the verb's.
import_module(".capture", __name__)
globals().pop("capture", None)  # not there when the package is reloaded


if not TYPE_CHECKING:  # to a type checker this would say that there is any name at all

    def __getattr__(name: str) -> Any:
        face = None if name.startswith("_") and name != "__all__" else import_module(".face", __name__)
        if face is None or name not in ("__all__", *face.__all__):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(face, name)


def __dir__() -> list[str]:
    return [*globals(), *import_module(".face", __name__).__all__]
