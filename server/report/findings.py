"""What a finished comparison says: its tables.

A run folder holds one row per model, test set and metric (`Run`); where several seeds
or folds were run, rows of seed or fold ``mean`` sum them up, and only those are shown.
The terminal and the report print the same table.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation import EVALUATIONS
from thyroid_fl.evaluation.further import FURTHER_TABLES
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS
from thyroid_fl.server.report.words import (
    ARMS,
    METRICS,
    TASKS,
    TEST_SETS,
    interval,
    model_name,
)
from thyroid_fl.settings import Study

TABLES = (
    "results", "comparisons", "history", "hospitals", "baseline", "left_out", "traffic",
)  # fmt: skip
"""The CSV files of a comparison that the report reads."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished comparison, as its folder holds it."""

    name: str
    studies: dict[str, Study]
    """Settings by task."""
    provenance: dict[str, Any]
    results: pd.DataFrame
    comparisons: pd.DataFrame
    predictions: pd.DataFrame
    history: pd.DataFrame
    hospitals: pd.DataFrame
    baseline: pd.DataFrame
    left_out: pd.DataFrame
    traffic: pd.DataFrame
    further: dict[str, pd.DataFrame]
    """The tables of `thyroid_fl.evaluation.further` by name."""

    @property
    def study(self) -> Study:
        """The settings of the only task, or of the first."""
        return next(iter(self.studies.values()))

    @property
    def n_seeds(self) -> int:
        """How often each model was trained, with different seeds."""
        return int(self.history["seed"].nunique())

    @property
    def shows_p(self) -> bool:
        """Whether P values of this one task know of the spread between trainings."""
        is_measured = EVALUATIONS[self.study.task].measure is not None
        return self.n_seeds > 1 and is_measured

    def by_task(self) -> Iterator["Run"]:
        """Yield the comparison of each task alone."""
        for task, study in self.studies.items():
            tables = {name: getattr(self, name) for name in (*TABLES, "predictions")}
            own = {name: t[t["task"] == task] for name, t in tables.items()}
            further = {k: t[t["task"] == task] for k, t in self.further.items()}
            yield replace(self, studies={task: study}, further=further, **own)


def read_run(folder: Path) -> Run:
    """Return the comparison in a folder that ``thyroid-sim compare`` wrote.

    Raises:
        ConfigError: a file of it is missing.
    """
    try:
        settings = json.loads((folder / "study.json").read_text("utf-8"))
        return Run(
            name=folder.resolve().name,
            studies={
                name: Study(**settings[name]) for name in TASKS if name in settings
            },
            provenance=json.loads((folder / "provenance.json").read_text("utf-8")),
            predictions=pd.read_parquet(folder / "predictions.parquet"),
            **{name: read_csv(folder / f"{name}.csv") for name in TABLES},
            further={name: read_csv(folder / f"{name}.csv") for name in FURTHER_TABLES},
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder}: no finished comparison here: {error.filename} is missing; "
            f"finish it with `thyroid-sim compare --out {folder}`"
        ) from error


def read_heat_maps(folder: Path) -> pd.DataFrame | None:
    """Return the table of a comparison's heat maps; None where no model has any."""
    path = folder / "heat_maps.csv"
    return read_csv(path) if path.exists() else None


def each(table: pd.DataFrame) -> Iterator[Any]:
    """Yield the rows with columns as attributes; pandas' own type is of no use."""
    yield from table.itertuples()


def summary_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that sum up seeds and folds: the means where there are any."""
    keys = [
        column
        for column in [
            "task",
            *MODEL_COLUMNS,
            "comparison",
            "test_set",
            "hospital",
            "unit",
            "metric",
            "target",
            "basis",
            "column",
            "group",
            "against",
        ]
        if column in table
    ]
    n_means = (table[["fold", "seed"]].astype(str) == "mean").sum(axis=1)
    most = n_means.groupby([table[key] for key in keys]).transform("max")
    return table[n_means == most]


def per_run_rows(results: pd.DataFrame) -> pd.DataFrame:
    """Return each run's row in the task's main metric, over all hospitals together."""
    rows = main_metric_rows(results)
    return rows[(rows["hospital"] == "all") & (rows["seed"] != "mean")]


def main_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary rows of all hospitals together, in the task's main metric."""
    rows = primary_rows(table)
    return rows[rows["hospital"] == "all"]


def primary_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the summary rows in the task's main metric and unit."""
    return main_metric_rows(summary_rows(table))


def main_metric_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows in the task's main metric and unit."""
    metrics = {task: judged.metric for task, judged in EVALUATIONS.items()}
    units = {task: judged.unit for task, judged in EVALUATIONS.items()}
    is_main = rows["metric"] == rows["task"].map(metrics)
    return rows[is_main & (rows["unit"] == rows["task"].map(units))]


def measures(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task, model, test set, unit and metric, over all hospitals.

    Where a metric has several runs and no row of their mean, value, low and high are
    the means over the runs: the limits are those of one run, on average.
    """
    rows = summary_rows(results)
    keys = ["task", *MODEL_COLUMNS, "test_set", "unit", "metric"]
    grouped = rows[rows["hospital"] == "all"].groupby(keys, sort=False, as_index=False)
    # An undefined run makes the mean undefined: skipping it would hide it.
    return grouped[["value", "low", "high"]].mean(skipna=False)


def summary_table(results: pd.DataFrame, comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model of a task: how good it is, and federated minus it.

    As text. Federated first, then pooled, then the single hospitals, best first. The
    difference is that of the first strategy, on external hospitals where there are any.
    """
    rows = main_rows(results)
    test_sets = [name for name in TEST_SETS if name in set(rows["test_set"])]
    if not test_sets:
        return pd.DataFrame(columns=["Model"])
    minus = _differences(comparisons, test_sets[-1])
    table = []
    for key, of_model in rows.groupby(MODEL_COLUMNS):
        arm, strategy, budget, trained_on = map(str, key)
        tested = {row.test_set: row for row in each(of_model)}
        line = {"Model": model_name(arm, strategy, budget, trained_on)}
        for name in test_sets:
            line |= _cells(name.capitalize(), rows.iloc[0], tested.get(name))
        minus_column = f"Federated minus it ({test_sets[-1]})"
        line[minus_column] = minus.get(_which(arm, budget, trained_on), "")
        best = tested[test_sets[-1]].value if test_sets[-1] in tested else 0.0
        table.append(((ARMS[arm], budget == "matched", -best), line))
    return pd.DataFrame([line for _, line in sorted(table, key=lambda entry: entry[0])])


def _cells(test_set: str, of_task: Any, row: Any) -> dict[str, str]:
    """Return a model's cells of a test set; `of_task` is any row of the table."""
    counted = f"{test_set} {of_task.unit}s"
    has_classes = not pd.isna(of_task.n_positive)
    counted += " (malignant)" if has_classes else ""
    value = n = "\u2013"
    if row is not None:
        value = interval(row.value, row.low, row.high)
        n = f"{row.n:,.0f}" + (f" ({row.n_positive:,.0f})" if has_classes else "")
    return {f"{test_set} {METRICS[of_task.metric]} (95% CI)": value, counted: n}


def _differences(comparisons: pd.DataFrame, test_set: str) -> dict[Any, str]:
    """Return `_which` opponent -> the first strategy's difference, as text."""
    rows = main_rows(comparisons)
    texts: dict[Any, str] = {}
    for row in each(rows[rows["test_set"] == test_set]):
        other = str(row.comparison).removeprefix("federated - ")
        arm, _, budget = other.removesuffix(")").partition(" (")
        text = interval(row.difference, row.low, row.high, sign=True)
        texts.setdefault(_which(arm, budget, row.trained_on), text)
    return texts


def _which(arm: str, budget: str, trained_on: str) -> tuple[str, str, str]:
    """Return what names an opponent of the federated model."""
    return arm, budget, trained_on if arm == "single" else "all"


def read_csv(path: Path) -> pd.DataFrame:
    """Return a table with texts as they stand: hospital ``007`` and ``NA`` included."""
    texts = {
        "task", *MODEL_COLUMNS, "comparison", "hospital", "test_set", "unit", "metric",
        "method", "fold", "seed", "region", "vendor", "role", "kind", "source",
        "column", "stage", "characteristic", "cell", "reason", "step", "outcome",
        "target", "basis", "group", "against", "verdict",
    }  # fmt: skip
    columns = pd.read_csv(path, nrows=0).columns
    return pd.read_csv(
        path,
        dtype={name: str for name in columns if name in texts},
        keep_default_na=False,
        na_values={name: [""] for name in columns if name not in texts},
    )
