"""Predictions: one row per picture and trained model.

Their columns are those of `PREDICTION_COLUMNS`: task, arm (federated, pooled, single),
strategy (empty unless federated), budget (empty, matched, tuned), trained_on (all, or a
hospital), fold, seed, split (val, test), test_set (internal, external), image_id,
patient_id, hospital, vendor, and those of its task in `TASK_COLUMNS`:

classification  malignant (0, 1) and score (higher is more malignant)
segmentation    dice, iou, hd95_px and hd95_mm; missing where undefined
detection       found and boxes (predicted and true, lists of x0, y0, x1, y1 in pixels)
                and scores, one for each of found

A model is what arm, strategy, budget and trained_on say; a run is a model of one fold
and seed.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from thyroid_fl.errors import ConfigError

MODEL_COLUMNS = ["arm", "strategy", "budget", "trained_on"]
RUN_COLUMNS = ["task", *MODEL_COLUMNS, "fold", "seed"]
CASE_COLUMNS = ["split", "test_set", "hospital", "patient_id"]
IMAGE_COLUMNS = ["image_id", "vendor"]
PREDICTION_COLUMNS = [*RUN_COLUMNS, *CASE_COLUMNS, *IMAGE_COLUMNS]
TASK_COLUMNS = {
    "classification": ["malignant", "score"],
    "detection": ["found", "scores", "boxes"],
    "segmentation": ["dice", "iou", "hd95_px", "hd95_mm"],
}


class Model(NamedTuple):
    """What distinguishes one trained model of a fold and seed from another."""

    arm: str
    strategy: str
    budget: str
    trained_on: str


def by_task(predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each task with its predictions, checked, names as text.

    Raises:
        ConfigError: a column is missing, a value out of range, or a picture scored
            twice by a run.
    """
    _require(predictions, ["task"])
    for task in dict.fromkeys(predictions["task"]):
        if task not in TASK_COLUMNS:
            known = ", ".join(TASK_COLUMNS)
            raise ConfigError(f"predictions: task is {task!r}; expected one of {known}")
        yield task, _checked(predictions[predictions["task"] == task], task)


def _checked(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    columns = [*PREDICTION_COLUMNS, *TASK_COLUMNS[task]]
    _require(predictions, columns)
    # An empty text comes back from a CSV file as a missing value.
    empty = {name: "" for name in ("strategy", "budget")}
    predictions = predictions[columns].fillna(empty)
    names = [*RUN_COLUMNS, *CASE_COLUMNS, "image_id"]
    predictions = predictions.astype(dict.fromkeys(names, str))
    _require_one_of(predictions, "arm", ("federated", "pooled", "single"))
    _require_one_of(predictions, "split", ("val", "test"))
    if predictions.duplicated([*RUN_COLUMNS, "image_id"]).any():
        raise ConfigError(
            "predictions: a run has scored a picture twice; keep one row per picture "
            "and trained model"
        )
    if task != "classification":
        return predictions
    _require_one_of(predictions, "malignant", (0, 1))
    is_odd = ~np.isfinite(predictions["score"].to_numpy(dtype=np.float64))
    if is_odd.any():
        raise ConfigError(
            f"predictions: {is_odd.sum()} scores are NaN or infinite; leave out those "
            "pictures, or mend the model"
        )
    return predictions.astype({"malignant": np.int64})


def _require(predictions: pd.DataFrame, columns: list[str]) -> None:
    missing = [name for name in columns if name not in predictions]
    if missing:
        raise ConfigError(
            f"the predictions lack {', '.join(missing)}; expected the columns "
            f"{', '.join(columns)}"
        )


def _require_one_of(
    predictions: pd.DataFrame, name: str, values: tuple[object, ...]
) -> None:
    is_odd = ~predictions[name].isin(values)
    if is_odd.any():
        odd = predictions.loc[is_odd, name].tolist()[0]
        raise ConfigError(
            f"predictions: {name} is {odd!r}; "
            f"expected one of: {', '.join(map(str, values))}"
        )


def test_cases(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions of test pictures."""
    return predictions[predictions["split"] == "test"]


def run_sets(
    predictions: pd.DataFrame,
) -> Iterator[tuple[dict[str, str], pd.DataFrame, pd.DataFrame]]:
    """Yield each run's test sets: their names, the images, the run's validation."""
    for key, run in predictions.groupby(RUN_COLUMNS, sort=False):
        names = dict(zip(RUN_COLUMNS, map(str, key), strict=True))
        validation = run[run["split"] == "val"]
        for test_set, images in test_cases(run).groupby("test_set"):
            yield {**names, "test_set": str(test_set)}, images, validation


def models_of(cases: pd.DataFrame) -> list[Model]:
    """Return the models in order of appearance."""
    unique = cases[MODEL_COLUMNS].drop_duplicates()
    return [Model(*row) for row in unique.itertuples(index=False)]
