"""The rows of the two tables, whatever the task."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.evaluation.predictions import Model
from thyroid_fl.statistics import Comparison, Estimate, random_effects_mean

RESULT_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "hospital", "test_set", "unit",
    "metric", "value", "low", "high", "n", "n_positive", "method", "fold", "seed",
]  # fmt: skip
COMPARISON_COLUMNS = [
    "task", "comparison", "strategy", "trained_on", "test_set", "hospital", "unit",
    "metric", "difference", "low", "high", "statistic", "p_value", "n", "n_positive",
    "method", "fold", "seed",
]  # fmt: skip
RUN = ("arm", "strategy", "budget", "trained_on", "fold", "seed")
ABSENT: dict[str, Any] = {
    "value": math.nan, "low": math.nan, "high": math.nan, "n": 0, "n_positive": 0,
    "method": "no model for these hospitals",
}  # fmt: skip
MEAN = {"fold": "mean", "seed": "mean"}
ONE_TRAINING = "one training of each model"
"""Said by ``method`` where an interval and P know nothing of another training."""

Row = dict[str, Any]


def result_row(hospital: str, metric: str, estimate: Estimate) -> Row:
    """Return what a row of the results says of an estimate."""
    names = ("unit", "value", "low", "high", "n", "n_positive", "method")
    found = {name: getattr(estimate, name) for name in names}
    return {"hospital": hospital, "metric": metric, **found}


def absent_rows(rows: list[Row]) -> Iterator[Row]:
    """Yield NaN with n = 0 over all hospitals for the test sets that a run lacks."""
    over_all = [row for row in rows if row["hospital"] == "all"]
    runs: dict[tuple[str, ...], set[str]] = {}
    for row in over_all:
        runs.setdefault(tuple(row[name] for name in RUN), set()).add(row["test_set"])
    example = {(row["test_set"], row["unit"], row["metric"]): row for row in over_all}
    for run, tested in runs.items():
        for (test_set, _, _), row in example.items():
            if test_set not in tested:
                yield row | dict(zip(RUN, run, strict=True)) | ABSENT


def comparison_row(unit: str, metric: str, found: Comparison) -> Row:
    """Return what a row of the comparisons says of a difference."""
    row = dataclasses.asdict(found)
    known = {name: row[name] for name in COMPARISON_COLUMNS if name in row}
    return {"unit": unit, "metric": metric, **known}


def pairs(models: list[Model]) -> Iterator[tuple[Row, Model, Model]]:
    """Yield what is compared: the row's names, the first and the second model."""
    federated = [model for model in models if model.arm == "federated"]
    for i, first in enumerate(federated):
        for second in [*(m for m in models if m.arm != "federated"), *federated[:i]]:
            name = f"{first.strategy} - {second.strategy}"
            if second.arm == "single":
                name = f"federated - single ({second.budget})"
            elif second.arm == "pooled":
                name = "federated - pooled"
            yield (
                {
                    "comparison": name,
                    "strategy": first.strategy,
                    "trained_on": second.trained_on,
                },
                first,
                second,
            )


def hospital_means(
    metric: str, by_hospital: dict[str, Estimate], criterion: str, others: str
) -> Iterator[Row]:
    """Yield the mean over hospitals, and what to expect of the next hospital.

    Args:
        metric: its rows are ``METRIC_hospital_mean`` and ``METRIC_new_hospital``.
        by_hospital: the estimates that count; variances positive.
        criterion: which count, in words.
        others: what became of the others, in words.
    """
    mean = random_effects_mean(
        [found.value for found in by_hospital.values()],
        [found.variance for found in by_hospital.values()],
    )
    method = f"{mean.method}; {mean.n} hospitals with {criterion}; {others}"
    for name, low, high, prefix in (
        (f"{metric}_hospital_mean", mean.low, mean.high, ""),
        (
            f"{metric}_new_hospital",
            mean.prediction_low,
            mean.prediction_high,
            "prediction interval; ",
        ),
    ):
        found = dataclasses.replace(mean, low=low, high=high, method=prefix + method)
        yield result_row("all", name, within(found))


def within(estimate: Estimate, highest: float = 1.0) -> Estimate:
    """Return the estimate with limits cut to what the measure can be, from 0."""
    low, high = np.clip([estimate.low, estimate.high], 0, highest)  # keeps NaN
    return dataclasses.replace(estimate, low=float(low), high=float(high))


def told_trainings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with `ONE_TRAINING` in the method of the runs of one seed."""
    is_one = table["seed"] != MEAN["seed"]
    told = table["method"].astype("str") + f"; {ONE_TRAINING}"
    return table.assign(method=table["method"].mask(is_one, told))


def as_table(rows: list[Row], columns: list[str]) -> pd.DataFrame:
    """Return the rows as one of the two tables."""
    return pd.DataFrame(rows, columns=columns).astype({"n_positive": "Int64"})
