"""What a detector does at one threshold: hits, misses, false alarms, and their rates.

A detection is kept if its score is at least the threshold. Choose the threshold on
validation pictures, never on the test pictures that the rates are for. R runs of a
model (seeds and folds), each with its own threshold; C patients of a run.

Dropping the lower scores changes no match among the higher ones, so `Detections`
serve every threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.detection import Detections
from thyroid_fl.statistics.estimate import Estimate, FloatArray
from thyroid_fl.statistics.resampling import (
    Times,
    mean_over_runs,
    resample_patients,
    resampled_estimate,
)

Rate = Literal["f1", "sensitivity", "false_positives_per_picture"]


@dataclass(frozen=True, slots=True)
class DetectionCounts:
    """What a threshold makes of all pictures."""

    true_positives: int
    """True boxes that are found."""
    false_positives: int
    """Detections without a true box to themselves."""
    misses: int
    """True boxes that are not found."""
    n_pictures: int


def best_f1_threshold(run: Detections) -> float:
    """Return the threshold with the largest F1, for use on other pictures.

    Candidates are the mid-points between neighbouring scores, and -inf and inf; of
    several optima the largest, which has the fewest false positives. So it is inf,
    nothing kept, where no detection is true. NaN where there is no true box.
    """
    n_truth = int(run.n_truth.sum())
    if n_truth == 0:
        return math.nan
    is_last = np.append(run.scores[1:] != run.scores[:-1], True)[: len(run.scores)]
    values = run.scores[is_last]
    middle = (values[:-1] + values[1:]) / 2
    # Between neighbouring floats the mid-point may round down to the lower score.
    middle = np.where(middle > values[1:], middle, values[:-1])
    candidates = np.concatenate([[np.inf], middle, np.full(len(values[:1]), -np.inf)])
    found = np.append(0, np.cumsum(run.is_true)[is_last])
    kept = np.append(0, 1 + np.flatnonzero(is_last))
    return float(candidates[np.argmax(2 * found / (kept + n_truth))])


def detection_counts(run: Detections, threshold: float) -> DetectionCounts:
    """Return the hits, false alarms and misses of one run at a threshold.

    Raises:
        ConfigError: the threshold is NaN.
    """
    if math.isnan(threshold):
        raise ConfigError("the threshold is NaN; validation had no nodule to set it by")
    found, kept = (int(each.sum()) for each in _found_and_kept(run, threshold))
    return DetectionCounts(
        true_positives=found,
        false_positives=kept - found,
        misses=int(run.n_truth.sum()) - found,
        n_pictures=int(run.n_pictures.sum()),
    )


def detection_rate(
    rate: Rate,
    runs: Sequence[Detections],
    thresholds: Sequence[float],
    *,
    n_resamples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> Estimate:
    """Return a rate at a threshold, its mean over runs, with a bootstrap of patients.

    Over all pictures of a run: "sensitivity" is hits / true boxes, "f1" is 2 hits /
    (true boxes + detections), "false_positives_per_picture" false detections /
    pictures. Percentile interval. Of the sensitivity of one run with one nodule a
    patient, `proportion` gives Wilson's interval, which is better where hardly any or
    nearly all nodules are found.

    Args:
        rate: which.
        runs: one or more, each with pictures of its own or of the same patients.
        thresholds: one a run; a NaN threshold makes the rate NaN.
        n_resamples: of the bootstrap, see `thyroid_fl.statistics.resampling`.
        seed: of the bootstrap.
        level: confidence level of the interval.

    Returns:
        n counts true boxes, or pictures where those are the denominator. NaN where a
        run has none; no interval with fewer than two patients that have one.

    Raises:
        ConfigError: an unknown rate, not one threshold a run, no run, or a patient with
            other pictures in one run than in another.
    """
    if rate not in get_args(Rate):
        known = ", ".join(get_args(Rate))
        raise ConfigError(f"rate is {rate!r}; expected one of: {known}")
    if len(runs) != len(thresholds):
        raise ConfigError(
            f"{len(thresholds)} thresholds for {len(runs)} runs; expected one each"
        )
    resamples = resample_patients(runs, n_resamples=n_resamples, seed=seed)
    parts = [
        _parts(rate, run, threshold)
        for run, threshold in zip(runs, thresholds, strict=True)
    ]
    means = mean_over_runs(
        resamples.times, resamples.columns, [partial(_ratio, *each) for each in parts]
    )
    is_by_picture = rate == "false_positives_per_picture"
    return resampled_estimate(
        means,
        resamples,
        rate.replace("_", " "),
        counts=resamples.n_pictures if is_by_picture else resamples.n_truth,
        unit="image" if is_by_picture else "nodule",
        level=level,
    )


def _parts(
    rate: Rate, run: Detections, threshold: float
) -> tuple[FloatArray, FloatArray]:
    """Return numerator and denominator of each patient, (C,) both."""
    found, kept = _found_and_kept(run, threshold)
    if rate == "f1":
        # Without true boxes there is no sensitivity, hence no F1, whatever is kept.
        both = run.n_truth + kept if run.n_truth.any() else np.zeros(len(kept))
        return 2 * found, both
    if rate == "sensitivity":
        return found, run.n_truth.astype(np.float64)
    return kept - found, run.n_pictures.astype(np.float64)


def _found_and_kept(run: Detections, threshold: float) -> tuple[FloatArray, FloatArray]:
    """Return each patient's true detections and all detections, (C,) both."""
    if math.isnan(threshold):
        undefined = np.full(len(run.patients), np.nan)
        return undefined, undefined
    is_kept = run.scores >= threshold
    n = len(run.patients)
    kept = np.bincount(run.cluster[is_kept], minlength=n)
    found = np.bincount(run.cluster[is_kept & run.is_true], minlength=n)
    return found.astype(np.float64), kept.astype(np.float64)


def _ratio(above: FloatArray, below: FloatArray, times: Times) -> FloatArray:
    """Return the ratio of sums over patients, (C,) each, by weights (b, C), (b,)."""
    total = times @ below
    return np.asarray(times @ above / np.where(total > 0, total, np.nan))
