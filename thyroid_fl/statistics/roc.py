"""Points of the ROC curve: the threshold to work at, and the curve with its band.

N cases in I patients; K points of the empirical curve; G specificities of the grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.statistics.bootstrap import patient_strata
from thyroid_fl.statistics.components import Cases, read_cases
from thyroid_fl.statistics.estimate import FloatArray, half_width

GRID = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class RocBand:
    """An ROC curve and its pointwise band; NaN where a class is absent."""

    false_positive_rate: FloatArray
    """The empirical curve, shape (K,), ascending."""
    true_positive_rate: FloatArray
    """The empirical curve, shape (K,)."""
    specificity: FloatArray
    """Where the band is given, shape (G,), ascending."""
    low: FloatArray
    """Lower limit of the sensitivity at each specificity, shape (G,)."""
    high: FloatArray
    """Upper limit of the sensitivity at each specificity, shape (G,)."""
    n_resamples: int


def youden_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the threshold with the largest sensitivity + specificity.

    A case is positive if its score is at least the threshold. Candidates are the
    mid-points between neighbouring scores, and -inf and inf, as in pROC; of several
    optima the smallest. NaN where a class is absent.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.

    >>> youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9])
    0.30000000000000004
    """
    cases = read_cases(labels, scores)
    m, n = cases.n_positive, cases.n - cases.n_positive
    if m == 0 or n == 0:
        return float("nan")
    values, codes = np.unique(cases.scores[:, 0], return_inverse=True)
    n_malignant = np.bincount(codes, cases.is_malignant)
    n_benign = np.bincount(codes, ~cases.is_malignant)
    middle = (values[:-1] + values[1:]) / 2
    # Between neighbouring floats the mid-point may round down to the lower score.
    middle = np.where(middle > values[:-1], middle, values[1:])
    candidates = np.concatenate([[-np.inf], middle, [np.inf]])
    tp = m - np.concatenate([[0], np.cumsum(n_malignant)])
    fp = n - np.concatenate([[0], np.cumsum(n_benign)])
    # Times m n: whole numbers, so that equal optima compare as equal.
    return float(candidates[np.argmax(tp * n - fp * m)])


def roc_curve_band(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 1000,
) -> RocBand:
    """Return the ROC curve with a pointwise band of the sensitivity.

    Percentile bootstrap of patients within strata (only malignant cases, only benign,
    both), so that no resample lacks a class. Between points of a curve the sensitivity
    is linear; at a vertical step it is the upper end.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).
        seed: of the bootstrap.
        clusters: patient of each case, shape (N,); without, one row a patient.
        level: confidence level at each specificity.
        n_resamples: how many resamples.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    half_width(1, level)  # refuses a level out of range
    cases = read_cases(labels, scores, clusters=clusters)
    undefined = np.full(len(GRID), np.nan)
    if cases.n_positive in (0, cases.n):
        nan = np.array([np.nan])
        return RocBand(nan, nan, GRID, undefined, undefined, 0)
    order = np.argsort(-cases.scores[:, 0], kind="stable")
    descending, is_malignant = cases.scores[order, 0], cases.is_malignant[order]
    is_last = np.append(descending[1:] != descending[:-1], True)  # of equal scores
    curve = _curve(np.ones(cases.n), is_malignant, is_last)
    resampled = np.empty((n_resamples, len(GRID)))
    rng = np.random.default_rng(seed)
    for row, weights in zip(resampled, _resamples(cases, rng), strict=False):
        row[:] = np.interp(1 - GRID, *_curve(weights[order], is_malignant, is_last))
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return RocBand(*curve, GRID, low, high, n_resamples)


def _resamples(cases: Cases, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield without end how often a resample of patients holds each case, (N,)."""
    kind = patient_strata(cases)
    strata = [np.flatnonzero(kind == each) for each in np.unique(kind)]
    times = np.empty(len(kind))
    while True:
        for stratum in strata:
            size = len(stratum)
            times[stratum] = rng.multinomial(size, np.full(size, 1 / size))
        yield times[cases.clusters]


def _curve(
    weights: FloatArray,
    is_malignant: npt.NDArray[np.bool_],
    is_last: npt.NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:
    """Return false and true positive rates, from threshold inf downwards."""
    tp = np.append(0, np.cumsum(weights * is_malignant)[is_last])
    fp = np.append(0, np.cumsum(weights * ~is_malignant)[is_last])
    return fp / fp[-1], tp / tp[-1]
