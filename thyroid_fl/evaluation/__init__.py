"""From predictions to tables: how good each model is, and which of two is better.

The columns of the predictions are in `thyroid_fl.evaluation.predictions`. Both tables
have a row per run, that is, per model, fold and seed; where a model has several runs, a
mean row with fold and seed ``mean``. An undefined value is NaN with its n.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple, Protocol

import pandas as pd

from thyroid_fl.evaluation import classification, detection, segmentation
from thyroid_fl.evaluation.predictions import Model, by_task
from thyroid_fl.evaluation.rows import (
    COMPARISON_COLUMNS,
    RESULT_COLUMNS,
    Row,
    absent_rows,
    as_table,
    told_trainings,
)
from thyroid_fl.evaluation.side_by_side import Measure, differences
from thyroid_fl.statistics import Comparison

__all__ = [
    "EVALUATIONS",
    "Evaluation",
    "comparisons_table",
    "measured",
    "results_table",
]


class Differences(Protocol):
    """Yields first minus second of pairs of models, see `side_by_side.differences`."""

    def __call__(
        self,
        cases: pd.DataFrame,
        pairs: Iterable[tuple[Model, Model]],
        hospitals: Collection[str],
    ) -> Iterator[tuple[Model, Model, str, Comparison]]: ...


class Evaluation(NamedTuple):
    """How a task's predictions are judged."""

    metric: str
    """The one that the models are compared by."""
    unit: str
    """What it counts: patient, image or nodule."""
    results: Callable[[pd.DataFrame], Iterator[Row]]
    comparisons: Callable[[pd.DataFrame], Iterator[Row]]
    differences: Differences
    measure: Measure | None
    """Where a prediction comes to one number a picture."""


EVALUATIONS: Final = {
    "detection": Evaluation(
        "ap50",
        "nodule",
        detection.result_rows,
        detection.comparison_rows,
        detection.differences,
        None,
    ),
    "segmentation": Evaluation(
        "dice",
        "patient",
        segmentation.result_rows,
        segmentation.comparison_rows,
        partial(differences, measure=segmentation.DICE),
        segmentation.DICE,
    ),
    "classification": Evaluation(
        "auc",
        "patient",
        classification.result_rows,
        classification.comparison_rows,
        partial(differences, measure=classification.AUC),
        classification.AUC,
    ),
}


def measured(
    predictions: pd.DataFrame,
) -> Iterator[tuple[str, Measure, pd.DataFrame]]:
    """Yield each task that has a measure, and its predictions, checked.

    Detection has none: an average precision is no mean over pictures.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    for task, of_task in by_task(predictions):
        measure = EVALUATIONS[task].measure
        if measure is not None:
            yield task, measure, of_task


def results_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the table of results, with the columns of `RESULT_COLUMNS`.

    The metrics of a task are those that its module in this package lists. A run that
    has not tested a test set which others have gets NaN for it, with n = 0.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = []
    for task, of_task in by_task(predictions):
        found = list(EVALUATIONS[task].results(of_task))
        rows += [{"task": task, **row} for row in [*found, *absent_rows(found)]]
    return as_table(rows, RESULT_COLUMNS)


def comparisons_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences, with the columns of `COMPARISON_COLUMNS`.

    Federated minus single, federated minus pooled, and one strategy minus another that
    comes earlier in the predictions, in the task's metric, on the test images that both
    models have scored. ``trained_on`` is that of the second model. P and interval of
    one run hold for these very models, as its ``method`` says: another training would
    give others.

    Raises:
        ConfigError: a column is missing, or a value is out of range.
    """
    rows = [
        {"task": task, **row}
        for task, of_task in by_task(predictions)
        for row in EVALUATIONS[task].comparisons(of_task)
    ]
    return told_trainings(as_table(rows, COMPARISON_COLUMNS))
