"""Generalisation matrices: trained on one source, or on several; tested on each.

A source is a hospital, a vendor or a region; the predictions have it as ``hospital``.
Rows are models, columns the sources' test cases and all of them together (`MIXED`).
The rows' kinds:

- ``single``: trained on one source;
- ``others``: on all other sources (leave one out);
- ``equal``: on as many patients as the source has, drawn from all sources;
- ``mixed``: on all of them in one place;
- ``federated``: on all of them, each source a node of its own.

With the same number of steps for all, ``equal - single`` is what diversity gives and
``mixed - equal`` what size gives.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from thyroid_fl.evaluation import EVALUATIONS, results_table
from thyroid_fl.evaluation.predictions import (
    MODEL_COLUMNS,
    Model,
    by_task,
    models_of,
    test_cases,
)
from thyroid_fl.evaluation.rows import MEAN, Row

OTHERS, EQUAL = "others", "equal"
KINDS = ("single", OTHERS, EQUAL, "mixed", "federated")
MIXED: Final = "Mixed"
"""The column of all test cases together, and of those within sources below."""
WITHIN: Final = "Mixed, within sources"
"""Pairs of the same source only: what is left when scores shift between sources."""
OTHER_VENDORS: Final = "Other"
"""The source of all vendors that are too small to be one of their own."""
LEAST = 10
"""Test cases of each class (or, without classes, in all) that a cell needs."""

CELL_COLUMNS = [
    "task", "kind", "source", "column", "unit", "metric", "value", "low", "high", "n",
    "n_positive", "seed_sd", "n_seeds", "method",
]  # fmt: skip
DIFFERENCE_COLUMNS = [
    "task", "comparison", "source", "column", "unit", "metric", "difference", "low",
    "high", "p_value", "p_holm", "n", "n_positive", "n_seeds", "method",
]  # fmt: skip
COMPARISONS = (
    ("diversity", EQUAL, "single"),
    ("size", "mixed", EQUAL),
    ("mixed - single", "mixed", "single"),
    ("mixed - others", "mixed", OTHERS),
    ("others - single", OTHERS, "single"),
    ("federated - single", "federated", "single"),
    ("federated - mixed", "federated", "mixed"),
)
"""Name, first and second kind: both of one source, where the kind has one."""


def kind_of(model: Model) -> str:
    """Return the kind of a matrix's row.

    >>> kind_of(Model("pooled", "", "others", "Philips"))
    'others'
    """
    if model.arm != "pooled":
        return model.arm
    return model.budget or "mixed"


def cells_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of the matrix, with the columns of `CELL_COLUMNS`.

    The task's metric by patient (detection: by nodule), mean over seeds with the
    variance between them in the interval; ``seed_sd`` is the SD of the seeds' values.
    A cell with fewer than `LEAST` cases of a class is NaN with its n.

    Args:
        predictions: of one design: a fold says nothing here.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    results = results_table(_as_matrix(predictions))
    rows = []
    for task, judged in EVALUATIONS.items():
        of_task = results[(results["task"] == task) & (results["unit"] == judged.unit)]
        for metric in (judged.metric, f"{judged.metric}_within_site"):
            found = of_task[of_task["metric"] == metric]
            keys = [*MODEL_COLUMNS, "hospital"]
            for key, runs in found.groupby(keys, sort=False):
                *model, hospital = map(str, key)
                row = _cell(runs) | {"task": task, "kind": kind_of(Model(*model))}
                row["source"] = _source(Model(*model))
                column = MIXED if hospital == "all" else hospital
                row["column"] = WITHIN if metric != judged.metric else column
                rows.append(row)
    return pd.DataFrame(rows, columns=CELL_COLUMNS).astype({"n_positive": "Int64"})


def differences_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences of `COMPARISONS`, with `DIFFERENCE_COLUMNS`.

    In every column whose cells are defined; ``source`` is that of the kind that has
    one. ``p_holm`` is corrected (Holm 1979) over all sources and columns of one
    comparison.

    Args:
        predictions: as for `cells_table`.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = []
    for task, of_task in by_task(_as_matrix(predictions)):
        judged, cases = EVALUATIONS[task], test_cases(of_task)
        pairs = list(_pairs(models_of(cases)))
        sources = set(cases["hospital"])
        cells = cells_table(of_task)
        counted = set(cells.loc[cells["value"].notna(), "column"])
        for found in judged.differences(cases, [p[1:] for p in pairs], sources):
            first, second, place, difference = found
            column = MIXED if place == "all" else place
            if column not in counted:
                continue
            for name in (p[0] for p in pairs if p[1:] == (first, second)):
                row: Row = {
                    "task": task, "comparison": name, "column": column,
                    "source": _source(first) or _source(second),
                    "unit": judged.unit, "metric": judged.metric,
                    "n_seeds": cases["seed"].nunique(), "p_holm": math.nan,
                }  # fmt: skip
                kept = ("difference", "low", "high", "p_value", "n", "n_positive")
                row |= {name: getattr(difference, name) for name in kept}
                rows.append(row | {"method": difference.method})
    table = pd.DataFrame(rows, columns=DIFFERENCE_COLUMNS).astype(
        {"n_positive": "Int64"}
    )
    for _, family in table.groupby(["task", "comparison"], sort=False):
        known = family["p_value"].dropna()
        if len(known):
            _, corrected, _, _ = multipletests(known, method="holm")
            table.loc[known.index, "p_holm"] = corrected
    return table


def paper_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return a matrix in the shape of Tables 3-5 of Xu et al. 2023, as text.

    Rows are training sets: the sources, mixed, then federated, which they have not;
    columns test sets; ``0.84 (0.81, 0.87)``, or where undefined ``NaN (n = 12)``.

    Args:
        cells: of one task, as `cells_table` returns them.
    """
    numbers = cells[["value", "low", "high", "n"]].to_numpy(dtype=np.float64)
    texts = cells.assign(text=[_text(*row) for row in numbers])
    shown = texts[texts["kind"].isin(["single", "mixed", "federated"])]
    names = shown["source"].where(shown["kind"] == "single", shown["kind"].str.title())
    wide = shown.assign(row=names).pivot(index="row", columns="column", values="text")
    sources = list(dict.fromkeys(shown.loc[shown["kind"] == "single", "source"]))
    rows = [*sources, "Mixed", "Federated"]
    table = wide.loc[rows, [*sources, MIXED]].reset_index(names="Training Data Set")
    return table.rename_axis(columns=None)


def own_minus_others(cells: pd.DataFrame) -> pd.DataFrame:
    """Return for each source what a model trained on it alone reaches at home and away.

    Columns source, own, others (mean over the other sources), difference.

    Args:
        cells: of one task, as `cells_table` returns them.
    """
    alone = cells[(cells["kind"] == "single") & ~cells["column"].isin([MIXED, WITHIN])]
    rows = []
    for source, of_source in alone.groupby("source", sort=False):
        values = of_source.set_index("column")["value"]
        away = values.drop(source, errors="ignore")
        own, others = values.get(source, math.nan), away.mean()
        rows.append({"source": source, "own": own, "others": others})
    table = pd.DataFrame(rows, columns=["source", "own", "others"])
    return table.assign(difference=table["own"] - table["others"])


def _as_matrix(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions as runs of one fold on one test set."""
    test_set = predictions["test_set"].mask(predictions["split"] == "test", "matrix")
    return predictions.assign(fold="0", test_set=test_set)


def _cell(runs: pd.DataFrame) -> Row:
    """Return a cell from the rows of its runs and, where there is one, their mean."""
    is_mean = (runs["seed"] == MEAN["seed"]).to_numpy()
    seeds, mean = runs[~is_mean], runs[is_mean]
    kept = ["unit", "metric", "value", "low", "high", "n", "n_positive", "method"]
    shown = (seeds if mean.empty else mean).iloc[0]
    row: Row = {name: shown[name] for name in kept}
    if mean.empty and len(seeds) > 1:
        for name in ("value", "low", "high"):
            row[name] = float(seeds[name].mean(skipna=False))
        row["method"] += f"; means over {len(seeds)} trainings of value and limits"
    if not _is_enough(row["n"], row["n_positive"]):
        row |= dict.fromkeys(("value", "low", "high"), math.nan)
        row["method"] = f"fewer than {LEAST} cases, of each class where there are any"
    values = seeds["value"].to_numpy(dtype=np.float64)
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return row | {"seed_sd": sd, "n_seeds": len(values)}


def _is_enough(n: int, n_positive: int | None) -> bool:
    if n_positive is None or pd.isna(n_positive):
        return n >= LEAST
    return min(n_positive, n - n_positive) >= LEAST


def _pairs(models: list[Model]) -> Iterator[tuple[str, Model, Model]]:
    """Yield the comparisons: name, first and second model."""
    by_kind: dict[str, dict[str, Model]] = {kind: {} for kind in KINDS}
    for model in models:
        by_kind[kind_of(model)][_source(model)] = model
    for name, first, second in COMPARISONS:
        sources = by_kind[first] if len(by_kind[first]) > 1 else by_kind[second]
        for source in sources:
            one, other = (
                by_kind[kind].get(source) or by_kind[kind].get("")
                for kind in (first, second)
            )
            if one and other:
                yield name, one, other


def _source(model: Model) -> str:
    """Return the source that a model was trained on or without; empty for all."""
    return "" if kind_of(model) in ("mixed", "federated") else model.trained_on


def _text(value: float, low: float, high: float, n: float) -> str:
    if math.isnan(value):
        return f"NaN (n = {n:.0f})"
    return f"{value:.2f} ({low:.2f}, {high:.2f})"
