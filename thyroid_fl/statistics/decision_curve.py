"""Net benefit: what acting on a probability of malignancy is worth.

N patients, one row each; T thresholds.

Whoever acts from probability t upwards takes 1 / t - 1 needless punctures for one found
cancer, so at that threshold the net benefit is
true positives / N - false positives / N x t / (1 - t)
(Vickers & Elkin, Med Decis Making 2006;26:565). It is a mean over patients, and its
interval that of a mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.components import read_cases
from thyroid_fl.statistics.estimate import FloatArray, half_width

THRESHOLDS = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True, slots=True)
class DecisionCurve:
    """Net benefit of the model and of treating all; that of treating nobody is 0."""

    threshold: FloatArray
    """Shape (T,)."""
    net_benefit: FloatArray
    """Of the model, per patient, shape (T,)."""
    low: FloatArray
    """Pointwise lower limit of `net_benefit`, shape (T,)."""
    high: FloatArray
    """Pointwise upper limit of `net_benefit`, shape (T,)."""
    treat_all: FloatArray
    """Net benefit of acting on everybody, shape (T,)."""
    gain: FloatArray
    """Model minus the better of treating all and nobody, shape (T,)."""
    gain_low: FloatArray
    """Pointwise lower limit of `gain`, paired by patient, shape (T,)."""
    gain_high: FloatArray
    """Pointwise upper limit of `gain`, paired by patient, shape (T,)."""
    n: int


def decision_curve(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    thresholds: npt.ArrayLike = THRESHOLDS,
    level: float = 0.95,
) -> DecisionCurve:
    """Return the decision curve with pointwise t intervals over patients.

    NaN without patients; no interval with one. Which of treating all and nobody is
    better is read off the same patients.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        probabilities: of malignancy; positive if at or above; shape (N,).
        thresholds: above 0 and below 1; shape (T,).
        level: confidence level at each threshold.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a probability or a
            threshold is out of range.
    """
    cases = read_cases(labels, probabilities)
    cut = np.asarray(thresholds, dtype=np.float64)
    if np.any(~((cut > 0) & (cut < 1))):
        raise ConfigError("a threshold is not between 0 and 1; leave it out")
    if np.any((cases.scores < 0) | (cases.scores > 1)):
        raise ConfigError(
            "a probability is not from 0 to 1: scores have no net benefit"
        )
    half_width(1, level)  # refuses a level out of range
    # What acting on a patient is worth at each threshold, (T, N).
    worth = np.where(cases.is_malignant, 1.0, -(cut / (1 - cut))[:, None])
    of_model = np.where(cases.scores[:, 0] >= cut[:, None], worth, 0)
    treat_all = _means(worth)
    of_better = np.where(treat_all[:, None] > 0, worth, 0)
    net_benefit, low, high = _with_limits(of_model, level)
    gain, gain_low, gain_high = _with_limits(of_model - of_better, level)
    return DecisionCurve(
        cut, net_benefit, low, high, treat_all, gain, gain_low, gain_high, cases.n
    )


def _means(values: FloatArray) -> FloatArray:
    n = values.shape[1]
    return values.mean(axis=1) if n else np.full(len(values), np.nan)


def _with_limits(
    values: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, low and high of each row of (T, N)."""
    n, mean = values.shape[1], _means(values)
    if n < 2:
        return mean, np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    half = half_width(1, level, n - 1) * np.sqrt(values.var(axis=1, ddof=1) / n)
    return mean, mean - half, mean + half
