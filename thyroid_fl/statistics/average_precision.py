"""Average precision (AP) of boxes, alone and in comparison.

R runs of a model (seeds and folds), D detections and C patients of a run; B resamples;
G recalls of the grid; K true detections.

Missed nodules count: recall is the share of all true boxes. scikit-learn's
`average_precision_score` never sees them, and is another number. A patient that a
resample holds twice counts twice at each of its detections, which is exactly the AP of
the resampled pictures: along copies of one true detection the precision only rises, so
that the envelope is level.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import numpy as np

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.detection import Detections
from thyroid_fl.statistics.estimate import Comparison, Estimate, FloatArray
from thyroid_fl.statistics.resampling import (
    Resamples,
    Times,
    describe,
    mean_over_runs,
    percentile_interval,
    resample_patients,
    resampled_estimate,
)

Interpolation = Literal["101", "continuous"]
_NAMES = {"101": "101-point AP", "continuous": "AP of the whole envelope"}
GRID = np.linspace(0, 1, 101)


def average_precision(
    runs: Sequence[Detections],
    *,
    interpolation: Interpolation = "101",
    n_resamples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> Estimate:
    """Return the AP, its mean over runs, with a percentile bootstrap of patients.

    The envelope of a precision-recall curve is, at each recall, the highest precision
    at that recall or above, and 0 beyond the last. "101" is its mean at recalls 0, 0.01
    to 1 (COCO; equal to pycocotools to rounding), "continuous" the area below it (VOC
    from 2010). Of several runs the value is the mean of their APs, and one resample
    serves all of them; training variation is not included.

    Args:
        runs: one or more, each with pictures of its own or of the same patients.
        interpolation: of the envelope.
        n_resamples: of the bootstrap, see `thyroid_fl.statistics.resampling`.
        seed: of the bootstrap.
        level: confidence level of the interval.

    Returns:
        From 0 to 1; n counts true boxes. NaN where a run has no true box; no interval
        with fewer than two patients with true boxes.

    Raises:
        ConfigError: no run, an unknown interpolation, or a patient with other pictures
            in one run than in another.
    """
    resamples = resample_patients(runs, n_resamples=n_resamples, seed=seed)
    means = _means(runs, resamples, interpolation)
    return resampled_estimate(
        means,
        resamples,
        _NAMES[interpolation],
        counts=resamples.n_truth,
        unit="nodule",
        level=level,
    )


def compare_average_precisions(
    first: Sequence[Detections],
    second: Sequence[Detections],
    *,
    interpolation: Interpolation = "101",
    n_resamples: int = 2000,
    seed: int = 1,
    level: float = 0.95,
) -> Comparison:
    """Return first minus second AP, each a mean over runs, on the same patients.

    Both are computed in the same resamples of patients; percentile interval. The p
    value is twice the smaller share of resampled differences at or beyond 0, from
    1 / (B + 1) to 1: it fits the interval. There is no statistic (NaN). Arguments are
    as in `average_precision`; n counts true boxes.

    Raises:
        ConfigError: as `average_precision`, or the two were not tested on the same
            patients.
    """
    tested = [
        {name for run in runs for name in run.patients} for runs in (first, second)
    ]
    if not first or not second or tested[0] != tested[1]:
        raise ConfigError(
            f"first has {len(first)} runs on {len(tested[0])} patients, second "
            f"{len(second)} on {len(tested[1])}, {len(tested[0] & tested[1])} in both; "
            "expected runs of both on the same patients"
        )
    resamples = resample_patients([*first, *second], n_resamples=n_resamples, seed=seed)
    difference = _means(first, resamples, interpolation) - _means(
        second, resamples, interpolation, start=len(first)
    )
    low, high, variance = percentile_interval(
        difference[1:], resamples.n_truth, level=level
    )
    name = f"paired {_NAMES[interpolation]}, {len(first)} and {len(second)} runs"
    return Comparison(
        difference=float(difference[0]),
        low=low,
        high=high,
        statistic=math.nan,
        p_value=math.nan if math.isnan(low) else _p_value(difference[1:]),
        method=describe(name, resamples, variance),
        variance=variance,
        n=int(resamples.n_truth.sum()),
    )


def interpolated_precision(run: Detections, times: Times) -> FloatArray:
    """Return the envelope of the precision at the recalls of the grid, (b, 101).

    Args:
        run: its detections.
        times: how often each patient counts, shape (b, C).

    Returns:
        0 beyond the last recall; NaN where no true box counts.
    """
    recall, envelope = _envelope(run, times)
    reached = np.searchsorted(GRID, recall, side="right")  # (b, K + 1), up to 101
    steps = np.diff(reached, axis=1, prepend=0)
    return np.repeat(envelope.ravel(), steps.ravel()).reshape(len(times), len(GRID))


def area_below_envelope(run: Detections, times: Times) -> FloatArray:
    """Return the area below the envelope, (b,); arguments as above; NaN likewise."""
    recall, envelope = _envelope(run, times)
    return np.asarray((np.diff(recall, axis=1, prepend=0) * envelope).sum(axis=1))


def _means(
    runs: Sequence[Detections],
    resamples: Resamples,
    interpolation: Interpolation,
    *,
    start: int = 0,
) -> FloatArray:
    """Return the mean AP in the data and in each resample, (1 + B,)."""
    if interpolation not in get_args(Interpolation):
        known = ", ".join(get_args(Interpolation))
        raise ConfigError(
            f"interpolation is {interpolation!r}; expected one of: {known}"
        )
    one = _average_at_grid if interpolation == "101" else area_below_envelope
    return mean_over_runs(
        resamples.times,
        resamples.columns[start : start + len(runs)],
        [partial(one, run) for run in runs],
        width=max(len(run.scores) for run in runs),
    )


def _average_at_grid(run: Detections, times: Times) -> FloatArray:
    return np.asarray(interpolated_precision(run, times).mean(axis=1))


def _envelope(run: Detections, times: Times) -> tuple[FloatArray, FloatArray]:
    """Return the recall at each true detection and the best precision from there on.

    Both have shape (b, K + 1); at the end stands recall 1 with precision 0. The
    precision is NaN where no true box counts.
    """
    weights = times[:, run.cluster]  # (b, D)
    kept = np.cumsum(weights, axis=1)[:, run.is_true]
    found = np.cumsum(weights[:, run.is_true], axis=1)
    n_truth = (times @ run.n_truth)[:, None]
    recall = np.ones((len(times), found.shape[1] + 1))
    recall[:, :-1] = found / np.maximum(n_truth, 1)
    precision = np.zeros(recall.shape)
    precision[:, :-1] = found / np.maximum(kept, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return recall, np.where(n_truth > 0, envelope, np.nan)


def _p_value(differences: FloatArray) -> float:
    """Return the two-sided p value of resampled differences, (B,)."""
    share = min(np.mean(differences <= 0), np.mean(differences >= 0))
    return float(np.clip(2 * share, 1 / (len(differences) + 1), 1))
