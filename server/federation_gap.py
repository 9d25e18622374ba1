"""What a federation's model loses where it was not trained, and its worst hospitals.

From the results that the hospitals told: no score of a patient is needed. The targets
are those of `thyroid_fl.evaluation.gap`.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from thyroid_fl.evaluation import classification, segmentation
from thyroid_fl.evaluation.rows import Row, within
from thyroid_fl.server.federation import Federation
from thyroid_fl.statistics import (
    Estimate,
    RandomEffects,
    new_hospital_gap,
    random_effects_mean,
    worst_mean,
)
from thyroid_fl.statistics.estimate import compared
from thyroid_fl.statistics.groups import satterthwaite

LEVEL = 0.95
GAP_COLUMNS = [
    "metric", "target", "unit", "internal", "external", "difference", "low", "high",
    "n_internal", "n_external", "method",
]  # fmt: skip
WORST_COLUMNS = ["metric", "test_set", "endpoint", "value", "low", "high", "n"]
ENDPOINTS = {"worst hospital": 0.0, "worst decile": 0.1}


def gap_table(federation: Federation) -> pd.DataFrame:
    """Return internal minus external results, with `GAP_COLUMNS`; empty without both.

    A row a target: these hospitals (all their patients together; the interval is
    widened by the bounds of both values), hospitals like these and the next hospital
    (random effects over hospitals that count). NaN where too few hospitals count.
    """
    tests, sites = federation.tests, federation.sites
    if (
        tests is None
        or sites is None
        or not {"internal", "external"} <= set(tests["test_set"])
    ):
        return pd.DataFrame(columns=GAP_COLUMNS)
    rows = [*_these(tests), *_like_these(sites, str(tests["metric"].iloc[0]))]
    return pd.DataFrame(rows, columns=GAP_COLUMNS)


def worst_table(federation: Federation) -> pd.DataFrame:
    """Return what the worst hospitals get, with `WORST_COLUMNS`; empty without any.

    Of the hospitals that count in a mean over hospitals, in the main metric; intervals
    are simultaneous over them (`worst_mean`).
    """
    tests, sites = federation.tests, federation.sites
    rows: list[Row] = []
    if tests is not None and sites is not None and len(tests):
        metric = str(tests["metric"].iloc[0])
        for test_set in ("internal", "external"):
            counted = _counted(sites, metric, test_set)
            if counted:
                rows += [
                    {"metric": metric, "test_set": test_set, **row}
                    for row in _worst(counted)
                ]
    return pd.DataFrame(rows, columns=WORST_COLUMNS)


def _these(tests: pd.DataFrame) -> Iterator[Row]:
    """Yield the gap of each metric that is over patients or pairs of them.

    The variance of an AUC within hospitals is that over hospitals: they are the sample.
    """
    over_patients = tests[tests["unit"] == "patient"]
    for metric, rows in over_patients.groupby("metric", sort=False):
        by_set: dict[str, Any] = {str(row.test_set): row for row in rows.itertuples()}
        if not {"internal", "external"} <= by_set.keys():
            continue
        yield _gap(str(metric), by_set["internal"], by_set["external"])


def _gap(metric: str, inside: Any, outside: Any) -> Row:
    """Return the row of two rows of the tests, which are of one metric."""
    is_within = metric.endswith("_within_site")
    counted = "n_hospitals" if is_within else "n"
    sizes = [int(getattr(row, counted)) for row in (inside, outside)]
    parts = [inside.variance, outside.variance]
    unit = "hospital" if is_within else "patient"
    found = compared(
        inside.estimate - outside.estimate,
        sum(parts),
        f"separate {unit}s, Welch t",
        level=LEVEL,
        df=satterthwaite(parts, [size - 1 for size in sizes]),
        n=sum(sizes),
    )
    bound = inside.bound + outside.bound
    return {
        "metric": metric,
        "target": "hospitals like these" if is_within else "these hospitals",
        "unit": unit,
        "internal": inside.estimate,
        "external": outside.estimate,
        "difference": found.difference,
        "low": found.low - bound,
        "high": found.high + bound,
        "n_internal": sizes[0],
        "n_external": sizes[1],
        "method": found.method + ("; widened by both bounds" if bound else ""),
    }


def _like_these(sites: pd.DataFrame, metric: str) -> Iterator[Row]:
    inside, outside = (
        _over_hospitals(_counted(sites, metric, test_set))
        for test_set in ("internal", "external")
    )
    found = new_hospital_gap(inside, outside, level=LEVEL)
    limits = {
        "hospitals like these": (found.low, found.high),
        "the next hospital": (found.prediction_low, found.prediction_high),
    }
    for target, (low, high) in limits.items():
        yield {
            "metric": f"{metric}_hospital_mean",
            "target": target,
            "unit": "hospital",
            "internal": inside.value,
            "external": outside.value,
            "difference": found.difference,
            "low": low,
            "high": high,
            "n_internal": inside.n,
            "n_external": outside.n,
            "method": found.method,
        }


def _worst(counted: list[Estimate]) -> Iterator[Row]:
    values = [one.value for one in counted]
    variances = [one.variance for one in counted]
    dfs = [one.n - 1 for one in counted]
    for endpoint, share in ENDPOINTS.items():
        found = within(worst_mean(values, variances, share=share, dfs=dfs, level=LEVEL))
        kept = {name: getattr(found, name) for name in ("value", "low", "high", "n")}
        yield {"endpoint": endpoint, **kept}


def _counted(sites: pd.DataFrame, metric: str, test_set: str) -> list[Estimate]:
    """Return the hospitals' own results that count in a mean over hospitals."""
    rows = sites[(sites["metric"] == metric) & (sites["test_set"] == test_set)]
    has_enough = (
        classification.has_enough if metric == "auc" else segmentation.has_enough
    )
    found = [_estimate(row) for row in rows.itertuples()]
    return [one for one in found if has_enough(one)]


def _estimate(row: Any) -> Estimate:
    return Estimate(
        value=row.estimate,
        low=row.low,
        high=row.high,
        n=int(row.n),
        method="told by the hospital",
        unit=row.unit,
        variance=row.variance,
        n_positive=None if pd.isna(row.n_positive) else int(row.n_positive),
    )


def _over_hospitals(counted: list[Estimate]) -> RandomEffects:
    return random_effects_mean(
        [one.value for one in counted], [one.variance for one in counted], level=LEVEL
    )
