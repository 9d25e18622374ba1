"""Weighted means over hospitals, of arrays and of metrics.

The arrays' mean is a running one: its memory does not grow with the hospitals.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
from flwr.app import MetricRecord, RecordDict
from numpy.typing import NDArray

from thyroid_fl.packing import Arrays

logger = logging.getLogger(__name__)


def weighted_mean(
    updates: Iterable[tuple[float, Arrays]],
    dtypes: Mapping[str, np.dtype[Any]] | None = None,
) -> Arrays | None:
    """Return the mean of the updates' arrays, weighted by n; None if there is none.

    n x array is summed in float64 and divided once, so that the order of arrival does
    not change a float32 model: float64 carries 29 bits more, and a mean must lie within
    a few units of the last of them from a rounding boundary to be rounded otherwise.

    Only floating-point (and complex) arrays are averaged; any other, such as the
    integer ``num_batches_tracked`` of BatchNorm, is taken from the first update.

    Args:
        updates: pairs (n, arrays), all of the same names and shapes, read one by one.
        dtypes: of the result; a floating-point array not named here keeps that of the
            first update.
    """
    total: Arrays = {}
    result: Arrays = {}
    result_dtypes: dict[str, np.dtype[Any]] = {}
    n_total = 0.0
    for n, arrays in updates:
        for name, array in arrays.items():
            if name in total:
                total[name] += np.multiply(array, n, dtype=total[name].dtype)
            elif np.issubdtype(array.dtype, np.inexact):
                wide = np.result_type(array.dtype, np.float64)
                # asarray: numpy makes a scalar of a product of 0-d arrays.
                total[name] = np.asarray(np.multiply(array, n, dtype=wide))
                result_dtypes[name] = (dtypes or {}).get(name, array.dtype)
            elif name not in result:
                result[name] = array.copy()
        n_total += n
        del arrays, array  # freed before the next one is pulled
    for name in list(total):
        # Popped, so that the sums shrink while the means grow.
        mean = np.asarray(total.pop(name) / n_total)
        result[name] = mean.astype(result_dtypes[name])
    return result or None


def mean_metrics(records: Sequence[RecordDict], weighted_by_key: str) -> MetricRecord:
    """Return each metric's mean, weighted by n; the weight itself is left out.

    As Flower's own, but NaN from one hospital does not spoil the mean of the others:
    it is left out of that metric together with its weight, and so is a metric that a
    hospital does not report. A metric that nobody knows is NaN.
    """
    values: dict[str, list[tuple[float, NDArray[np.float64]]]] = {}
    for metrics in _metrics(records):
        n = _number(metrics, weighted_by_key)
        for name, value in metrics.items():
            if name != weighted_by_key:
                values.setdefault(name, []).append((n, np.asarray(value, np.float64)))
    result = MetricRecord()
    for name, pairs in values.items():
        if len({value.shape for _, value in pairs}) > 1:
            logger.warning("metric %r is left out: its lists differ in length", name)
            continue
        stack = np.stack([value for _, value in pairs])  # (hospitals, ...)
        n_each = np.array([n for n, _ in pairs]).reshape(-1, *[1] * (stack.ndim - 1))
        is_known = ~np.isnan(stack)
        n_known = (is_known * n_each).sum(axis=0)
        total = np.where(is_known, stack * n_each, 0).sum(axis=0)
        unknown = np.full(total.shape, nan)
        mean = np.divide(total, n_known, out=unknown, where=n_known > 0)
        result[name] = mean.tolist()
    return result


def validation_metrics(
    records: Sequence[RecordDict], weighted_by_key: str
) -> MetricRecord:
    """Return `mean_metrics`, and the ratio of what the hospitals report as two sums.

    Of ``NAME-sum`` and ``NAME-n`` the hospitals' sums give NAME: exact, whatever the
    sizes of the hospitals, and NaN without a case. So ``auc-sum``, the pairs of a
    malignant and a benign case that are ranked rightly, and ``auc-n``, all such pairs,
    give the AUC within hospitals.
    """
    result = mean_metrics(records, weighted_by_key)
    names = [name.removesuffix("-sum") for name in result if name.endswith("-sum")]
    for name in (name for name in names if f"{name}-n" in result):
        keys = (f"{name}-sum", f"{name}-n")
        sums = [
            [_number(metrics, key) for key in keys]
            for metrics in _metrics(records)
            if metrics.keys() >= set(keys)
        ]
        known = [pair for pair in sums if isfinite(sum(pair))]
        n = sum(n for _, n in known)
        for key in keys:
            del result[key]
        result[name] = sum(total for total, _ in known) / n if n > 0 else nan
    return result


def _number(metrics: MetricRecord, name: str) -> float:
    value = metrics[name]
    return nan if isinstance(value, list) else float(value)


def _metrics(records: Sequence[RecordDict]) -> list[MetricRecord]:
    return [m for r in records for m in r.values() if isinstance(m, MetricRecord)]
