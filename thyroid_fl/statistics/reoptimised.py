"""Sensitivity and specificity whose interval includes the choice of the threshold.

N cases in I patients; B resamples.

With the threshold fixed beforehand, `proportion` and `clustered_mean` are right. Where
the threshold was chosen on the very cases that it is judged by, as the paper seems to
have done, the resample has to choose it again; the interval is then some 2.5 times as
wide. The value itself stays optimistic, and no interval mends that.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.statistics.bootstrap import (
    CHUNK,
    IntArray,
    draw_patients,
    patient_strata,
    percentiles,
)
from thyroid_fl.statistics.components import Cases, read_cases
from thyroid_fl.statistics.estimate import Estimate, FloatArray
from thyroid_fl.statistics.roc import youden_threshold


@dataclass(frozen=True, slots=True)
class Reoptimised:
    """What the best threshold of these cases gives on these cases."""

    threshold: float
    """Youden's of the cases; positive if at or above."""
    sensitivity: Estimate
    specificity: Estimate


def reoptimised_bootstrap(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> Reoptimised:
    """Return both rates at Youden's threshold, chosen anew in every resample.

    Patients are drawn within strata (only malignant cases, only benign, both), and
    intervals are percentiles, as in pROC's ``ci.coords(x = "best")``. Of several
    optima the smallest threshold counts. NaN where a class is absent; no interval
    where a class has one patient only.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).
        seed: of the bootstrap.
        clusters: patient of each case, shape (N,); without, one row a patient.
        level: confidence level of the intervals.
        n_resamples: how many resamples.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, a score is not finite, or
            there is no resample.
    """
    cases = read_cases(labels, scores, clusters=clusters)
    strata = patient_strata(cases)
    times = draw_patients(strata, n_resamples, np.random.default_rng(seed))
    times = np.vstack([np.ones_like(times[:1]), times])  # first the data themselves
    rates = _best_rates(cases, times)  # (1 + B, 2)
    estimates = []
    for column, is_class in enumerate((cases.is_malignant, ~cases.is_malignant)):
        n_patients = len(np.unique(cases.clusters[is_class]))
        resampled = rates[1:, column] if n_patients > 1 else np.full(1, math.nan)
        low, high, variance = percentiles(resampled, level)
        found = Estimate(
            value=float(rates[0, column]),
            low=low,
            high=high,
            n=int(is_class.sum()),
            method=f"threshold chosen on these cases and in each of {n_resamples} "
            "resamples of patients; optimistic",
            unit="patient" if clusters is None else "image",
            variance=variance,
            n_clusters=n_patients,
        )
        n_positive = found.n if column == 0 else 0
        estimates.append(dataclasses.replace(found, n_positive=n_positive))
    return Reoptimised(youden_threshold(labels, scores), *estimates)


def _best_rates(cases: Cases, times: IntArray) -> FloatArray:
    """Return sensitivity and specificity at each resample's best threshold, (B, 2)."""
    rates = np.full((len(times), 2), np.nan)
    if cases.n_positive in (0, cases.n):
        return rates
    order = np.argsort(-cases.scores[:, 0], kind="stable")
    descending, is_malignant = cases.scores[order, 0], cases.is_malignant[order]
    is_last = np.append(descending[1:] != descending[:-1], True)  # of equal scores
    step = max(1, CHUNK // cases.n)
    for at in range(0, len(times), step):
        weights = times[at : at + step, cases.clusters[order]]  # (b, N)
        tp = _cumulative(weights * is_malignant, is_last)
        fp = _cumulative(weights * ~is_malignant, is_last)
        m, n = tp[:, -1:], fp[:, -1:]
        # Whole numbers, so that equal optima compare as equal; from the right, so that
        # the smallest threshold wins.
        gain = (tp * n - fp * m)[:, ::-1]
        best = (gain.shape[1] - 1 - gain.argmax(axis=1))[:, None]
        rates[at : at + step, 0] = (np.take_along_axis(tp, best, 1) / m)[:, 0]
        rates[at : at + step, 1] = (1 - np.take_along_axis(fp, best, 1) / n)[:, 0]
    return rates


def _cumulative(weights: IntArray, is_last: npt.NDArray[np.bool_]) -> IntArray:
    """Return how many are at or above each threshold, from infinity downwards."""
    total = np.cumsum(weights, axis=1)[:, is_last]
    return np.hstack([np.zeros((len(total), 1), dtype=total.dtype), total])
