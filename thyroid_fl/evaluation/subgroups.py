"""Subgroups of patients: is the model as good in one as in the rest?

Predictions hold no ages or sexes: they are looked up in the manifest by ``image_id``
when the table is made, and no new file holds them. Groups share no patient, so the test
is unpaired: DeLong's variances and Welch's t (for Dice, those of the clustered means).
A difference that is not shown is no proof of fairness.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation import measured
from thyroid_fl.evaluation.predictions import models_of, test_cases
from thyroid_fl.evaluation.rows import Row, told_trainings
from thyroid_fl.evaluation.side_by_side import FoldScores, Measure, runs_by_place
from thyroid_fl.statistics import independent_difference

SUBGROUP_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "test_set", "unit", "metric",
    "column", "group", "against", "value", "low", "high", "p_value", "n", "n_positive",
    "method", "fold", "seed",
]  # fmt: skip
UNKNOWN = "unknown"
OLD = 45
"""Years; the paper's cut, and that of the staging of thyroid cancer until 2017."""

Runs = dict[tuple[str, str], dict[tuple[str, str], list[FoldScores]]]


def subgroup_table(
    predictions: pd.DataFrame,
    cases: pd.DataFrame,
    columns: Sequence[str] = ("age", "sex"),
) -> pd.DataFrame:
    """Return each group's value and its difference from the rest.

    The columns are those of `SUBGROUP_COLUMNS`. Rows with an empty ``against`` are the
    groups' own; in the others ``value`` is group minus ``against``, with two-sided p:
    the other group where there are two, else all other known patients. A patient
    belongs where the first of the patient's pictures says; those of whom the manifest
    says nothing form the group ``unknown``, which is compared with nothing. By
    patient; a row per run, and a mean row where a model has several. Detection has no
    rows.

    Args:
        predictions: of a comparison.
        cases: its manifest (`thyroid_fl.manifest.read_manifest`): a row a picture.
        columns: of the manifest; numbers other than ages are taken as names.

    Raises:
        ConfigError: a column is missing, or a picture is not in the manifest.
    """
    rows: list[Row] = []
    for column in columns:
        for task, measure, of_task in measured(predictions):
            tested = test_cases(of_task)
            names = {"task": task, "column": column}
            groups = _groups(tested, cases, column)
            rows += [names | row for row in _rows(tested, groups, measure)]
    table = told_trainings(pd.DataFrame(rows, columns=SUBGROUP_COLUMNS))
    return table.astype({"n_positive": "Int64"})


def age_group(ages: "pd.Series[float]") -> "pd.Series[str]":
    """Return ``< 45``, ``>= 45`` or missing, of ages in years."""
    groups = np.where(ages < OLD, f"< {OLD}", f">= {OLD}")
    return pd.Series(groups, ages.index, dtype="str").where(ages.notna())


def _groups(tested: pd.DataFrame, cases: pd.DataFrame, column: str) -> "pd.Series[str]":
    """Return the group of each test picture, by the rows of `tested`."""
    missing = [name for name in ("image_id", column) if name not in cases]
    if missing:
        known = ", ".join(map(str, cases.columns))
        raise ConfigError(f"the manifest lacks {', '.join(missing)}; it has {known}")
    values = cases[column]
    found = age_group(values) if column == "age" else values.astype("str")
    by_image = pd.Series(found.to_numpy(), cases["image_id"].astype("str"))
    is_new = ~tested["image_id"].isin(by_image.index)
    if is_new.any():
        raise ConfigError(
            f"{is_new.sum()} pictures of the predictions are not in the manifest; give "
            "the manifest that the comparison was made from"
        )
    groups = tested["image_id"].map(by_image)
    of_patient = groups.groupby([tested["hospital"], tested["patient_id"]])
    return of_patient.transform("first").fillna(UNKNOWN)


def _rows(
    tested: pd.DataFrame, groups: "pd.Series[str]", measure: Measure
) -> Iterator[Row]:
    names = sorted(set(groups) - {UNKNOWN})
    for model in models_of(tested):
        of_group: dict[str, Runs] = {
            name: runs_by_place(tested[groups == name], measure, model, "patient")
            for name in [*names, *({UNKNOWN} & set(groups))]
        }
        for name, runs in of_group.items():
            for row in _own(runs, measure):
                yield {**model._asdict(), **row, "group": name}
        compared = names[:1] if len(names) == 2 else names if len(names) > 2 else []
        for name in compared:
            others = names[1] if len(names) == 2 else "the rest"
            is_other = (groups != name) & (groups != UNKNOWN)
            rest = runs_by_place(tested[is_other], measure, model, "patient")
            for row in _against(of_group[name], rest, measure):
                yield {**model._asdict(), **row, "group": name, "against": others}


def _own(runs: Runs, measure: Measure) -> Iterator[Row]:
    for place, folds in _in_runs(runs):
        found = measure.mean(folds)
        kept = ("value", "low", "high", "n", "n_positive", "method")
        row = {name: getattr(found, name) for name in kept}
        yield {**place, **row, "metric": measure.metric, "against": ""}


def _against(first: Runs, second: Runs, measure: Measure) -> Iterator[Row]:
    others = {tuple(place.values()): folds for place, folds in _in_runs(second)}
    for place, folds in _in_runs(first):
        known = {fold.fold: fold for fold in others.get(tuple(place.values()), [])}
        pairs = [
            (measure.outcome(fold), measure.outcome(known[fold.fold]))
            for fold in folds
            if fold.fold in known
        ]
        if not pairs:
            continue
        found = independent_difference(pairs)
        kept = ("low", "high", "p_value", "n", "n_positive", "method")
        row = {name: getattr(found, name) for name in kept}
        yield {**place, **row, "value": found.difference, "metric": measure.metric}


def _in_runs(runs: Runs) -> Iterator[tuple[dict[str, str], list[FoldScores]]]:
    for (fold, seed), places in runs.items():
        for (test_set, _), folds in places.items():
            place = {"fold": fold, "seed": seed, "test_set": test_set}
            yield {**place, "unit": "patient"}, folds
