"""Segmentation: Dice, IoU and Hausdorff distance, and differences in Dice.

Metrics, per run and test set, over all hospitals (``hospital`` is ``all``):

- ``dice`` and ``iou`` by image (clustered by patient) and by patient (mean of the
  patient's images), and Dice by patient for each single hospital;
- ``hd95_px`` and ``hd95_mm`` by image, over the images where something was found (and
  the spacing is known); the method tells how many are left out;
- ``dice_hospital_mean``: random-effects mean over hospitals with at least 10 patients;
  ``dice_new_hospital``: the same with the prediction interval.

Mean rows are of ``dice``.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from thyroid_fl.evaluation.predictions import run_sets
from thyroid_fl.evaluation.rows import Row, hospital_means, result_row, within
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
    clustered_mean,
    compare_over_seeds,
    group_mean,
    mean_over_seeds,
)

MIN_PATIENTS = 10
"""That a hospital needs to count in the mean over hospitals."""


def result_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the metrics of every run, and the means of models with several runs."""
    for names, images, _ in run_sets(predictions):
        for row in _run_rows(images):
            yield {**names, **row}
    yield from mean_rows(predictions, DICE)


def comparison_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the paired differences in Dice, by patient and by image."""
    yield from compared(predictions, DICE)


def _run_rows(images: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of one run and test set; a new metric is a new line here."""
    measures = ["dice", "iou", "hd95_px", "hd95_mm"]
    for metric in measures:
        yield result_row("all", metric, _over_images(images, metric))
    names = ["hospital", "patient_id"]
    patients = patient_values(images[[*names, "dice", "iou"]], "mean")
    for metric in ("dice", "iou"):
        yield result_row("all", metric, _over_patients(patients[metric]))
    by_hospital = {
        str(hospital): _over_patients(here["dice"])
        for hospital, here in patients.groupby("hospital")
    }
    counted = {name: found for name, found in by_hospital.items() if has_enough(found)}
    criterion = f">= {MIN_PATIENTS} patients"
    others = f"{len(by_hospital) - len(counted)} others are left out"
    yield from hospital_means("dice", counted, criterion, others)
    for hospital, estimate in by_hospital.items():
        yield result_row(hospital, "dice", estimate)


def has_enough(estimate: Estimate) -> bool:
    """Return whether a hospital's Dice counts in the mean over hospitals."""
    return estimate.n >= MIN_PATIENTS and estimate.variance > 0


def _over_images(images: pd.DataFrame, metric: str) -> Estimate:
    known = images.dropna(subset=[metric])
    found = clustered_mean(known[metric], known["patient_id"])
    n_unknown = len(images) - len(known)
    without = f"; {n_unknown} of {len(images)} images left out: undefined"
    method = found.method + (without if n_unknown else "")
    highest = np.inf if metric.startswith("hd95") else 1.0
    return within(dataclasses.replace(found, method=method), highest)


def _over_patients(values: "pd.Series[float]") -> Estimate:
    found = clustered_mean(values, range(len(values)))
    method = "t interval over patients"
    return within(dataclasses.replace(found, unit="patient", method=method))


def _mean(folds: list[FoldScores]) -> Estimate:
    tested = [(fold.scores[0], fold.patients) for fold in folds]
    return within(mean_over_seeds(tested, unit=folds[0].unit))


def _compare(folds: list[FoldScores]) -> Comparison:
    differences = [(f.scores[0] - f.scores[1], f.patients) for f in folds]
    return compare_over_seeds(differences)


def _outcome(fold: FoldScores) -> GroupOutcome:
    return group_mean(fold.scores[0], fold.patients)


DICE = Measure(
    metric="dice",
    column="dice",
    labels=(),
    of_patient="mean",
    mean=_mean,
    compare=_compare,
    outcome=_outcome,
    counts=has_enough,
)
