"""Detection: average precision at IoU 0.5, and its differences.

Metrics, per run and test set, over all hospitals (``hospital`` is ``all``); intervals
by bootstrap of patients, but for Wilson's:

- ``ap50`` (101 points, as COCO; also for each single hospital) and ``ap50_continuous``
  (the area under the envelope); a missed nodule stays in the denominator;
- ``f1``, ``false_positives_per_picture``, ``sensitivity`` and ``sensitivity_wilson``
  at the threshold with the highest F1 on the same run's validation pictures.

Mean rows are of ``ap50``.
"""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Sequence

import pandas as pd

from thyroid_fl.evaluation.predictions import (
    Model,
    models_of,
    run_sets,
    test_cases,
)
from thyroid_fl.evaluation.rows import (
    MEAN,
    Row,
    comparison_row,
    pairs,
    result_row,
)
from thyroid_fl.statistics import (
    Comparison,
    Detections,
    Estimate,
    average_precision,
    best_f1_threshold,
    compare_average_precisions,
    detection_counts,
    detection_rate,
    match_detections,
    proportion,
)
from thyroid_fl.statistics.operating_point import Rate

RATES: tuple[Rate, ...] = ("f1", "sensitivity", "false_positives_per_picture")
ALL_RESAMPLES, HOSPITAL_RESAMPLES = 2000, 500

Runs = dict[tuple[str, str], Detections]
"""A model's detections by fold and seed."""


def result_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the metrics of every run, and the means of models with several runs."""
    for names, images, validation in run_sets(predictions):
        for row in _run_rows(images, validation):
            yield {**names, **row}
    cases = test_cases(predictions)
    here = {str(name): part for name, part in cases.groupby("hospital")}
    for hospital, part in {"all": cases, **here}.items():
        n_resamples = ALL_RESAMPLES if hospital == "all" else HOSPITAL_RESAMPLES
        for test_set, by_model in _by_test_set(part):
            for model, runs in by_model.items():
                if len(runs) > 1:
                    found = average_precision(
                        list(runs.values()), n_resamples=n_resamples
                    )
                    row = result_row(hospital, "ap50", found)
                    yield {**model._asdict(), **MEAN, "test_set": test_set, **row}


def comparison_rows(predictions: pd.DataFrame) -> Iterator[Row]:
    """Yield the paired differences in average precision.

    On the test pictures, over all hospitals and, against a single model, in its own
    hospital.
    """
    cases = test_cases(predictions)
    alone = {model.trained_on for model in models_of(cases) if model.arm == "single"}
    parts = {"all": cases}
    for name in sorted(alone):
        compared = cases[(cases["arm"] == "federated") | (cases["trained_on"] == name)]
        parts[name] = compared[compared["hospital"] == name]
    for hospital, part in parts.items():
        for test_set, by_model in _by_test_set(part):
            place = {"test_set": test_set, "hospital": hospital}
            for names, first, second in pairs(list(by_model)):
                if hospital in ("all", second.trained_on):
                    for row in _differences(by_model[first], by_model[second]):
                        yield {**names, **place, **row}


def differences(
    cases: pd.DataFrame,
    pairs: Iterable[tuple[Model, Model]],
    hospitals: Collection[str],
) -> Iterator[tuple[Model, Model, str, Comparison]]:
    """Yield first minus second of each pair over all their runs, by nodule.

    Over ``all`` hospitals, and in each one asked for.
    """
    pairs = list(pairs)
    here = {name: cases[cases["hospital"] == name] for name in sorted(hospitals)}
    for hospital, part in {"all": cases, **here}.items():
        for _, by_model in _by_test_set(part):
            for first, second in pairs:
                runs = by_model.get(first, {}), by_model.get(second, {})
                common = [key for key in runs[0] if key in runs[1]]
                if common:
                    found = compare_average_precisions(
                        *([of_model[key] for key in common] for of_model in runs)
                    )
                    yield first, second, hospital, found


def detections(images: pd.DataFrame) -> Detections:
    """Return what one run found on these images, matched with their nodules."""
    columns = (images[name] for name in ("found", "scores", "boxes", "patient_id"))
    return match_detections(
        (_lists(found), scores, _lists(truth), str(patient))
        for found, scores, truth, patient in zip(*columns, strict=True)
    )


def _lists(boxes: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(box) for box in boxes]  # from Parquet: an array of arrays


def _run_rows(images: pd.DataFrame, validation: pd.DataFrame) -> Iterator[Row]:
    """Yield the rows of one run and test set; a new metric is a new line here."""
    run = detections(images)
    yield result_row("all", "ap50", average_precision([run]))
    continuous = average_precision([run], interpolation="continuous")
    yield result_row("all", "ap50_continuous", continuous)
    threshold = best_f1_threshold(detections(validation))
    basis = f"score >= {threshold:.4g}: best F1 of {len(validation)} validation images"
    for rate in RATES:
        found = detection_rate(rate, [run], [threshold])
        named = dataclasses.replace(found, method=f"{found.method}; {basis}")
        yield result_row("all", rate, named)
    yield result_row("all", "sensitivity_wilson", _wilson(run, threshold, basis))
    for hospital, here in images.groupby("hospital"):
        own = average_precision([detections(here)], n_resamples=HOSPITAL_RESAMPLES)
        yield result_row(str(hospital), "ap50", own)


def _wilson(run: Detections, threshold: float, basis: str) -> Estimate:
    n = int(run.n_truth.sum())
    if math.isnan(threshold):
        method = f"undefined: {basis}"
        return Estimate(math.nan, math.nan, math.nan, n, method, "nodule")
    found = proportion(detection_counts(run, threshold).true_positives, n)
    return dataclasses.replace(found, unit="nodule", method=f"Wilson; {basis}")


def _by_test_set(cases: pd.DataFrame) -> Iterator[tuple[str, dict[Model, Runs]]]:
    for test_set, images in cases.groupby("test_set"):
        runs: dict[Model, Runs] = {model: {} for model in models_of(images)}
        keys = [*Model._fields, "fold", "seed"]
        for key, here in images.groupby(keys, sort=False):
            *model, fold, seed = map(str, key)
            runs[Model(*model)][fold, seed] = detections(here)
        yield str(test_set), runs


def _differences(first: Runs, second: Runs) -> Iterator[Row]:
    """Yield the comparison of each run, and of their means where there are several."""
    common = [key for key in first if key in second]
    for fold, seed in common:
        found = compare_average_precisions([first[fold, seed]], [second[fold, seed]])
        yield {**comparison_row("nodule", "ap50", found), "fold": fold, "seed": seed}
    if len(common) > 1:
        found = compare_average_precisions(
            [first[key] for key in common], [second[key] for key in common]
        )
        yield {**comparison_row("nodule", "ap50", found), **MEAN}
