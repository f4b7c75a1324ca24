"""How much each head lost, by several measures: [layer, head] tables from `HeadStatistics`."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from ..errors import SettingError
from .statistics import HeadStatistics


@dataclass(frozen=True)
class HeadLoss:
    """What each head lost. Every table is [layer, head], float64; larger means more was lost."""

    relative_error: Tensor
    """E‖z_d − z_p‖² / E‖z_d‖²: share of the dense energy, 0 when nothing was lost, may pass 1."""
    mean_squared_error: Tensor
    """E‖z_d − z_p‖² / d_head: squared activation units."""
    cosine_distance: Tensor
    """1 − E[z_d · z_p] / √(E‖z_d‖² E‖z_p‖²): 0 for equal directions, 1 for unrelated ones."""
    output_weighted: Tensor
    """√(E‖W_O,h (z_d − z_p)‖² / E‖attention output‖²): the loss where it matters, in the residual stream, as a share
    of what the whole layer's attention writes there."""

    def table(self, metric: str) -> Tensor:
        """[layer, head] of one metric by name. Raises SettingError."""
        if metric not in METRICS:
            raise SettingError(f"'{metric}' is no measure of head loss: give one of {', '.join(METRICS)}.")
        values: Tensor = getattr(self, metric)
        return values

    def to_pandas(self) -> pd.DataFrame:
        """One row a head: layer, head and every metric."""
        layers, heads = self.relative_error.shape
        columns = {name: getattr(self, name).flatten().numpy() for name in METRICS}
        index = [(layer, head) for layer in range(layers) for head in range(heads)]
        return pd.DataFrame(index, columns=["layer", "head"]).assign(**columns)


METRICS = tuple(HeadLoss.__dataclass_fields__)


def head_loss(statistics: HeadStatistics) -> HeadLoss:
    """All measures at once. A head that the dense model never uses (no energy) has lost nothing: 0, not NaN."""
    lost = statistics.lost_energy
    norms = (statistics.dense_energy * statistics.pruned_energy).sqrt()
    silent = (statistics.dense_energy == 0) & (statistics.pruned_energy == 0)
    cosine = torch.where(silent, 1.0, _ratio(statistics.inner, norms))
    return HeadLoss(
        relative_error=_ratio(lost, statistics.dense_energy),
        mean_squared_error=lost / statistics.geometry.d_head,
        cosine_distance=1 - cosine,
        output_weighted=_ratio(statistics.written_loss, statistics.attention_energy[:, None]).sqrt(),
    )


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.0)
