"""The precision-recall curve of boxes, with its band.

K thresholds of a run; R runs of a model (seeds and folds); G recalls of the grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from thyroid_fl.statistics.average_precision import GRID, interpolated_precision
from thyroid_fl.statistics.detection import Detections
from thyroid_fl.statistics.estimate import FloatArray, half_width
from thyroid_fl.statistics.resampling import mean_over_runs, resample_patients


@dataclass(frozen=True, slots=True)
class PrecisionRecallCurve:
    """What each threshold gives, from the highest score down; K may be 0."""

    threshold: FloatArray
    """Each score once, shape (K,), descending; kept are detections at or above it."""
    recall: FloatArray
    """Share of the true boxes that are found, shape (K,), ascending; NaN if none."""
    precision: FloatArray
    """Share of the detections that are true, shape (K,)."""


@dataclass(frozen=True, slots=True)
class PrecisionRecallBand:
    """The envelope of the precision, its mean over runs, and a pointwise band."""

    recall: FloatArray
    """0, 0.01 to 1, shape (G,)."""
    precision: FloatArray
    """Shape (G,); its mean is the 101-point AP. NaN where a run has no true box."""
    low: FloatArray
    """Lower limit of the precision at each recall, shape (G,)."""
    high: FloatArray
    """Upper limit of the precision at each recall, shape (G,)."""
    n_resamples: int


def precision_recall_curve(run: Detections) -> PrecisionRecallCurve:
    """Return the empirical curve of one run, one point a distinct score.

    >>> from thyroid_fl.statistics import match_detections
    >>> pictures = [([[0, 0, 2, 2], [5, 5, 9, 9]], [.9, .8], [[0, 0, 2, 2]], "a")]
    >>> precision_recall_curve(match_detections(pictures)).precision
    array([1. , 0.5])
    """
    is_last = np.append(run.scores[1:] != run.scores[:-1], True)[: len(run.scores)]
    found = np.cumsum(run.is_true)[is_last]
    n_truth = float(run.n_truth.sum()) or np.nan
    return PrecisionRecallCurve(
        threshold=run.scores[is_last],
        recall=found / n_truth,
        precision=found / (1 + np.flatnonzero(is_last)),
    )


def precision_recall_band(
    runs: Sequence[Detections],
    *,
    n_resamples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> PrecisionRecallBand:
    """Return the precision at recalls 0, 0.01 to 1, its mean over runs, with a band.

    The envelope of COCO, see `average_precision`; percentile bootstrap of patients,
    recall by recall. No band with fewer than two patients with true boxes.

    Args:
        runs: one or more, each with pictures of its own or of the same patients.
        n_resamples: of the bootstrap, see `thyroid_fl.statistics.resampling`.
        seed: of the bootstrap.
        level: confidence level at each recall.

    Raises:
        ConfigError: no run, or a patient with other pictures in one run than in
            another.
    """
    half_width(1, level)  # refuses a level out of range
    resamples = resample_patients(runs, n_resamples=n_resamples, seed=seed)
    means = mean_over_runs(
        resamples.times,
        resamples.columns,
        [partial(interpolated_precision, run) for run in runs],
        width=max(len(run.scores) for run in runs),
    )
    low, high = np.quantile(means[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    if np.count_nonzero(resamples.n_truth) < 2:
        low, high = np.full((2, len(GRID)), np.nan)
    return PrecisionRecallBand(GRID, means[0], low, high, n_resamples)
