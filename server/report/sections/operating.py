"""Sensitivity and specificity on a comparison's page, by source of the threshold."""

import pandas as pd

from thyroid_fl.server.report.charts import (
    Chart,
    dress_forest,
    in_house_style,
    panels,
    whiskers,
)
from thyroid_fl.server.report.findings import Run, each
from thyroid_fl.server.report.sections.section import (
    Section,
    joint_rows,
    with_model_names,
)
from thyroid_fl.server.report.words import TEST_SETS, interval, number

_REOPTIMISED = "test, re-optimised"
_BASES = {
    "validation, Wilson": "validation; Wilson",
    "validation, clustered": "validation; clustered",
    _REOPTIMISED: "test set; optimistic*",
}
_RATES = {"sensitivity": ("#D55E00", "o", -0.14), "specificity": ("#0072B2", "s", 0.14)}
"""Colour, marker and shift of each."""
_COUNTED = {"sensitivity": "n, malignant", "specificity": "n, benign"}


def operating_section(run: Run) -> Section:
    """Return the operating points of federated and pooled models, if any."""
    rows = _one_row_each(run.further["operating_points"])
    if rows.empty:
        return Section()
    figure = operating_figure(run.further["operating_points"])
    return Section((), {"points": _table(rows)}, (figure,))


@in_house_style
def operating_figure(points: pd.DataFrame) -> Chart:
    """Return both rates by patient, of federated and pooled models."""
    rows = _one_row_each(points)
    rows = rows[rows["unit"] == "patient"]
    is_best = rows["basis"] == _REOPTIMISED
    names = rows["model"] + ", " + rows["test_set"]
    rows = rows.assign(label=names + is_best.map({True: "*", False: ""}))
    height = {name: i for i, name in enumerate(dict.fromkeys(rows["label"]))}
    figure, (axis,) = panels(1, height_in=1.5 + 0.4 * len(height))
    for metric, (shade, marker, shift) in _RATES.items():
        for is_optimistic, fill in ((False, shade), (True, "white")):
            part = rows[(rows["metric"] == metric) & (is_best == is_optimistic)]
            if not part.empty:
                whiskers(
                    axis, part["value"], part, part["label"].map(height) + shift,
                    color=shade, marker=marker, markersize=5, markerfacecolor=fill,
                    label=metric.capitalize() + "*" * is_optimistic,
                )  # fmt: skip
    dress_forest(axis, height, "Rate (95% CI)")
    return Chart("operating_points", figure, rows)


def _one_row_each(points: pd.DataFrame) -> pd.DataFrame:
    """Return federated and pooled rows; of several runs only what is over all of them.

    Wilson's interval is of one run, and stays in the CSV where there are several.
    """
    rows = joint_rows(points)
    keys = ["arm", "strategy", "test_set", "unit", "metric", "basis"]
    return with_model_names(rows[~rows.duplicated(keys, keep=False)])


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in each(rows):
        key = (row.model, row.test_set, row.unit, row.basis)
        empty = {
            "Model": row.model,
            "Tested on": f"{row.test_set} {row.unit}s",
            "Threshold from; interval": _BASES[row.basis],
            "Threshold": number(row.threshold),
        }
        line = lines.setdefault(key, empty)
        text = interval(row.value, row.low, row.high)
        line[f"{row.metric.capitalize()} (95% CI)"] = text
        line[_COUNTED[row.metric]] = f"{row.n:,.0f}"
    return pd.DataFrame([lines[key] for key in sorted(lines, key=_place)])


def _place(key: tuple[str, ...]) -> tuple[int, bool, str, int]:
    """Return where a line stands: rows that are to be compared below each other."""
    model, test_set, unit, basis = key
    return TEST_SETS.index(test_set), unit == "image", model, list(_BASES).index(basis)
