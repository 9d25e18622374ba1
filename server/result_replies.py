"""Test results as the centre reads them: each hospital's checked, or left out.

A hospital may be wrong or lie within what is possible; what cannot be true of any test
patients is refused.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import MetricRecord, RecordDict

from thyroid_fl.server.summary_replies import check_keys, whole_number
from thyroid_fl.settings import Study
from thyroid_fl.site_results import (
    AUC,
    AUC_VARIANCE,
    CLASSES,
    IS_EXTERNAL,
    LEVEL,
    LEVELS,
    N_IMAGES,
    N_PATIENTS,
    RECORD,
    Level,
    bins_key,
    count_key,
    scores_key,
    sums_keys,
)
from thyroid_fl.statistics.pooled import N_BINS, SiteAuc, possible_aucs, site_auc
from thyroid_fl.statistics.pooled_means import MeanSums
from thyroid_fl.strategies.replies import UnusableReplyError
from thyroid_fl.tasks import TASKS, Task

logger = logging.getLogger(__name__)

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SiteResult:
    """What one hospital told of a test."""

    level: Level
    is_external: bool
    """It has no training cases: all its patients are new, and so is the hospital."""
    n_images: int
    n_patients: int
    auc: SiteAuc | None
    """None where the task does not rank."""
    means: Mapping[str, MeanSums]
    """By name; empty where the task ranks."""


def read_results(
    study: Study, replies: Mapping[int, RecordDict]
) -> tuple[dict[int, SiteResult], dict[int, str]]:
    """Return the results by node; and the nodes whose reply is left out, with why."""
    results: dict[int, SiteResult] = {}
    left_out: dict[int, str] = {}
    for node, content in sorted(replies.items()):
        try:
            results[node] = read_result(TASKS[study.task], content)
        except UnusableReplyError as fault:
            left_out[node] = str(fault)
            logger.warning("node %d is left out of the test: %s", node, fault)
    return results, left_out


def read_result(task: Task, content: RecordDict) -> SiteResult:
    """Return what a hospital told.

    Raises:
        UnusableReplyError: it is not as `thyroid_fl.site_results` has it, or cannot be
            true of any patients; the fault.
    """
    record = content.get(RECORD)
    if not isinstance(record, MetricRecord) or len(content) > 1:
        raise UnusableReplyError(f"expected one metric record {RECORD!r} and no other")
    level = LEVELS[whole_number(record, LEVEL, 0, len(LEVELS) - 1)]
    check_keys(record, {LEVEL, IS_EXTERNAL, N_IMAGES, N_PATIENTS, *_keys(task, level)})
    n_images = whole_number(record, N_IMAGES, 0)
    n_patients = whole_number(record, N_PATIENTS, min(n_images, 1), n_images)
    means = {name: _sums(record, name, n_patients) for name in task.test_means}
    return SiteResult(
        level=level,
        is_external=bool(whole_number(record, IS_EXTERNAL, 0, 1)),
        n_images=n_images,
        n_patients=n_patients,
        auc=None if task.test_means else _auc(record, level, n_patients),
        means=means,
    )


def _keys(task: Task, level: Level) -> set[str]:
    if task.test_means:
        return {key for name in task.test_means for key in sums_keys(name)}
    finer = {"metrics": (), "histogram": (bins_key,), "scores": (scores_key,)}
    keys = [key(of_class) for key in (count_key, *finer[level]) for of_class in CLASSES]
    return {AUC, AUC_VARIANCE, *keys}


def _auc(record: MetricRecord, level: Level, n_patients: int) -> SiteAuc:
    n, m = (whole_number(record, count_key(name), 0, n_patients) for name in CLASSES)
    if n + m != n_patients:
        raise UnusableReplyError(f"{n} benign and {m} malignant are not {n_patients}")
    # With values from 0 to 1, the variance of m of them is at most m / (m - 1) / 4.
    most = 0.25 / (m - 1) + 0.25 / (n - 1) if min(n, m) > 1 else math.nan
    told = SiteAuc(
        n_benign=n,
        n_malignant=m,
        value=_number(record, AUC, 1.0 if min(n, m) else math.nan),
        variance=_number(record, AUC_VARIANCE, most),
    )
    if level == "metrics":
        return told
    if level == "scores":
        benign, malignant = (
            _scores(record, scores_key(name), size)
            for name, size in zip(CLASSES, (n, m), strict=True)
        )
        exact = site_auc([0] * n + [1] * m, benign + malignant)
        _compare(told, exact.value, exact.value)
        return exact
    bins = np.array(
        [
            _bins(record, bins_key(name), size)
            for name, size in zip(CLASSES, (n, m), strict=True)
        ]
    )
    _compare(told, *possible_aucs(bins))
    return SiteAuc(
        n_benign=n, n_malignant=m, value=told.value, variance=told.variance, bins=bins
    )


def _compare(told: SiteAuc, low: float, high: float) -> None:
    if told.n_pairs and not low - ROUNDING <= told.value <= high + ROUNDING:
        raise UnusableReplyError(
            f"{AUC} is {told.value:.4g}, which its scores or bins contradict"
        )


def _number(record: MetricRecord, key: str, most: float) -> float:
    """Return a number from 0 to the most; where that is NaN, NaN is expected."""
    value = record[key]
    if not isinstance(value, int | float):
        raise UnusableReplyError(f"{key} is a list; expected one number")
    is_right = math.isnan(value) if math.isnan(most) else 0 <= value <= most + ROUNDING
    if not is_right:
        wanted = "NaN: too few patients" if math.isnan(most) else f"0 to {most:.4g}"
        raise UnusableReplyError(f"{key} is {value}; expected {wanted}")
    return float(value)


def _bins(record: MetricRecord, key: str, n: int) -> list[int]:
    counts = record[key]
    if not isinstance(counts, list) or len(counts) != N_BINS:
        raise UnusableReplyError(f"{key}: expected a list of {N_BINS} counts")
    whole = [count for count in counts if isinstance(count, int) and 0 <= count <= n]
    if len(whole) != N_BINS or sum(whole) != n:
        raise UnusableReplyError(f"{key}: expected counts from 0 that sum to {n}")
    return whole


def _scores(record: MetricRecord, key: str, n: int) -> list[float]:
    scores = record[key]
    if not isinstance(scores, list) or len(scores) != n:
        raise UnusableReplyError(f"{key}: expected a list of {n} scores")
    if not all(0 <= score <= 1 for score in scores) or sorted(scores) != scores:
        raise UnusableReplyError(f"{key}: expected scores from 0 to 1, ascending")
    return list(map(float, scores))


def _sums(record: MetricRecord, name: str, n_patients: int) -> MeanSums:
    n_key, total_key, deviations_key = sums_keys(name)
    n = whole_number(record, n_key, 0, n_patients)
    total = _number(record, total_key, n)
    # Of values from 0 to 1 the squares sum to no more than the values.
    most = total - total**2 / n if n > 1 else 0.0
    deviations = _number(record, deviations_key, most + ROUNDING * n)
    return MeanSums(n=n, total=total, deviations=deviations if n > 1 else 0.0)
