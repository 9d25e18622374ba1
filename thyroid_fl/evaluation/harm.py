"""The harm check: is a hospital better off with the federated model than with its own?

Per hospital that also trained alone, federated minus its own model on its own test
cases; *matched* has the hospital's own steps in the federation, *tuned* up to pooled's.
The verdict is read off the 95 % interval: ``helped``, ``no difference shown``,
``harmed``; ``not testable`` where there is no interval. Without any effect one hospital
in forty is called harmed: ``p_holm`` is corrected for the number of hospitals.
"""

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from statsmodels.stats.multitest import multipletests

from thyroid_fl.evaluation import measured
from thyroid_fl.evaluation.rows import Row, told_trainings
from thyroid_fl.evaluation.side_by_side import paired_comparisons
from thyroid_fl.statistics import (
    Comparison,
    Estimate,
    random_effects_mean,
    worst_mean,
)

HARM_COLUMNS = [
    "task", "strategy", "budget", "hospital", "size", "test_set", "unit", "metric",
    "difference", "low", "high", "p_value", "p_holm", "verdict", "n", "n_positive",
    "method", "fold", "seed",
]  # fmt: skip
GROUP = ["task", "strategy", "budget", "test_set", "unit", "metric", "fold", "seed"]


def harm_table(
    predictions: pd.DataFrame, sizes: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return the verdict on each hospital, the largest first, with `HARM_COLUMNS`.

    Detection has no rows.

    Args:
        predictions: of a comparison with single hospitals.
        sizes: training pictures by hospital (``n_train`` of ``hospitals.csv``);
            without, a hospital's size is the number of its test cases.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = [row for row, _ in _own_hospitals(predictions, sizes)]
    table = told_trainings(pd.DataFrame(rows, columns=HARM_COLUMNS))
    for _, group in table.groupby(GROUP, sort=False):
        known = group["p_value"].dropna()
        if len(known):
            _, corrected, _, _ = multipletests(known, method="holm")
            table.loc[known.index, "p_holm"] = corrected
    table = table.sort_values("size", ascending=False, kind="stable")
    return table.astype({"n_positive": "Int64"}).reset_index(drop=True)


def harm_summary(
    predictions: pd.DataFrame, sizes: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Return the endpoints over hospitals, with `HARM_COLUMNS`.

    ``hospital`` says which: ``all``, ``larger half`` and ``smaller half`` (mean over
    hospitals, random effects, Hartung-Knapp), ``worst`` and ``worst decile`` (interval
    simultaneous over hospitals). n counts hospitals that have an interval. Arguments
    are as in `harm_table`.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    found = list(_own_hospitals(predictions, sizes))
    groups: dict[tuple[str, ...], list[tuple[int, Comparison]]] = {}
    for row, comparison in found:
        if comparison.variance > 0:
            key = tuple(str(row[name]) for name in GROUP)
            groups.setdefault(key, []).append((row["size"], comparison))
    rows = []
    for key, members in groups.items():
        for name, estimate in _endpoints(members):
            shown = {"difference": estimate.value, "hospital": name}
            for kept in ("low", "high", "n", "method"):
                shown[kept] = getattr(estimate, kept)
            verdict = {"verdict": verdict_of(estimate.low, estimate.high)}
            rows.append(dict(zip(GROUP, key, strict=True)) | shown | verdict)
    return pd.DataFrame(rows, columns=HARM_COLUMNS)


def verdict_of(low: float, high: float) -> str:
    """Return in words what an interval of federated minus own shows.

    >>> verdict_of(-0.08, -0.01)
    'harmed'
    """
    if math.isnan(low) or math.isnan(high):
        return "not testable"
    if high < 0:
        return "harmed"
    return "helped" if low > 0 else "no difference shown"


def _own_hospitals(
    predictions: pd.DataFrame, sizes: Mapping[str, int] | None
) -> Iterator[tuple[Row, Comparison]]:
    """Yield each hospital's row and the comparison with its own model."""
    for task, measure, of_task in measured(predictions):
        for names, found in paired_comparisons(of_task, measure):
            hospital, budget = names["trained_on"], _budget(names["comparison"])
            if not budget or names["hospital"] != hospital:
                continue
            row = {
                **names,
                "task": task,
                "budget": budget,
                "size": found.n if sizes is None else sizes.get(hospital, 0),
                "metric": measure.metric,
                "verdict": _verdict(found),
                "p_holm": math.nan,
            }
            kept = ("difference", "low", "high", "p_value", "n", "n_positive", "method")
            yield row | {name: getattr(found, name) for name in kept}, found


def _verdict(found: Comparison) -> str:
    """Return the verdict; an interval without width is no interval."""
    if found.variance == 0:
        return "not testable"
    return verdict_of(found.low, found.high)


def _budget(comparison: str) -> str:
    """Return matched or tuned, or nothing where it is no single hospital."""
    return {
        "federated - single (matched)": "matched",
        "federated - single (tuned)": "tuned",
    }.get(comparison, "")


def _endpoints(members: list[tuple[int, Comparison]]) -> Iterator[tuple[str, Estimate]]:
    ordered = [found for _, found in sorted(members, key=lambda m: -m[0])]
    half = (len(ordered) + 1) // 2
    for name, part in (
        ("all", ordered),
        ("larger half", ordered[:half]),
        ("smaller half", ordered[half:]),
    ):
        values = [found.difference for found in part]
        yield name, random_effects_mean(values, [found.variance for found in part])
    values = [found.difference for found in ordered]
    variances = [found.variance for found in ordered]
    dfs = [found.df for found in ordered]
    for name, share in (("worst", 0.0), ("worst decile", 0.1)):
        yield name, worst_mean(values, variances, share=share, dfs=dfs)
