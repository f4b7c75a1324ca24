"""Every kind of compensation that can be trained: the registry."""

from ..compensation.constants import Constants
from .constants import ConstantParameters
from .parameters import Parameters

TRAINED: dict[str, type[Parameters]] = {Constants.kind: ConstantParameters}
"""How each is trained, by its name among `compensation.kinds.KINDS`."""
