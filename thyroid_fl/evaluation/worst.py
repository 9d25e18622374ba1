"""The worst hospitals of every model, which its mean hides."""

import math
from collections.abc import Iterator

import pandas as pd

from thyroid_fl.evaluation.rows import within
from thyroid_fl.evaluation.tested import hospital_estimates, tested_places
from thyroid_fl.statistics import Estimate, share_below, worst_mean

WORST_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "test_set", "unit", "metric",
    "value", "low", "high", "n", "method", "fold", "seed",
]  # fmt: skip


def worst_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return what the worst hospitals get of every model, with `WORST_COLUMNS`.

    Of the hospitals that count in a mean over hospitals: ``METRIC_worst_hospital``,
    ``METRIC_worst_decile``, and ``METRIC_share_below_internal``, the share of them
    below the lower limit of the internal estimate.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = []
    for names, measure, places in tested_places(predictions):
        if names["unit"] != "patient":
            continue
        internal = places.get(("internal", "all"))
        bound = measure.mean(internal).low if internal else math.nan
        for test_set in ("internal", "external"):
            of_each = hospital_estimates(measure, places, test_set)
            for metric, found in _worst(list(of_each.values()), bound):
                row = {"metric": f"{measure.metric}_{metric}", "test_set": test_set}
                kept = ("value", "low", "high", "n", "method")
                row |= {name: getattr(found, name) for name in kept}
                rows.append(names | row)
    return pd.DataFrame(rows, columns=WORST_COLUMNS)


def _worst(of_each: list[Estimate], bound: float) -> Iterator[tuple[str, Estimate]]:
    values = [found.value for found in of_each]
    variances = [found.variance for found in of_each]
    dfs = [found.n - 1 for found in of_each]
    for metric, share in (("worst_hospital", 0.0), ("worst_decile", 0.1)):
        yield metric, within(worst_mean(values, variances, share=share, dfs=dfs))
    yield "share_below_internal", share_below(values, bound)
