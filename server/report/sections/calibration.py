"""Calibration and decision curves on a comparison's page, by patient."""

from collections.abc import Iterator

import pandas as pd

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS
from thyroid_fl.server.report.charts import (
    GREY,
    Chart,
    in_house_style,
    line,
    models,
    of_model,
    panels,
)
from thyroid_fl.server.report.findings import Run, each
from thyroid_fl.server.report.sections.section import (
    Section,
    joint_rows,
    with_model_names,
)
from thyroid_fl.server.report.words import TEST_SETS, interval, number

SHOWN = {
    "calibration_slope": "Slope",
    "calibration_intercept": "Intercept",
    "calibration_in_the_large": "In the large",
    "brier": "Brier score",
}
"""As the table names them; 95% intervals."""
_LIMITS = ("predicted", "observed", "low", "high")
_BENEFITS = ("net_benefit", "low", "high", "treat_all")


def calibration_section(run: Run) -> Section:
    """Return the calibration of federated and pooled models, if any."""
    rows = joint_rows(run.further["calibration"])
    if rows.empty:
        return Section()
    return Section((), {"calibration": _table(rows)}, tuple(_charts(run)))


@in_house_style
def calibration_figure(
    curves: pd.DataFrame, calibration: pd.DataFrame, test_set: str
) -> Chart:
    """Return observed over predicted malignancy of federated and pooled models.

    Of several runs the means, bin by bin: the first bin of each has its lowest tenth.
    """
    runs = [*MODEL_COLUMNS, "fold", "seed"]
    own = curves[(curves["test_set"] == test_set) & (curves["arm"] != "single")]
    own = own.assign(bin=own.groupby(runs).cumcount() + 1)
    by_bin = own.groupby([*MODEL_COLUMNS, "bin"], as_index=False, sort=False)
    table = by_bin[list(_LIMITS)].mean()
    lines = joint_rows(calibration)
    lines = lines[lines["test_set"] == test_set]
    figure, (axis,) = panels(1, height_in=4.3)
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)
    for model in models(table):
        part, style = of_model(table, model), line(model)
        found = of_model(lines, model).set_index("metric")["value"]
        style["label"] += (
            f": slope {number(found['calibration_slope'], 2)}, "
            f"intercept {number(found['calibration_intercept'], 2)}"
        )
        errors = part[["low", "high"]].sub(part["observed"], axis=0).abs().to_numpy().T
        axis.errorbar(
            part["predicted"], part["observed"], yerr=errors, marker="o", markersize=4,
            elinewidth=0.8, **style,
        )  # fmt: skip
    axis.set_title(f"{test_set.capitalize()} test patients")
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axis.set(xlabel="Probability said", ylabel="Share malignant")
    figure.legend(loc="outside upper left")
    return Chart(f"calibration_{test_set}", figure, table)


@in_house_style
def decision_figure(curves: pd.DataFrame, test_set: str) -> Chart:
    """Return net benefit over the threshold, beside treating all and nobody.

    Of several runs the means.
    """
    own = curves[(curves["test_set"] == test_set) & (curves["arm"] != "single")]
    grouped = own.groupby([*MODEL_COLUMNS, "threshold"], as_index=False, sort=False)
    table = grouped[list(_BENEFITS)].mean()
    figure, (axis,) = panels(1, height_in=3.6)
    for model in models(table):
        part, style = of_model(table, model), line(model)
        axis.fill_between(
            part["threshold"], part["low"], part["high"],
            color=style["color"], alpha=0.12, linewidth=0,
        )  # fmt: skip
        axis.plot(part["threshold"], part["net_benefit"], **style)
    everyone = table.drop_duplicates("threshold")
    axis.plot(
        everyone["threshold"], everyone["treat_all"], color=GREY, linestyle="-.",
        linewidth=1, label="Act on everybody",
    )  # fmt: skip
    axis.axhline(0, color="black", linewidth=0.8, label="Act on nobody")
    highest = max(float(table[["high", "treat_all"]].max().max()), 0.05)
    axis.set(xlim=(0, 1), ylim=(-0.25 * highest, 1.05 * highest))
    axis.set_title(f"{test_set.capitalize()} test patients")
    axis.set(xlabel="Act from this probability", ylabel="Net benefit per patient")
    axis.legend(loc="upper right", fontsize=8)
    return Chart(f"decision_{test_set}", figure, table)


def _charts(run: Run) -> Iterator[Chart]:
    further = run.further
    known = set(further["calibration_curves"]["test_set"])
    tested = [name for name in TEST_SETS if name in known]
    for name in tested:
        curves = further["calibration_curves"]
        yield calibration_figure(curves, further["calibration"], name)
    for name in tested:
        yield decision_figure(further["decision_curves"], name)


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in each(with_model_names(rows[rows["metric"].isin(SHOWN)])):
        empty = {"Model": row.model, "Test set": row.test_set}
        line_ = lines.setdefault((row.model, row.test_set), empty)
        line_["Patients"] = f"{row.n:,.0f}"
        line_[SHOWN[row.metric]] = interval(row.value, row.low, row.high, digits=2)
    return pd.DataFrame(list(lines.values()))
