"""What the optimism of a random split shows and does not show, in words."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from thyroid_fl.server.report.findings import each, summary_rows
from thyroid_fl.server.report.words import METRICS, interval, model_name, number

NOT_EXTERNAL = (
    "The random split tests new patients of hospitals that the model knows. It sees no "
    "other hospital, so it can show no gap, and it is no external validation."
)
_POINTS_TO_SITES = (
    "The gap over all patients is not shown within hospitals: a model that knows a "
    "hospital's share of malignant patients would do this."
)


def optimism_sentences(
    table: pd.DataFrame, gap: pd.DataFrame, n_training: tuple[int, int]
) -> list[str]:
    """Return what a run of `optimism` shows, one sentence each.

    Args:
        table: as `optimism_table` returns it.
        gap: as `gap_table` returns it, of the models with hospitals held out.
        n_training: training pictures under the random split, and with hospitals held
            out.
    """
    first, second = n_training
    sentences = [
        f"Trained on about as many pictures: {first} with the patients split at "
        f"random, {second} with hospitals held out.",
        NOT_EXTERNAL,
    ]
    gaps = summary_rows(gap[gap["unit"] == "patient"])
    for row in each(table[table["unit"] == "patient"]):
        name = model_name(row.arm, row.strategy, row.budget, row.trained_on)
        sentences.append(_optimism(name, row))
        of_model = gaps[(gaps["arm"] == row.arm) & (gaps["strategy"] == row.strategy)]
        sentences += _gap(name, row.metric, of_model)
    return sentences


def optimism_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table that the terminal shows: one row a model, by patient."""
    rows = [
        {
            "model": model_name(row.arm, row.strategy, row.budget, row.trained_on),
            "metric": METRICS[row.metric],
            "random split": f"{number(row.internal)} (n = {row.n_internal})",
            "hospitals held out": f"{number(row.external)} (n = {row.n_external})",
            "optimism (95% CI)": interval(row.difference, row.low, row.high, sign=True),
        }
        for row in each(table[table["unit"] == "patient"])
    ]
    return pd.DataFrame(rows)


def _optimism(name: str, row: Any) -> str:
    shows = _shows(
        row.low,
        row.high,
        above="the random split looks better than hospitals held out",
        below="hospitals held out look better than the random split",
    )
    return (
        f"{name}: {METRICS[row.metric]} {number(row.internal)} on {row.n_internal} "
        f"test patients of the random split, {number(row.external)} on "
        f"{row.n_external} of hospitals that were held out. Optimism "
        f"{_difference(row)}: {shows}."
    )


def _gap(name: str, metric: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield the gap of a model that had hospitals held out, and what it points to."""
    these = next(each(rows[rows["target"] == "these hospitals"]))
    said = f"{name}, with hospitals held out: gap in {METRICS[metric]} "
    said += _difference(these)
    within = rows[rows["metric"] == f"{metric}_within_site"]
    for row in each(within):
        said += f", within hospitals {_difference(row)}"
    shows = _shows(
        these.low,
        these.high,
        above="other hospitals fare worse",
        below="other hospitals fare better",
    )
    yield f"{said}: {shows}."
    if these.low > 0 and any(row.low <= 0 <= row.high for row in each(within)):
        yield _POINTS_TO_SITES


def _difference(row: Any) -> str:
    text = interval(row.difference, row.low, row.high, sign=True)
    return text.replace("(", "(95% CI ")


def _shows(low: float, high: float, *, above: str, below: str) -> str:
    """Return what an interval of a difference shows: above 0, below it, or neither."""
    if pd.isna(low) or pd.isna(high):
        return "cannot be computed"
    if low > 0:
        return above
    if high < 0:
        return below
    return "no difference shown, which does not show that there is none"
