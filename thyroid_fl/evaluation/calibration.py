"""Calibration of classification: do the probabilities mean what they say elsewhere?

By patient, whose probability is that of the highest picture, over all hospitals of a
test set. A highest picture says more than an average one, so a model that is calibrated
by picture says too much by patient, the more so the more pictures there are: the rows
judge the number that is shown for a patient, not the network.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, by_task, run_sets
from thyroid_fl.evaluation.rows import MEAN, RESULT_COLUMNS, Row, as_table, result_row
from thyroid_fl.statistics import (
    Estimate,
    brier,
    calibration,
    calibration_curve,
    decision_curve,
    mean_of_estimates,
)

MODEL = ["task", *MODEL_COLUMNS, "test_set"]
RUN_NAMES = [*MODEL, "fold", "seed"]
CURVE_COLUMNS = [*RUN_NAMES, "predicted", "observed", "low", "high", "n"]
DECISION_COLUMNS = [
    *RUN_NAMES, "threshold", "net_benefit", "low", "high", "treat_all", "gain",
    "gain_low", "gain_high", "n",
]  # fmt: skip
SHOWN_THRESHOLDS = np.linspace(0.05, 0.95, 19)


def calibration_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return slope, intercepts and Brier score, with the columns of `RESULT_COLUMNS`.

    The metrics are ``calibration_slope`` (1 is perfect), ``calibration_intercept`` and
    ``calibration_in_the_large`` (0; logit scale), ``brier`` (0), and without intervals
    ``brier_reliability`` (0), ``brier_resolution`` and ``brier_uncertainty``. A row per
    run, and a mean row where a model has several.

    Raises:
        ConfigError: a column is missing, or a value is out of range; scores that are
            no probabilities.
    """
    rows: list[Row] = []
    by_model: dict[tuple[str, ...], dict[str, list[Estimate]]] = {}
    for names, patients in _patients(predictions):
        model_key = tuple(names[name] for name in MODEL)
        for metric, found in _metrics(patients):
            rows.append({**names, **result_row("all", metric, found)})
            folds = by_model.setdefault((*model_key, metric), {})
            folds.setdefault(names["fold"], []).append(found)
    for key, folds in by_model.items():
        if sum(map(len, folds.values())) > 1:
            found = mean_of_estimates(list(folds.values()))
            *names_of, metric = key
            model = dict(zip(MODEL, names_of, strict=True))
            rows.append({**model, **MEAN, **result_row("all", metric, found)})
    return as_table(rows, RESULT_COLUMNS)


def calibration_curves(predictions: pd.DataFrame, *, n_bins: int = 10) -> pd.DataFrame:
    """Return the calibration curve of every run, with `CURVE_COLUMNS`, a row a bin.

    Raises:
        ConfigError: as `calibration_table`.
    """

    def points(patients: pd.DataFrame) -> Any:
        return calibration_curve(
            patients["malignant"], patients["score"], n_bins=n_bins
        )

    return _curves(predictions, points, CURVE_COLUMNS)


def decision_curves(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the decision curve of every run, with `DECISION_COLUMNS`.

    A row a threshold, from .05 to .95; treating nobody is 0 throughout.

    Raises:
        ConfigError: as `calibration_table`.
    """

    def points(patients: pd.DataFrame) -> Any:
        return decision_curve(
            patients["malignant"], patients["score"], thresholds=SHOWN_THRESHOLDS
        )

    return _curves(predictions, points, DECISION_COLUMNS)


def _patients(predictions: pd.DataFrame) -> Iterator[tuple[Row, pd.DataFrame]]:
    """Yield each run's test sets of classification by patient."""
    for task, of_task in by_task(predictions):
        if task == "classification":
            for names, images, _ in run_sets(of_task):
                yield names, patient_scores(images)


def _metrics(patients: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    labels, said = patients["malignant"], patients["score"]
    line, error = calibration(labels, said), brier(labels, said)
    yield "calibration_slope", line.slope
    yield "calibration_intercept", line.intercept
    yield "calibration_in_the_large", line.in_the_large
    yield "brier", error.score
    for part in ("reliability", "resolution", "uncertainty"):
        yield (
            f"brier_{part}",
            Estimate(
                value=getattr(error, part),
                low=np.nan,
                high=np.nan,
                n=error.score.n,
                method="Murphy's parts, over tenths of the patients; no interval",
                unit="patient",
                n_positive=error.score.n_positive,
            ),
        )


def _curves(
    predictions: pd.DataFrame,
    points: Callable[[pd.DataFrame], Any],
    columns: list[str],
) -> pd.DataFrame:
    """Return the points of every run below each other."""
    tables = [pd.DataFrame(columns=columns)]
    for names, patients in _patients(predictions):
        found = points(patients)
        values = {name: getattr(found, name) for name in columns[len(RUN_NAMES) :]}
        tables.append(pd.DataFrame(values).assign(**names)[columns])
    return pd.concat(tables[1:] or tables, ignore_index=True)
