"""What every run of every model scored, by test set and hospital."""

from collections.abc import Iterator

import pandas as pd

from thyroid_fl.evaluation import measured
from thyroid_fl.evaluation.predictions import models_of, test_cases
from thyroid_fl.evaluation.rows import Row
from thyroid_fl.evaluation.side_by_side import FoldScores, Measure, runs_by_place
from thyroid_fl.statistics import Estimate

Places = dict[tuple[str, str], list[FoldScores]]
"""The folds by test set and hospital, which is ``all`` for all together."""


def tested_places(predictions: pd.DataFrame) -> Iterator[tuple[Row, Measure, Places]]:
    """Yield each run of each model: its names, and what it scored by place."""
    for task, measure, of_task in measured(predictions):
        cases = test_cases(of_task)
        hospitals = set(cases["hospital"])
        for model in models_of(cases):
            for unit, asked in (("patient", hospitals), ("image", set[str]())):
                runs = runs_by_place(cases, measure, model, unit, asked)
                for (fold, seed), places in runs.items():
                    names = {"task": task, **model._asdict(), "unit": unit}
                    yield names | {"fold": fold, "seed": seed}, measure, places


def hospital_estimates(
    measure: Measure, places: Places, test_set: str
) -> dict[str, Estimate]:
    """Return the estimates of the hospitals that count."""
    found = {
        hospital: measure.mean(folds)
        for (of_set, hospital), folds in places.items()
        if of_set == test_set and hospital != "all"
    }
    return {name: one for name, one in found.items() if measure.counts(one)}
