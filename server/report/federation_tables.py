"""The tables of a federation's report, as text; None where their file is absent."""

from typing import Any

import pandas as pd

from thyroid_fl.server.federation import (
    Federation,
    is_ranking,
    rounds_words,
    taken_part,
)
from thyroid_fl.server.participation import COUNTS
from thyroid_fl.server.report.findings import each
from thyroid_fl.server.report.words import METRICS, interval, number
from thyroid_fl.server.site_results import TOLD
from thyroid_fl.site_results import LEVELS

DASH = "\u2013"
BASIS = "numbers of patients and pictures, "
LEVEL_WORDS = {
    "metrics": BASIS + "its own AUC with its variance",
    "histogram": BASIS + "its own AUC with its variance, and how many patients of each "
    "class are in which bin of the score",
    "scores": BASIS + "its own AUC with its variance, and the scores of the patients "
    "of each class, sorted and without names",
}
SUMS_WORDS = BASIS + (
    "and of each measure the number of patients, the sum of their values, and the sum "
    "of squared deviations from their mean"
)
"""What all levels tell of a mean."""


def hospitals_table(federation: Federation) -> pd.DataFrame | None:
    """Return one row a hospital: its rounds, counts and bytes."""
    if federation.participation is None:
        return None
    table = taken_part(federation)
    shown = pd.DataFrame(
        {
            "Hospital": table["hospital"],
            "Rounds used": table["used"],
            "Without training cases": table["no_cases"],
            "Failed": table["failed"],
        }
    )
    for name in COUNTS:
        shown[name.removeprefix("n_").capitalize()] = table[name].map(_count)
    for name, words in (("sent", "To it, MiB"), ("received", "From it, MiB")):
        shown[words] = (table[f"{name}_bytes"] / 2**20).map(lambda n: number(n, 1))
    return shown


def failures_table(federation: Federation) -> pd.DataFrame | None:
    """Return one row a hospital and reason; None where nothing failed."""
    rows = federation.participation
    if rows is None or not (rows["outcome"] == "failed").any():
        return None
    failed = rows[rows["outcome"] == "failed"].fillna({"reason": "not known"})
    return pd.DataFrame(
        [
            {"Hospital": hospital, "Rounds": rounds_words(here["round"]), "Why": reason}
            for (hospital, reason), here in failed.groupby(["hospital", "reason"])
        ]
    )


def rounds_table(federation: Federation) -> pd.DataFrame:
    """Return the history as text, without columns that nobody reported."""
    history = federation.history.dropna(axis=1, how="all")
    counts = [n for n in history if n == "round" or str(n).startswith("n_")]
    shown = {
        name: history[name].map(_count if name in counts else _figures)
        for name in history
    }
    names = {name: str(name).replace("_", " ").capitalize() for name in history}
    return pd.DataFrame(shown).rename(columns=names)


def results_table(federation: Federation) -> pd.DataFrame | None:
    """Return one row a test set and measure over the hospitals.

    Without the means over hospitals that have no interval: of too few hospitals.
    """
    tests = federation.tests
    if tests is None or tests.empty:
        return None
    tests = tests[(tests["unit"] != "hospital") | tests["low"].notna()]
    return pd.DataFrame(
        [
            {
                "Measure": METRICS.get(row.metric, row.metric),
                "Test set": "both" if row.test_set == "all" else row.test_set,
                "Value (95% CI)": interval(row.estimate, row.low, row.high),
                "Certain within": _bound(row.bound),
                "Patients": _patients(row),
                "Hospitals": _few(row.hospitals),
            }
            for row in each(tests)
        ]
    )


def sites_table(federation: Federation) -> pd.DataFrame | None:
    """Return one row a hospital: its result in each metric, or why there is none."""
    if federation.sites is None:
        return None
    lines: dict[str, dict[str, str]] = {}
    for row in each(federation.sites):
        line = lines.setdefault(row.hospital, {"Hospital": row.hospital})
        line["Answer"] = row.level if row.outcome == TOLD else row.outcome
        if row.outcome == TOLD:
            line["Test set"] = row.test_set
            line["Patients"] = _count(row.n)
            line["Malignant"] = _count(row.n_positive)
            metric = f"{METRICS.get(row.metric, row.metric)} (95% CI)"
            line[metric] = interval(row.estimate, row.low, row.high)
    table = pd.DataFrame(list(lines.values())).fillna(DASH)
    known = [name for name in table if (table[name] != DASH).any()]
    return table[[*(name for name in known if name != "Answer"), "Answer"]]


def gap_words(gap: pd.DataFrame) -> pd.DataFrame:
    """Return `federation_gap.gap_table` as text."""
    return pd.DataFrame(
        [
            {
                "For": row.target,
                "Measure": METRICS.get(row.metric, row.metric),
                "Internal": number(row.internal),
                "External": number(row.external),
                "Internal minus external (95% CI)": interval(
                    row.difference, row.low, row.high, sign=True
                ),
                "Internal, n": _of(row.n_internal, row.unit),
                "External, n": _of(row.n_external, row.unit),
            }
            for row in each(gap)
        ]
    )


def worst_words(worst: pd.DataFrame) -> pd.DataFrame:
    """Return `federation_gap.worst_table` as text."""
    return pd.DataFrame(
        [
            {
                "Endpoint": f"{row.endpoint.capitalize()}, {row.test_set}",
                f"{METRICS.get(row.metric, row.metric)} (95% CI)": interval(
                    row.value, row.low, row.high
                ),
                "Hospitals that count": _count(row.n),
            }
            for row in each(worst)
        ]
    )


def levels_table(federation: Federation) -> pd.DataFrame | None:
    """Return what was told of the test, the least first, and by which hospitals."""
    levels = told_levels(federation)
    if levels.empty:
        return None
    told = {LEVEL_WORDS[level]: levels.index[levels == level] for level in LEVELS}
    if not is_ranking(federation):
        told = {SUMS_WORDS: levels.index}
    return pd.DataFrame(
        [
            {"Told": words, "By": _few("; ".join(names))}
            for words, names in told.items()
            if len(names)
        ]
    )


def told_levels(federation: Federation) -> "pd.Series[str]":
    """Return what each hospital told of the test, by its name."""
    if federation.sites is None:
        return pd.Series(dtype="str")
    told = federation.sites[federation.sites["outcome"] == TOLD]
    return told.drop_duplicates("hospital").set_index("hospital")["level"]


def _bound(bound: float) -> str:
    if pd.isna(bound):
        return DASH
    return "exact" if bound == 0 else f"\u00b1 {bound:.4f}"


def _patients(row: Any) -> str:
    return DASH if row.unit == "hospital" else _count(row.n)


def _few(names: object, most: int = 5) -> str:
    """Return how many hospitals these are, and the first of their names."""
    if not isinstance(names, str):  # an empty cell
        return "none"
    each_name = names.split("; ")
    more = f" and {len(each_name) - most} more" if len(each_name) > most else ""
    return f"{len(each_name)}: {', '.join(each_name[:most])}{more}"


def _count(n: float) -> str:
    return DASH if pd.isna(n) else f"{n:,.0f}"


def _of(n: float, unit: str) -> str:
    return f"{_count(n)} {unit}" + ("" if n == 1 else "s")


def _figures(value: float) -> str:
    return DASH if pd.isna(value) else f"{value:.4g}"
