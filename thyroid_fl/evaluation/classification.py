"""Benign or malignant: areas under the ROC curve, and their differences.

Metrics, per run and test set, over all hospitals (``hospital`` is ``all``):

- ``auc`` by patient (DeLong) and by image (clustered by patient), and by patient for
  each single hospital;
- ``auc_within_site``: pairs from the same hospital only;
- ``sensitivity`` and ``specificity`` by patient, at the Youden threshold of the same
  run's validation patients;
- ``auc_hospital_mean``: random-effects mean over hospitals with at least 10 patients
  per class and a positive variance; ``auc_new_hospital``: the same with the prediction
  interval; ``auc_other_hospitals``: the remaining ones pooled.

Mean rows are of ``auc``.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thyroid_fl.evaluation.predictions import run_sets
from thyroid_fl.evaluation.rows import Row, hospital_means, result_row
from thyroid_fl.evaluation.side_by_side import (
    FoldScores,
    Measure,
    mean_rows,
    patient_values,
)
from thyroid_fl.evaluation.side_by_side import comparison_rows as compared
from thyroid_fl.statistics import (
    Comparison,
    Estimate,
    GroupOutcome,
    auc,
    compare_aucs,
    compare_mean_aucs,
    group_auc,
    mean_auc,
    proportion,
    within_site_auc,
    youden_threshold,
)

MIN_PER_CLASS = 10
"""Patients of each class that a hospital needs to count in the mean over hospitals."""
CRITERION = f">= {MIN_PER_CLASS} patients per class and a positive variance"


def result_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the metrics of every run, and the means of models with several runs."""
    for names, images, validation in run_sets(predictions):
        for row in _run_rows(images, patient_scores(validation)):
            yield {**names, **row}
    yield from mean_rows(predictions, AUC)


def comparison_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the paired differences in AUC, by patient and by image."""
    yield from compared(predictions, AUC)


def patient_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """Return one row a patient: malignant if any image is, score the highest image's.

    Rows of different runs, splits or test sets stay apart.
    """
    return patient_values(cases, "max")


def _run_rows(images: pd.DataFrame, validation: pd.DataFrame) -> list[Row]:
    """Return the rows of one run and test set; a new metric is a new line here."""
    patients = patient_scores(images)
    labels, scores = patients["malignant"], patients["score"]
    by_image = auc(images["malignant"], images["score"], clusters=images["patient_id"])
    within = within_site_auc(labels, scores, patients["hospital"])
    return [
        result_row("all", "auc", auc(labels, scores)),
        result_row("all", "auc", by_image),
        result_row("all", "auc_within_site", within),
        *_at_threshold(patients, validation),
        *_over_hospitals(patients),
    ]


def _at_threshold(patients: pd.DataFrame, validation: pd.DataFrame) -> Iterator[Row]:
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
        yield result_row(
            "all",
            metric,
            dataclasses.replace(estimate, method=method, n_positive=n * label),
        )


def _over_hospitals(patients: pd.DataFrame) -> Iterator[Row]:
    """Yield the AUC of each hospital, and the means over hospitals."""
    by_hospital = {
        str(hospital): auc(here["malignant"], here["score"])
        for hospital, here in patients.groupby("hospital")
    }
    counted = {name: found for name, found in by_hospital.items() if has_enough(found)}
    others = patients[~patients["hospital"].isin(list(counted))]
    n_others = len(by_hospital) - len(counted)
    apart = f"{n_others} others ({len(others)} patients) pooled apart"
    yield from hospital_means("auc", counted, CRITERION, apart)
    pooled = auc(others["malignant"], others["score"])
    method = f"{pooled.method}; pooled: {n_others} hospitals without {CRITERION}"
    found = dataclasses.replace(pooled, method=method)
    yield result_row("all", "auc_other_hospitals", found)
    for hospital, estimate in by_hospital.items():
        yield result_row(hospital, "auc", estimate)


def has_enough(estimate: Estimate) -> bool:
    """Return whether a hospital's AUC counts in the mean over hospitals."""
    n_positive = estimate.n_positive or 0
    smaller = min(n_positive, estimate.n - n_positive)
    return smaller >= MIN_PER_CLASS and estimate.variance > 0


def _mean(folds: list[FoldScores]) -> Estimate:
    return mean_auc([(fold.labels, fold.scores[0], _clusters(fold)) for fold in folds])


def _compare(folds: list[FoldScores]) -> Comparison:
    if len(folds) == 1 and len(folds[0].seeds) == 1:
        (fold,) = folds
        first, second = (scores[:, 0] for scores in fold.scores)
        return compare_aucs(fold.labels, first, second, clusters=_clusters(fold))
    return compare_mean_aucs(
        [(f.labels, f.scores[0], f.scores[1], _clusters(f)) for f in folds]
    )


def _outcome(fold: FoldScores) -> GroupOutcome:
    return group_auc(fold.labels, fold.scores[0], _clusters(fold))


def _within_site(fold: FoldScores) -> GroupOutcome:
    found = [
        within_site_auc(fold.labels, scores, fold.hospitals)
        for scores in fold.scores[0].T
    ]
    sites = found[0].n_clusters or 0
    # The square of the mean standard error bounds the variance of the seeds' mean.
    spread = float(np.mean([np.sqrt(one.variance) for one in found])) ** 2
    return GroupOutcome(
        by_seed=np.array([one.value for one in found]), variance=spread, n=sites
    )


def _clusters(fold: FoldScores) -> NDArray[np.intp] | None:
    return fold.patients if fold.unit == "image" else None


AUC = Measure(
    metric="auc",
    column="score",
    labels=("malignant",),
    of_patient="max",
    mean=_mean,
    compare=_compare,
    outcome=_outcome,
    counts=has_enough,
    within_site=_within_site,
)
