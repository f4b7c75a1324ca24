"""Every kind of compensation that can be read from disk: the registry."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..errors import LoadError
from ..hf.layout import HeadGeometry
from .constants import Constants
from .interface import Compensation
from .weights import Weights

KINDS: dict[str, type[Compensation]] = {kind.kind: kind for kind in (Constants, Weights)}
"""By name. Another kind is a row here, and one in `restoration.parameters` if it can be trained."""


def read_compensation(kind: str, version: int, tensors: Mapping[str, Tensor], shape: HeadGeometry) -> Compensation:
    """What `Compensation.tensors` of this kind and version gave.

    Raises LoadError for a kind or version that is not known; KeyError and ValueError as its `from_tensors` does.
    """
    known = KINDS.get(kind)
    if known is None:
        raise LoadError(
            f"What is put back is of kind '{kind}', and this version knows {', '.join(sorted(KINDS))}: it cannot be "
            "applied. Update RestoreLCC Studio."
        )
    if version > known.version:
        raise LoadError(
            f"What is put back is of kind '{kind}' in version {version}, and this version reads up to {known.version}. "
            "Update RestoreLCC Studio."
        )
    return known.from_tensors(tensors, shape, version)
