"""Test cases that several models have scored, side by side, and the rows they give.

A measure is a number a picture: the score of malignancy, or Dice. Its mean rows and its
comparisons are those of `mean_rows` and `comparison_rows`, whatever the measure.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.evaluation.predictions import (
    CASE_COLUMNS,
    IMAGE_COLUMNS,
    MODEL_COLUMNS,
    RUN_COLUMNS,
    Model,
    models_of,
    test_cases,
)
from thyroid_fl.evaluation.rows import MEAN, Row, comparison_row, pairs, result_row
from thyroid_fl.statistics import Comparison, Estimate, GroupOutcome
from thyroid_fl.statistics.estimate import FloatArray

Wides = dict[str, dict[Model, pd.DataFrame]]
"""Values by fold and model: one row a test image, one column a seed."""


@dataclass(frozen=True, slots=True)
class FoldScores:
    """N test cases of one fold that all the models in question have scored."""

    fold: str
    seeds: tuple[str, ...]
    unit: str
    """What a case is: patient or image."""
    labels: npt.NDArray[np.int64]
    """Shape (N,); (0,) where the measure has none."""
    scores: tuple[FloatArray, ...]
    """One array a model, shape (N, seeds); NaN where that seed did not test it."""
    patients: npt.NDArray[np.intp]
    """Patient of each case, shape (N,)."""
    hospitals: npt.NDArray[np.object_]
    """Hospital of each case by name, shape (N,)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A number a picture, and how its models are judged and compared."""

    metric: str
    column: str
    """Of the predictions."""
    labels: tuple[str, ...]
    """The column of labels that belongs to it, if any."""
    of_patient: Literal["max", "mean"]
    """What a patient's images come to."""
    mean: Callable[[list[FoldScores]], Estimate]
    """Over several runs of one model."""
    compare: Callable[[list[FoldScores]], Comparison]
    """First minus second of two models, over one run or several."""
    outcome: Callable[[FoldScores], GroupOutcome]
    """Of one model on one fold's cases, to be set against other cases."""
    counts: Callable[[Estimate], bool]
    """Whether a hospital has enough patients to count in a mean over hospitals."""
    within_site: Callable[[FoldScores], GroupOutcome] | None = None
    """Of an AUC, over the pairs within hospitals, which are then what is counted."""


def patient_values(cases: pd.DataFrame, how: Literal["max", "mean"]) -> pd.DataFrame:
    """Return one row a patient: the largest or the mean value of its images.

    Rows of different runs, splits or test sets stay apart. Columns other than those
    that identify the patient and the run are numbers.
    """
    keys = [name for name in cases.columns if name in {*RUN_COLUMNS, *CASE_COLUMNS}]
    images = [name for name in cases.columns if name in IMAGE_COLUMNS]
    # A validation case has no test set: it must not be dropped.
    grouped = cases.drop(columns=images).groupby(keys, sort=False, dropna=False)
    return grouped.agg(how).reset_index()


def mean_rows(predictions: pd.DataFrame, measure: Measure) -> Iterator[Row]:
    """Yield the mean over the runs of each model that has several."""
    cases = test_cases(predictions)
    hospitals, wides = set(cases["hospital"]), _side_by_side(cases, measure)
    for model in models_of(cases):
        if sum(wide[model].shape[1] for wide in wides.values() if model in wide) < 2:
            continue
        for unit, asked in (("patient", hospitals), ("image", ())):
            for place, folds in _places(wides, [model], measure, unit, asked):
                row = result_row(place["hospital"], measure.metric, measure.mean(folds))
                yield {**model._asdict(), **MEAN, **place, **row}


def comparison_rows(predictions: pd.DataFrame, measure: Measure) -> Iterator[Row]:
    """Yield the paired differences of `paired_comparisons` as rows."""
    for row, found in paired_comparisons(predictions, measure):
        yield row | comparison_row(row["unit"], measure.metric, found)


def paired_comparisons(
    predictions: pd.DataFrame, measure: Measure
) -> Iterator[tuple[Row, Comparison]]:
    """Yield the paired differences, by patient and by image, with the row's names.

    On the test images that both models have scored, over all hospitals and, against a
    single model, in its own hospital.
    """
    cases = test_cases(predictions)
    wides = _side_by_side(cases, measure)
    for names, first, second in pairs(models_of(cases)):
        own = {second.trained_on} if second.arm == "single" else set()
        for unit in ("patient", "image"):
            models = [first, second]
            for place, folds in _places(wides, models, measure, unit, own):
                for run, found in _compared(folds, measure):
                    yield {**names, **place, "unit": unit, **run}, found


def differences(
    cases: pd.DataFrame,
    pairs: Iterable[tuple[Model, Model]],
    hospitals: Collection[str],
    measure: Measure,
) -> Iterator[tuple[Model, Model, str, Comparison]]:
    """Yield first minus second of each pair over all their runs, by patient.

    Over ``all`` hospitals, and in each one asked for.
    """
    wides = _side_by_side(cases, measure)
    for first, second in pairs:
        for place, folds in _places(
            wides, [first, second], measure, "patient", hospitals
        ):
            yield first, second, place["hospital"], measure.compare(folds)


def runs_by_place(
    cases: pd.DataFrame,
    measure: Measure,
    model: Model,
    unit: str,
    hospitals: Collection[str] = (),
) -> dict[tuple[str, str], dict[tuple[str, str], list[FoldScores]]]:
    """Return what a model scored, by run (fold and seed) and by place.

    A place is a test set and a hospital: ``all``, and each one asked for. Where the
    model has several runs, those together are the run ``("mean", "mean")``.
    """
    found: dict[tuple[str, str], dict[tuple[str, str], list[FoldScores]]] = {}
    is_of_model = (cases[MODEL_COLUMNS] == list(model)).all(axis=1)
    wides = _side_by_side(cases[is_of_model], measure)
    for place, folds in _places(wides, [model], measure, unit, hospitals):
        where = (place["test_set"], place["hospital"])
        for fold in folds:
            for k, seed in enumerate(fold.seeds):
                run = (fold.fold, seed)
                found.setdefault(run, {})[where] = [_one_seed(fold, k)]
        found.setdefault((MEAN["fold"], MEAN["seed"]), {})[where] = folds
    if len(found) == 2:  # one run, which is its own mean
        del found[MEAN["fold"], MEAN["seed"]]
    return found


def _compared(
    folds: list[FoldScores], measure: Measure
) -> Iterator[tuple[Row, Comparison]]:
    """Yield the comparison of each run, and of their means where there are several."""
    for fold in folds:
        for k, seed in enumerate(fold.seeds):
            run = _one_seed(fold, k)
            yield {"fold": fold.fold, "seed": seed}, measure.compare([run])
    if sum(len(fold.seeds) for fold in folds) > 1:
        yield MEAN, measure.compare(folds)


def _one_seed(fold: FoldScores, k: int) -> FoldScores:
    """Return the cases that the models of one seed have scored."""
    seen = ~np.isnan(fold.scores[0][:, k])
    return FoldScores(
        fold=fold.fold,
        seeds=fold.seeds[k : k + 1],
        unit=fold.unit,
        labels=fold.labels[seen] if len(fold.labels) else fold.labels,
        scores=tuple(scores[seen, k : k + 1] for scores in fold.scores),
        patients=fold.patients[seen],
        hospitals=fold.hospitals[seen],
    )


def _side_by_side(cases: pd.DataFrame, measure: Measure) -> Wides:
    """Return the values by fold and model: a row per test image, a column per seed."""
    wides: Wides = {}
    for fold, part in cases.groupby("fold", sort=False):
        wide = part.pivot(
            index=["test_set", "hospital", "patient_id", "image_id", *measure.labels],
            columns=[*MODEL_COLUMNS, "seed"],
            values=measure.column,
        ).sort_index(axis=1)
        wides[str(fold)] = {
            model: cast(pd.DataFrame, wide.xs(tuple(model), axis=1))
            for model in models_of(part)
        }
    return wides


def _places(
    wides: Wides,
    models: list[Model],
    measure: Measure,
    unit: str,
    hospitals: Collection[str],
) -> Iterator[tuple[dict[str, str], list[FoldScores]]]:
    """Yield the folds by test set and hospital: ``all``, and each one asked for.

    Only the runs, and the images, that all of the models have.
    """
    places: dict[tuple[str, str], list[FoldScores]] = {}
    for fold, wide in wides.items():
        if not all(model in wide for model in models):
            continue
        cases, seeds = _paired([wide[model] for model in models])
        if unit == "patient":
            cases = patient_values(cases, measure.of_patient)
        for test_set, in_set in cases.groupby("test_set"):
            asked = in_set[in_set["hospital"].isin(hospitals)]
            for hospital, part in [("all", in_set), *asked.groupby("hospital")]:
                found = _fold_scores(part, measure, unit, fold, seeds)
                places.setdefault((str(test_set), str(hospital)), []).append(found)
    for (test_set, hospital), folds in places.items():
        yield {"test_set": test_set, "hospital": hospital}, folds


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
    cases: pd.DataFrame, measure: Measure, unit: str, fold: str, seeds: tuple[str, ...]
) -> FoldScores:
    n_columns = sum(isinstance(name, int) for name in cases.columns)
    scores = cases.iloc[:, -n_columns:].to_numpy()
    return FoldScores(
        fold=fold,
        seeds=seeds,
        unit=unit,
        labels=cases[list(measure.labels)].to_numpy().ravel(),
        scores=tuple(np.hsplit(scores, n_columns // len(seeds))),
        patients=pd.factorize(cases["patient_id"])[0],
        hospitals=cases["hospital"].to_numpy(dtype=object),
    )
