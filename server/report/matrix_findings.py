"""What a generalisation matrix says: its tables and its sentences."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation import EVALUATIONS
from thyroid_fl.evaluation.matrix import (
    MIXED,
    OTHER_VENDORS,
    OTHERS,
    WITHIN,
    own_minus_others,
)
from thyroid_fl.server.report.findings import each, read_csv
from thyroid_fl.server.report.words import METRICS, interval, number
from thyroid_fl.settings import Study


@dataclass(frozen=True, kw_only=True, slots=True)
class MatrixRun:
    """A finished matrix, as its folder holds it."""

    name: str
    by: str
    """What the sources are: hospital, vendor or region."""
    study: Study
    provenance: dict[str, Any]
    cells: pd.DataFrame
    differences: pd.DataFrame
    sources: pd.DataFrame

    @property
    def metric(self) -> str:
        """The metric in words."""
        return METRICS[EVALUATIONS[self.study.task].metric]

    @property
    def n_seeds(self) -> int:
        """How many trainings each model has."""
        return int(self.cells["n_seeds"].max())

    @property
    def headlines(self) -> list[str]:
        """What the matrix shows and does not show, one sentence each."""
        found = [_own(self), *_mixed(self), _federated(self), *_effects(self)]
        found.append(_left_out(self))
        if self.n_seeds == 1:
            found.append(
                "One training of each model: another seed may turn small differences "
                "round, and no P value is shown. Use three seeds or more."
            )
        return [sentence for sentence in found if sentence]

    def columns(self) -> pd.DataFrame:
        """Return the cells on the sources' own test sets that are defined."""
        is_source = ~self.cells["column"].isin([MIXED, WITHIN])
        return self.cells[is_source & self.cells["value"].notna()]


def read_matrix(folder: Path) -> MatrixRun:
    """Return the matrix in a folder that ``thyroid-sim matrix`` wrote.

    Raises:
        ConfigError: a file of it is missing.
    """
    try:
        (settings,) = json.loads((folder / "study.json").read_text("utf-8")).values()
        provenance = json.loads((folder / "provenance.json").read_text("utf-8"))
        return MatrixRun(
            name=folder.resolve().name,
            by=provenance["by"],
            study=Study(**settings),
            provenance=provenance,
            cells=read_csv(folder / "matrix.csv"),
            differences=read_csv(folder / "differences.csv"),
            sources=read_csv(folder / "sources.csv"),
        )
    except (FileNotFoundError, KeyError) as error:
        raise ConfigError(
            f"{folder}: no finished matrix here ({error}); finish it with "
            f"`thyroid-sim matrix --out {folder}`"
        ) from error


def _own(run: MatrixRun) -> str:
    table = own_minus_others(run.cells).dropna()
    several = table[(table["source"] == OTHER_VENDORS) & (run.by == "vendor")]
    table = table.drop(several.index)
    if len(table) < 2:
        return ""
    least, *_, most = each(table.sort_values("difference"))
    return (
        f"Trained on one {run.by} alone, a model reaches {run.metric} "
        f"{number(table['own'].mean())} on new patients of its own {run.by} and "
        f"{number(table['others'].mean())} on the others, means over {len(table)}: own "
        f"minus others {number(table['difference'].mean(), sign=True)} (from "
        f"{number(least.difference, sign=True)} for {least.source} to "
        f"{number(most.difference, sign=True)} for {most.source})"
        + "".join(
            f"; {row.source}, which is several vendors and not counted here, has "
            f"{number(row.difference, sign=True)}"
            for row in each(several)
        )
        + "."
    )


def _mixed(run: MatrixRun) -> Iterator[str]:
    """Yield where the mixed model stands among those trained on one source."""
    cells = run.columns()
    mixed = cells[cells["kind"] == "mixed"].set_index("column")["value"]
    alone = cells[cells["kind"] == "single"]
    if mixed.empty:
        yield (
            f"No {run.by} has enough test patients for a cell of its own: see the last "
            "columns."
        )
        return
    by_source = alone.groupby("source", sort=False)["value"]
    for what, of_mixed, of_each in (
        ("mean", mixed.mean(), by_source.mean()),
        ("minimum", mixed.min(), by_source.min()),
    ):
        best = of_each.max()
        wins = "has the best" if of_mixed >= best else "does not have the best"
        yield (
            f"Over the test sets of the {run.by}s, beside models of one source, "
            f"the mixed model {wins} {what} {run.metric}: {number(of_mixed)}, "
            f"against {number(best)} for the model trained on {of_each.idxmax()}."
        )
    for column, value in mixed.items():
        (rival,) = each(alone[alone["column"] == column].nlargest(1, "value"))
        if rival.value > value:
            yield (
                f"Mixed does not win {column}: the model trained on {rival.source} has "
                f"{number(rival.value)}, mixed {number(value)}"
                f"{_difference(run, 'mixed - single', rival.source, rival.column)}."
            )


def _federated(run: MatrixRun) -> str:
    cells = run.cells[run.cells["column"] != WITHIN]
    mixed, federated = (
        cells[cells["kind"] == kind].set_index("column")
        for kind in ("mixed", "federated")
    )
    known = mixed[mixed["value"].notna()].assign(federated=federated["value"])
    is_within = known["federated"].between(known["low"], known["high"])
    outside = [
        f"{row.Index} ({number(row.federated)} against "
        f"{interval(row.value, row.low, row.high)})"
        for row in each(known[~is_within])
    ]
    said = f"; outside: {', '.join(outside)}" if outside else ""
    return (
        f"The federated model lies within the 95% interval of mixed in "
        f"{int(is_within.sum())} of {len(known)} test sets{said}."
    )


def _effects(run: MatrixRun) -> Iterator[str]:
    """Yield what diversity and size give on all test patients together."""
    for name, words in (
        (
            "diversity",
            f"as many patients, but drawn from all {run.by}s instead of one "
            "(diversity)",
        ),
        ("size", f"all patients instead of as many as one {run.by} has (size)"),
    ):
        found = run.differences[run.differences["comparison"] == name]
        found = found[found["column"] == MIXED]
        if len(found):
            above, below = (found["low"] > 0).sum(), (found["high"] < 0).sum()
            yield (
                f"On all test patients, {words}: "
                f"{number(found['difference'].mean(), sign=True)} on average over "
                f"{len(found)} sources; the interval is above 0 for {above}, below 0 "
                f"for {below}."
            )


def _left_out(run: MatrixRun) -> str:
    """Return how a source fares that took no part in training."""
    cells = run.columns()
    at_home = cells[cells["source"] == cells["column"]]
    values = at_home.pivot(index="source", columns="kind", values="value").dropna()
    if values.empty:
        return ""
    return (
        f"On a {run.by} that took no part in training, the model trained on all the "
        f"others reaches {number(values[OTHERS].mean())}, that {run.by}'s own model "
        f"{number(values['single'].mean())}, means over {len(values)}."
    )


def _difference(run: MatrixRun, name: str, source: str, column: str) -> str:
    """Return a paired difference in brackets; nothing where there is none."""
    found = run.differences
    found = found[(found["comparison"] == name) & (found["source"] == source)]
    for row in each(found[found["column"] == column]):
        text = interval(row.difference, row.low, row.high, sign=True)
        shows = "no difference shown" if row.low <= 0 <= row.high else "a difference"
        return f"; mixed minus it {text}: {shows}"
    return ""
