"""From predictions to tables: how good each model is, and which of two is better.

The columns of the predictions are in `thyroid_fl.predictions`. Both tables have a row
per run, that is, per model, fold and seed; where a model has several runs, a mean row
with fold and seed ``mean``.
"""

import dataclasses
import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.predictions import (
    RUN_COLUMNS,
    FoldScores,
    Model,
    Wides,
    cases_by_task,
    checked,
    folds_by_place,
    models_of,
    patient_scores,
    side_by_side,
)
from thyroid_fl.statistics import (
    Comparison,
    Estimate,
    auc,
    compare_aucs,
    compare_mean_aucs,
    mean_auc,
    proportion,
    random_effects_mean,
    within_site_auc,
    youden_threshold,
)

__all__ = ["comparisons_table", "patient_scores", "results_table"]

RESULT_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "hospital", "test_set", "unit",
    "metric", "value", "low", "high", "n", "n_positive", "method", "fold", "seed",
]  # fmt: skip
COMPARISON_COLUMNS = [
    "task", "comparison", "strategy", "trained_on", "test_set", "hospital", "unit",
    "difference", "low", "high", "statistic", "p_value", "n", "n_positive", "method",
    "fold", "seed",
]  # fmt: skip
MIN_PER_CLASS = 10
"""Patients of each class that a hospital needs to count in the mean over hospitals."""


def results_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table of results, with the columns of `RESULT_COLUMNS`.

    Metrics, per test set, over all hospitals (``hospital`` is ``all``):

    - ``auc`` by patient (DeLong) and by image (clustered by patient), and by patient
      for each single hospital;
    - ``auc_within_site``: pairs from the same hospital only;
    - ``sensitivity`` and ``specificity`` by patient, at the Youden threshold of the
      same run's validation patients;
    - ``auc_hospital_mean``: random-effects mean over hospitals with at least 10
      patients per class and a positive variance; ``auc_new_hospital``: the same with
      the prediction interval; ``auc_other_hospitals``: the remaining ones pooled.

    Mean rows are of ``auc``. An undefined value is NaN with its n.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    predictions = checked(predictions)
    rows: list[dict[str, Any]] = []
    for key, run in predictions.groupby(RUN_COLUMNS, sort=False):
        run_names = dict(zip(RUN_COLUMNS, key, strict=True))
        validation = patient_scores(run[run["split"] == "val"])
        for test_set, images in run[run["split"] == "test"].groupby("test_set"):
            rows += [
                {**run_names, "test_set": test_set, **row}
                for row in _run_rows(images, validation)
            ]
    for task, cases in cases_by_task(predictions):
        wides = side_by_side(cases)
        for model in models_of(cases):
            names = {"task": task, **model._asdict(), "fold": "mean", "seed": "mean"}
            means = _mean_rows(wides, model, set(cases["hospital"]))
            rows += [{**names, **row} for row in means]
    return pd.DataFrame(rows, columns=RESULT_COLUMNS).astype({"n_positive": "Int64"})


def comparisons_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences in AUC, with the columns of `COMPARISON_COLUMNS`.

    Federated minus single, federated minus pooled, and one strategy minus another that
    comes earlier in the predictions: on the test images that both models have scored,
    by patient and by image, over all hospitals and, against a single model, in its own
    hospital. ``trained_on`` is that of the second model.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows: list[dict[str, Any]] = []
    for task, cases in cases_by_task(checked(predictions)):
        wides = side_by_side(cases)
        for name, first, second in _pairs(models_of(cases)):
            names = {
                "task": task, "comparison": name, "strategy": first.strategy,
                "trained_on": second.trained_on,
            }  # fmt: skip
            own = {second.trained_on} if second.arm == "single" else set()
            for unit in ("patient", "image"):
                places = folds_by_place(wides, [first, second], unit, own)
                for (test_set, hospital), folds in places.items():
                    place = {"test_set": test_set, "hospital": hospital, "unit": unit}
                    rows += [{**names, **place, **row} for row in _differences(folds)]
    return pd.DataFrame(rows, columns=COMPARISON_COLUMNS)


def _run_rows(images: pd.DataFrame, validation: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of one run and test set; a new metric is a new line here."""
    patients = patient_scores(images)
    labels, scores = patients["malignant"], patients["score"]
    by_image = auc(images["malignant"], images["score"], clusters=images["patient_id"])
    within = within_site_auc(labels, scores, patients["hospital"])
    return [
        _row("all", "auc", auc(labels, scores)),
        _row("all", "auc", by_image),
        _row("all", "auc_within_site", within),
        *_at_threshold(patients, validation),
        *_over_hospitals(patients),
    ]


def _row(hospital: str, metric: str, estimate: Estimate) -> dict[str, Any]:
    return {
        "hospital": hospital,
        "metric": metric,
        **{
            name: getattr(estimate, name)
            for name in ("unit", "value", "low", "high", "n", "n_positive", "method")
        },
    }


def _at_threshold(
    patients: pd.DataFrame, validation: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield sensitivity and specificity at the threshold chosen on validation."""
    threshold = youden_threshold(validation["malignant"], validation["score"])
    basis = f"Youden on {len(validation)} validation patients"
    for metric, label in (("sensitivity", 1), ("specificity", 0)):
        of_class = patients[patients["malignant"] == label]
        n = len(of_class)
        if math.isnan(threshold):
            method = f"undefined: {basis}, of one class or none"
            estimate = Estimate(math.nan, math.nan, math.nan, n, method, "patient")
        else:
            is_right = (of_class["score"] >= threshold) == bool(label)
            estimate = proportion(int(is_right.sum()), n)
            method = f"Wilson; positive if score >= {threshold:.4g}, {basis}"
        yield _row(
            "all",
            metric,
            dataclasses.replace(estimate, method=method, n_positive=n * label),
        )


def _over_hospitals(patients: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the AUC of each hospital, and the means over hospitals."""
    by_hospital = {
        str(hospital): auc(here["malignant"], here["score"])
        for hospital, here in patients.groupby("hospital")
    }
    counted = [name for name, found in by_hospital.items() if _has_enough(found)]
    others = patients[~patients["hospital"].isin(counted)]
    criterion = f">= {MIN_PER_CLASS} patients per class and a positive variance"
    n_others = len(by_hospital) - len(counted)
    mean = random_effects_mean(
        [by_hospital[name].value for name in counted],
        [by_hospital[name].variance for name in counted],
    )
    method = (
        f"{mean.method}; {mean.n} hospitals with {criterion}; "
        f"{n_others} others ({len(others)} patients) pooled apart"
    )
    pooled = auc(others["malignant"], others["score"])
    return [
        _row(
            "all", "auc_hospital_mean", _within_0_1(mean, mean.low, mean.high, method)
        ),
        _row(
            "all",
            "auc_new_hospital",
            _within_0_1(
                mean,
                mean.prediction_low,
                mean.prediction_high,
                f"prediction interval; {method}",
            ),
        ),
        _row(
            "all",
            "auc_other_hospitals",
            dataclasses.replace(
                pooled,
                method=f"{pooled.method}; pooled: {n_others} hospitals without "
                f"{criterion}",
            ),
        ),
        *(_row(hospital, "auc", found) for hospital, found in by_hospital.items()),
    ]


def _within_0_1(mean: Estimate, low: float, high: float, method: str) -> Estimate:
    low, high = np.clip([low, high], 0, 1)  # keeps NaN
    return dataclasses.replace(mean, low=float(low), high=float(high), method=method)


def _has_enough(estimate: Estimate) -> bool:
    n_positive = estimate.n_positive or 0
    smaller = min(n_positive, estimate.n - n_positive)
    return smaller >= MIN_PER_CLASS and estimate.variance > 0


def _mean_rows(
    wides: Wides, model: Model, hospitals: Collection[str]
) -> Iterator[dict[str, Any]]:
    """Yield the mean AUCs over the runs of a model, if it has several."""
    if sum(wide[model].shape[1] for wide in wides.values() if model in wide) < 2:
        return
    for unit, asked in (("patient", hospitals), ("image", ())):
        places = folds_by_place(wides, [model], unit, asked)
        for (test_set, hospital), folds in places.items():
            found = mean_auc([(f.labels, f.scores[0], f.clusters) for f in folds])
            yield {"test_set": test_set, **_row(hospital, "auc", found)}


def _differences(folds: list[FoldScores]) -> Iterator[dict[str, Any]]:
    """Yield the comparison of each run, and of their means where there are several."""
    for fold in folds:
        for seed, first, second in zip(
            fold.seeds, fold.scores[0].T, fold.scores[1].T, strict=True
        ):
            seen = ~np.isnan(first)
            found = compare_aucs(
                fold.labels[seen],
                first[seen],
                second[seen],
                clusters=None if fold.clusters is None else fold.clusters[seen],
            )
            yield _difference(found, fold.fold, seed)
    if sum(len(fold.seeds) for fold in folds) > 1:
        found = compare_mean_aucs(
            [(f.labels, f.scores[0], f.scores[1], f.clusters) for f in folds]
        )
        yield _difference(found, "mean", "mean")


def _difference(found: Comparison, fold: str, seed: str) -> dict[str, Any]:
    row = dataclasses.asdict(found)
    return {name: row[name] for name in COMPARISON_COLUMNS if name in row} | {
        "fold": fold,
        "seed": seed,
    }


def _pairs(models: list[Model]) -> Iterator[tuple[str, Model, Model]]:
    """Yield what is compared: a name, the first and the second model."""
    federated = [model for model in models if model.arm == "federated"]
    for i, first in enumerate(federated):
        for second in models:
            if second.arm == "single":
                yield f"federated - single ({second.budget})", first, second
            elif second.arm == "pooled":
                yield "federated - pooled", first, second
        for second in federated[:i]:
            yield f"{first.strategy} - {second.strategy}", first, second
