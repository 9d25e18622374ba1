"""What a task is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
    """The model: images (B, 1, H, W) -> outputs, one tensor (B, ...)."""
    loss: Callable[[Tensor, Batch], Tensor]
    """Outputs (float32) and batch -> mean loss over the B cases, a scalar."""
    grade: Callable[[Tensor, Batch], Tensor]
    """Outputs (float32) and batch -> one number a validation case, (B,)."""
    measure: Callable[[NDArray[np.int64], NDArray[np.float64]], dict[str, float]]
    """Labels and grades of one hospital's validation cases -> ``NAME-sum`` and
    ``NAME-n``: the centre adds both up over hospitals, and NAME is their ratio."""
    predict: Callable[[Tensor], Tensor]
    """Outputs (float32) -> what `tabulate` needs of them, (B, ...)."""
    tabulate: Callable[[NDArray[np.float32], pd.DataFrame, Path], pd.DataFrame]
    """Predictions (B, ...), the B cases (manifest columns and the pixel store's
    transform) and the manifest's folder -> the task's columns of the predictions."""
    test_means: Mapping[str, Callable[[pd.DataFrame], "pd.Series[float]"]] = field(
        default_factory=dict
    )
    """Name -> from the task's columns one number a picture, 0 to 1 or NaN: what a test
    in the hospitals comes to is its mean over patients. Empty: the task ranks, and a
    test is the AUC of the columns malignant and score."""


def mean_grade(name: str, grades: NDArray[np.float64]) -> dict[str, float]:
    """Return sum and number of the grades that are known, for `Task.measure`."""
    known = grades[~np.isnan(grades)]
    return {f"{name}-sum": float(known.sum()), f"{name}-n": float(len(known))}
