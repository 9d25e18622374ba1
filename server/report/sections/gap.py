"""The generalisation gap on a comparison's page: sentence, table, figure."""

from typing import Any

import pandas as pd

from thyroid_fl.server.report.charts import (
    Chart,
    colour,
    dress_forest,
    in_house_style,
    models,
    of_model,
    panels,
    whiskers,
)
from thyroid_fl.server.report.findings import Run, each
from thyroid_fl.server.report.sections.section import (
    Section,
    joint_rows,
    with_model_names,
)
from thyroid_fl.server.report.words import (
    METRICS,
    interval,
    model_name,
    number,
    p_text,
)

_NO_GAP = (
    "This comparison cannot show a generalisation gap: every test patient comes from "
    "a hospital that took part in training. Repeat it with --split hospital."
)
_NO_INTERNAL = (
    "This comparison cannot show a generalisation gap: no patient of the hospitals "
    "that trained was tested."
)
_TARGETS = {
    "these hospitals": ("these hospitals", "o"),
    "hospitals like these": ("hospitals like these", "s"),
    "hospitals like these (bootstrap)": ("hospitals like these (bootstrap)", "^"),
    "the next hospital": ("the next hospital", "D"),
}
"""Whom an interval is for, in words, and its marker."""
_BOOTSTRAP = "hospitals like these (bootstrap)"


def gap_section(run: Run) -> Section:
    """Return the gap of federated and pooled models; empty for detection."""
    rows = _patient_rows(run)
    if rows.empty:
        return Section()
    sentences = gap_sentences(run)
    if rows["difference"].isna().all():
        return Section(sentences)
    tables = {"gap": _gap_table(rows, run.shows_p)}
    pooled_and_within = _within_table(rows)
    if not pooled_and_within.empty:
        tables["within"] = pooled_and_within
    return Section(sentences, tables, (gap_figure(run.further["gap"]),))


def gap_sentences(run: Run) -> tuple[str, ...]:
    """Return the gap of each federated model for these hospitals in one sentence."""
    rows = _patient_rows(run)
    for side, words in (("n_external", _NO_GAP), ("n_internal", _NO_INTERNAL)):
        if len(rows) and not rows[side].any():
            return (words,)
    main = rows[rows["metric"].isin(["auc", "dice"])]
    main = main[(main["target"] == "these hospitals") & (main["arm"] == "federated")]
    return tuple(map(_sentence, each(main)))


@in_house_style
def gap_figure(gap: pd.DataFrame) -> Chart:
    """Return internal minus external of federated and pooled models.

    A row per model and measure, a marker per target; the wider the target, the wider
    its interval.
    """
    rows = with_model_names(_of_patients(joint_rows(gap)))
    rows = rows[rows["difference"].notna()]
    metrics = rows["metric"].map(METRICS)
    rows = rows.assign(label=rows["model"] + "\n" + metrics)
    height = {name: i for i, name in enumerate(dict.fromkeys(rows["label"]))}
    figure, (axis,) = panels(1, height_in=1.7 + 0.55 * len(height))
    axis.axvline(0, color="black", linewidth=0.8)
    for i, (target, (words, marker)) in enumerate(_TARGETS.items()):
        of_target = rows[rows["target"] == target]
        for model in models(of_target):
            part = of_model(of_target, model)
            at = part["label"].map(height) + 0.18 * (i - 1.5)
            whiskers(
                axis, part["difference"], part, at, color=colour(model),
                marker=marker, markersize=4.5,
            )  # fmt: skip
        if len(of_target):  # grey in the legend: the colour is the model's
            axis.plot([], [], marker, color="#666666", markersize=4.5, label=words)
    dress_forest(
        axis,
        height,
        "Internal minus external (95% interval)\nright of 0: worse outside",
    )
    return Chart("gap", figure, rows)


def _patient_rows(run: Run) -> pd.DataFrame:
    return _of_patients(joint_rows(run.further["gap"]))


def _of_patients(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["unit"] == "patient"]


def _sentence(row: Any) -> str:
    shows = "no gap shown"
    if row.low > 0:
        shows = "worse in hospitals that took no part"
    elif row.high < 0:
        shows = "better in hospitals that took no part"
    elif pd.isna(row.low):
        shows = "cannot be computed"
    name = model_name(row.arm, row.strategy, row.budget, row.trained_on)
    found = interval(row.difference, row.low, row.high, sign=True)
    found = found.replace("(", "(95% CI ")
    return (
        f"Generalisation gap, {name}: {METRICS[row.metric]} {number(row.internal)} on "
        f"new patients of the training hospitals, {number(row.external)} in hospitals "
        f"that took no part; difference {found}: {shows}."
    )


def _gap_table(rows: pd.DataFrame, shows_p: bool) -> pd.DataFrame:
    lines = []
    for row in each(with_model_names(rows)):
        knows_trainings = shows_p and row.target != _BOOTSTRAP
        lines.append(
            {
                "Model": row.model,
                "Measure": METRICS[row.metric],
                "Interval for": _TARGETS[row.target][0],
                "Internal": number(row.internal),
                "External": number(row.external),
                "Difference (95% interval)": interval(
                    row.difference, row.low, row.high, sign=True
                ),
                "P": p_text(row.p_value, knows_trainings),
                "n internal": f"{row.n_internal:,.0f}",
                "n external": f"{row.n_external:,.0f}",
            }
        )
    return pd.DataFrame(lines)


def _within_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return AUC over all pairs beside that within hospitals; empty for others."""
    named = with_model_names(rows)
    lines = []
    for model, of_one in named.groupby("model", sort=False):
        found = of_one.drop_duplicates("metric").set_index("metric")
        if "auc_within_site" not in found.index:
            continue
        for side in ("internal", "external"):
            pooled, within = found[side]["auc"], found[side]["auc_within_site"]
            lines.append(
                {
                    "Model": str(model),
                    "Test set": side,
                    "All pairs": number(pooled),
                    "Pairs within a hospital": number(within),
                    "All minus within": number(pooled - within, sign=True),
                }
            )
    return pd.DataFrame(lines)
