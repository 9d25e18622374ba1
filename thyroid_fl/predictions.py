"""Predictions, and the test cases that several models have scored, side by side.

Predictions have one row per picture and trained model, with the columns of
`PREDICTION_COLUMNS`: task, arm (federated, pooled, single), strategy (empty unless
federated), budget (empty, matched, tuned), trained_on (all, or a hospital), fold, seed,
split (val, test), test_set (internal, external), image_id, patient_id, hospital,
vendor, malignant (0, 1) and score (higher is more malignant).

A model is what arm, strategy, budget and trained_on say; a run is a model of one fold
and seed.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import FloatArray

MODEL_COLUMNS = ["arm", "strategy", "budget", "trained_on"]
RUN_COLUMNS = ["task", *MODEL_COLUMNS, "fold", "seed"]
CASE_COLUMNS = ["split", "test_set", "hospital", "patient_id"]
IMAGE_COLUMNS = ["image_id", "vendor"]
PREDICTION_COLUMNS = [
    *RUN_COLUMNS, *CASE_COLUMNS, *IMAGE_COLUMNS, "malignant", "score",
]  # fmt: skip


class Model(NamedTuple):
    """What distinguishes one trained model of a fold and seed from another."""

    arm: str
    strategy: str
    budget: str
    trained_on: str


@dataclass(frozen=True, slots=True)
class FoldScores:
    """N test cases of one fold that all the models in question have scored."""

    fold: str
    seeds: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    """Shape (N,)."""
    scores: tuple[FloatArray, ...]
    """One array a model, shape (N, seeds); NaN where that seed did not test it."""
    clusters: npt.NDArray[np.intp] | None
    """Patient of each case, shape (N,), where the cases are images."""


Wides = dict[str, dict[Model, pd.DataFrame]]
"""Scores by fold and model: one row a test image, one column a seed."""


def checked(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions with names as text.

    Raises:
        ConfigError: a column is missing, a value out of range, or a picture scored
            twice by a run.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions]
    if missing:
        raise ConfigError(
            f"the predictions lack {', '.join(missing)}; expected the columns "
            f"{', '.join(PREDICTION_COLUMNS)}"
        )
    # An empty text comes back from a CSV file as a missing value.
    empty = {name: "" for name in ("strategy", "budget")}
    predictions = predictions[PREDICTION_COLUMNS].fillna(empty)
    names = [*RUN_COLUMNS, *CASE_COLUMNS, "image_id"]
    predictions = predictions.astype(dict.fromkeys(names, str))
    allowed: dict[str, tuple[object, ...]] = {
        "arm": ("federated", "pooled", "single"),
        "split": ("val", "test"),
        "malignant": (0, 1),
    }
    for name, values in allowed.items():
        is_odd = ~predictions[name].isin(values)
        if is_odd.any():
            odd = predictions.loc[is_odd, name].tolist()[0]
            raise ConfigError(
                f"predictions: {name} is {odd!r}; "
                f"expected one of: {', '.join(map(str, values))}"
            )
    is_odd = ~np.isfinite(predictions["score"].to_numpy(dtype=np.float64))
    if is_odd.any():
        raise ConfigError(
            f"predictions: {is_odd.sum()} scores are NaN or infinite; leave out those "
            "pictures, or mend the model"
        )
    if predictions.duplicated([*RUN_COLUMNS, "image_id"]).any():
        raise ConfigError(
            "predictions: a run has scored a picture twice; keep one row per picture "
            "and trained model"
        )
    return predictions.astype({"malignant": np.int64})


def patient_scores(cases: pd.DataFrame) -> pd.DataFrame:
    """Return one row a patient: malignant if any image is, score the highest image's.

    Rows of different runs, splits or test sets stay apart. Columns other than those
    that identify the patient and the run are numbers, and their maximum is taken.
    """
    keys = [name for name in cases.columns if name in {*RUN_COLUMNS, *CASE_COLUMNS}]
    images = [name for name in cases.columns if name in IMAGE_COLUMNS]
    # A validation case has no test set: it must not be dropped.
    grouped = cases.drop(columns=images).groupby(keys, sort=False, dropna=False)
    return grouped.max().reset_index()


def cases_by_task(predictions: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each task with its test cases."""
    tests = predictions[predictions["split"] == "test"]
    for task, cases in tests.groupby("task", sort=False):
        yield str(task), cases


def models_of(cases: pd.DataFrame) -> list[Model]:
    """Return the models in order of appearance."""
    unique = cases[MODEL_COLUMNS].drop_duplicates()
    return [Model(*row) for row in unique.itertuples(index=False)]


def side_by_side(cases: pd.DataFrame) -> Wides:
    """Return the scores by fold and model: a row per test image, a column per seed."""
    wides: Wides = {}
    for fold, part in cases.groupby("fold", sort=False):
        wide = part.pivot(
            index=["test_set", "hospital", "patient_id", "image_id", "malignant"],
            columns=[*MODEL_COLUMNS, "seed"],
            values="score",
        ).sort_index(axis=1)
        wides[str(fold)] = {
            model: cast(pd.DataFrame, wide.xs(tuple(model), axis=1))
            for model in models_of(part)
        }
    return wides


def folds_by_place(
    wides: Wides, models: list[Model], unit: str, hospitals: Collection[str]
) -> dict[tuple[str, str], list[FoldScores]]:
    """Return the folds by test set and hospital: ``all``, and each one asked for.

    Only the runs, and the images, that all of the models have.
    """
    places: dict[tuple[str, str], list[FoldScores]] = {}
    for fold, wide in wides.items():
        if not all(model in wide for model in models):
            continue
        images, seeds = _paired([wide[model] for model in models])
        cases = patient_scores(images) if unit == "patient" else images
        for test_set, in_set in cases.groupby("test_set"):
            asked = in_set[in_set["hospital"].isin(hospitals)]
            for hospital, part in [("all", in_set), *asked.groupby("hospital")]:
                found = _fold_scores(part, unit, fold, seeds)
                places.setdefault((str(test_set), str(hospital)), []).append(found)
    return places


def _paired(by_model: list[pd.DataFrame]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the images, last the models' scores seed by seed, and the common seeds.

    Where one model did not score an image, none has a score.
    """
    seeds = [
        str(seed)
        for seed in by_model[0].columns
        if all(seed in scores.columns for scores in by_model)
    ]
    blocks = [scores[seeds].to_numpy() for scores in by_model]
    is_missing = np.any([np.isnan(block) for block in blocks], axis=0)
    blocks = [np.where(is_missing, np.nan, block) for block in blocks]
    images = pd.DataFrame(np.hstack(blocks), index=by_model[0].index)
    return images.loc[~is_missing.all(axis=1)].reset_index(), tuple(seeds)


def _fold_scores(
    cases: pd.DataFrame, unit: str, fold: str, seeds: tuple[str, ...]
) -> FoldScores:
    n_columns = sum(isinstance(name, int) for name in cases.columns)
    scores = cases.iloc[:, -n_columns:].to_numpy()
    return FoldScores(
        fold=fold,
        seeds=seeds,
        labels=cases["malignant"].to_numpy(),
        scores=tuple(np.hsplit(scores, n_columns // len(seeds))),
        clusters=pd.factorize(cases["patient_id"])[0] if unit == "image" else None,
    )
