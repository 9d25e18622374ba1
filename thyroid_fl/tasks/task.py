"""What a task is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from thyroid_fl.batches import Batch
from thyroid_fl.settings import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What makes one task different from another; everything else is shared."""

    name: str
    presets: Mapping[str, Mapping[str, Any]]
    """Size of the model -> what differs from the defaults of `Study`."""
    needs: tuple[str, ...]
    """Manifest columns that a case must have to be used."""
    build: Callable[[Study], nn.Module]
    """The model: images (B, 1, H, W) -> outputs."""
    loss: Callable[[Tensor, Batch], Tensor]
    """Outputs (float32) and batch -> mean loss over the B cases, a scalar."""
    predict: Callable[[Tensor], Tensor]
    """Outputs (float32) -> one row per picture, (B,)."""
    measure: Callable[[NDArray[np.int64], NDArray[np.float64]], dict[str, float]]
    """Labels and predictions of one hospital's validation cases -> sums that add up
    over hospitals; see `thyroid_fl.tasks.classification.concordance`."""
