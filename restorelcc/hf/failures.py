"""What a failed download or load means and what to do about it, in one line. No line holds a token: none of what the
libraries say is repeated here."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import torch
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token that may read it"
MEMORY = (
    "Load it in half precision (--dtype bfloat16), spread it over GPUs, memory and disk (--device map), leave it on "
    "disk (--device disk), or capture one model at a time (inspect --one-at-a-time)."
)
RAN_OUT = f"Memory ran out. Give shorter windows (--length). {MEMORY}"


def advice(error: BaseException, name: str) -> str | None:
    """What happened to the model called `name` and what to do; None where it is nothing that happens often."""
    for cause in _causes(error):
        if isinstance(cause, GatedRepoError):  # before its parent, which means that there is nothing of this name
            return (
                f"{name} is gated: its owners let people in one by one. Ask them on "
                f"{constants.ENDPOINT}/{name.partition('@')[0]}, then {LOG_IN}."
            )
        if isinstance(cause, RepositoryNotFoundError):
            return f"There is no {name} on the hub, or it is private. Check its spelling; if it is private, {LOG_IN}."
        if isinstance(cause, RevisionNotFoundError):
            return f"{name} has no such revision on the hub. Give a branch, a tag or a commit that its page lists."
        if getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(cause):
            return (
                f"The disk is full, and {name} is not loaded whole. Make room in {constants.HF_HUB_CACHE}, or point "
                "HF_HOME to another disk."
            )
        if out_of_memory(cause):
            return f"{name} does not fit into memory. {MEMORY}"
        if isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled | httpx.TransportError):
            return (
                f"The hub cannot be reached and {name} is not in the local cache, or not whole. Connect to the network "
                "once, or give a local folder."
            )
    return None


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or beside it."""
    said = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and ("can't allocate memory" in said or "Cannot allocate memory" in said))
        or (isinstance(error, RuntimeError) and "MPS backend out of memory" in said)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and each that it was raised from: libraries wrap what the hub answered in errors of their own."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
