"""Sensitivity and specificity of classification, by where the threshold came from.

``basis`` says which number it is:

- ``validation, Wilson``: Youden's threshold of the same run's validation patients, by
  patient, or by picture as if pictures were independent (the paper's view of them);
- ``validation, clustered``: the same by picture, clustered by patient; and the mean
  over runs, whose seeds share patients, by patient and by picture;
- ``test, re-optimised``: threshold chosen on the test cases, as the paper seems to have
  done, with a bootstrap that chooses it again. Optimistic; beside the paper only.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, by_task, run_sets
from thyroid_fl.evaluation.rows import MEAN, RESULT_COLUMNS, Row, result_row, within
from thyroid_fl.statistics import (
    Estimate,
    clustered_mean,
    mean_of_estimates,
    mean_over_seeds,
    proportion,
    reoptimised_bootstrap,
    youden_threshold,
)

OPERATING_COLUMNS = [*RESULT_COLUMNS, "basis", "threshold"]
METRICS = {"sensitivity": 1, "specificity": 0}
MODEL = ["task", *MODEL_COLUMNS, "test_set"]


def operating_point_table(
    predictions: pd.DataFrame, *, seed: int = 1, n_resamples: int = 2000
) -> pd.DataFrame:
    """Return both rates on every basis, with the columns of `OPERATING_COLUMNS`.

    A row per run, and a mean row where a model has several: every run at its own
    threshold, and the variance between seeds in the interval.

    Args:
        predictions: of a comparison.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows: list[Row] = []
    decided, chosen = [], []
    for task, of_task in by_task(predictions):
        if task != "classification":
            continue
        for names, images, validation in run_sets(of_task):
            for unit, cases, known in (
                ("patient", patient_scores(images), patient_scores(validation)),
                ("image", images, validation),
            ):
                threshold = youden_threshold(known["malignant"], known["score"])
                judged = _judged(cases, threshold).assign(**names, unit=unit)
                decided.append(judged)
                rows += [{**names, **row} for row in _fixed(judged, threshold, unit)]
                best = list(_reoptimised(cases, unit, seed, n_resamples))
                chosen += [{**names, **row} for row in best]
    rows += [{k: v for k, v in row.items() if k != "estimate"} for row in chosen]
    if decided:
        rows += [*_fixed_means(pd.concat(decided)), *_reoptimised_means(chosen)]
    table = pd.DataFrame(rows, columns=OPERATING_COLUMNS)
    return table.astype({"n_positive": "Int64"})


def _judged(cases: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the cases with whether the threshold is right about them."""
    is_positive = cases["score"] >= threshold
    is_right = (is_positive == (cases["malignant"] == 1)).astype(float)
    return cases.assign(is_right=np.nan if math.isnan(threshold) else is_right)


def _fixed(judged: pd.DataFrame, threshold: float, unit: str) -> Iterator[Row]:
    """Yield the rates of one run at the threshold from validation."""
    for metric, label in METRICS.items():
        of_class = judged[judged["malignant"] == label]
        right, n = of_class["is_right"], len(of_class)
        if math.isnan(threshold):
            method = "undefined: validation lacks a class"
            found = Estimate(math.nan, math.nan, math.nan, n, method, unit)
            yield _row(metric, found, "validation, Wilson", threshold)
            continue
        naive = dataclasses.replace(proportion(int(right.sum()), n), unit=unit)
        yield _row(metric, naive, "validation, Wilson", threshold)
        if unit == "image":
            robust = within(clustered_mean(right, of_class["patient_id"]))
            yield _row(metric, robust, "validation, clustered", threshold)


def _reoptimised(
    cases: pd.DataFrame, unit: str, seed: int, n_resamples: int
) -> Iterator[Row]:
    found = reoptimised_bootstrap(
        cases["malignant"],
        cases["score"],
        clusters=cases["patient_id"] if unit == "image" else None,
        seed=seed,
        n_resamples=n_resamples,
    )
    for metric in METRICS:
        estimate = getattr(found, metric)
        row = _row(metric, estimate, "test, re-optimised", found.threshold)
        yield row | {"estimate": estimate}


def _fixed_means(decided: pd.DataFrame) -> Iterator[Row]:
    """Yield the mean over runs at their own thresholds from validation."""
    decided = decided[decided["is_right"].notna()]
    for key, cases in decided.groupby([*MODEL, "unit"], sort=False):
        names = dict(zip([*MODEL, "unit"], map(str, key), strict=True))
        if len(cases[["fold", "seed"]].drop_duplicates()) < 2:
            continue
        for metric, label in METRICS.items():
            of_class = cases[cases["malignant"] == label]
            folds = [_by_seed(fold) for _, fold in of_class.groupby("fold")]
            if not folds:
                continue
            found = within(mean_over_seeds(folds, unit=names["unit"]))
            row = _row(metric, found, "validation, clustered", math.nan)
            yield {**names, **MEAN, **row}


def _by_seed(fold: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    """Return whether each seed is right, (N, seeds), and the patients, (N,)."""
    case = ["patient_id", "image_id"] if "image_id" in fold else ["patient_id"]
    case = [name for name in case if fold[name].notna().all()]
    wide = fold.pivot(index=case, columns="seed", values="is_right").dropna()
    return wide, wide.index.get_level_values("patient_id")


def _reoptimised_means(chosen: list[Row]) -> Iterator[Row]:
    by_model: dict[tuple[str, ...], dict[str, list[Estimate]]] = {}
    for row in chosen:
        key = tuple(str(row[name]) for name in [*MODEL, "unit", "metric"])
        folds = by_model.setdefault(key, {})
        folds.setdefault(row["fold"], []).append(row["estimate"])
    for key, folds in by_model.items():
        if sum(map(len, folds.values())) < 2:
            continue
        found = within(mean_of_estimates(list(folds.values())))
        names = dict(zip(MODEL, key, strict=False))
        row = _row(key[-1], found, "test, re-optimised", math.nan)
        yield {**names, **MEAN, **row}


def _row(metric: str, found: Estimate, basis: str, threshold: float) -> Row:
    n_positive = found.n * METRICS[metric]
    estimate = dataclasses.replace(found, n_positive=n_positive)
    row = result_row("all", metric, estimate)
    return {**row, "basis": basis, "threshold": threshold}
