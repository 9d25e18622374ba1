"""The figures of a federation's report; each takes tables and returns a `Chart`."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from thyroid_fl.server.federation import Federation, taken_part
from thyroid_fl.server.participation import COUNTS
from thyroid_fl.server.report.charts import (
    GREY,
    Chart,
    dress_forest,
    in_house_style,
    legend_above,
    panels,
    short,
    whiskers,
)
from thyroid_fl.server.report.figures import VALIDATION, learning_figure
from thyroid_fl.server.report.sections.flow_figure import SIDES, STAGES, Step
from thyroid_fl.server.report.words import METRICS
from thyroid_fl.server.site_results import TOLD
from thyroid_fl.settings import Study

OUTCOMES = {"used": "#0072B2", "no training cases": "#bbbbbb", "failed": "#D55E00"}
TEST_SETS = {"internal": ("#56B4E9", "D"), "external": ("black", "o")}
MOST_HOSPITALS = 25


def federation_steps(federation: Federation) -> list[Step]:
    """Return the boxes of the flow chart, as far as the hospitals told their counts.

    A hospital tells neither its validation patients nor why pictures were left out.
    """
    steps: list[Step] = []
    if federation.participation is not None:
        told = taken_part(federation)
        totals = {name: int(told[name].sum()) for name in COUNTS}
        n_before = 0
        for name, title in (*STAGES.items(), ("used", SIDES["train"])):
            n_images = totals[f"n_{name}"]
            if name in ("readable", "usable"):
                n_lost = n_before - n_images
                steps.append(Step(title=f"Left out as not {name}", n_images=n_lost))
            n_before = n_images
            steps.append(
                Step(
                    title=title,
                    n_hospitals=int((told[f"n_{name}"] > 0).sum()),
                    n_images=n_images,
                    is_stage=name in STAGES,
                )
            )
    return steps + _tested_steps(federation.sites)


def _tested_steps(sites: pd.DataFrame | None) -> list[Step]:
    if sites is None:
        return []
    steps = []
    for test_set in TEST_SETS:
        rows = sites[(sites["outcome"] == TOLD) & (sites["test_set"] == test_set)]
        rows = rows.drop_duplicates("hospital")
        n_malignant = rows["n_positive"].sum(min_count=1)
        steps.append(
            Step(
                title=SIDES[test_set],
                n_hospitals=len(rows),
                n_patients=int(rows["n"].sum()),
                n_malignant=None if pd.isna(n_malignant) else int(n_malignant),
                n_images=int(rows["n_images"].sum()),
            )
        )
    return steps


def rounds_figure(study: Study, history: pd.DataFrame) -> Chart:
    """Return validation metric and loss over the rounds, as a comparison draws them."""
    metric, _ = VALIDATION[study.task]
    known = history.reindex(columns=["round", "train_loss", "loss", metric])
    return learning_figure(
        known.assign(
            task=study.task,
            arm="federated",
            strategy=study.strategy,
            budget="",
            trained_on="all",
        )
    )


@in_house_style
def participation_figure(participation: pd.DataFrame) -> Chart:
    """Return how many hospitals were used in each round, and how many not."""
    table = pd.crosstab(participation["round"], participation["outcome"])
    table = table.reindex(columns=list(OUTCOMES), fill_value=0)
    figure, (axis,) = panels(1, height_in=2.8)
    below = table.iloc[:, 0] * 0
    for outcome, shade in OUTCOMES.items():
        if table[outcome].any():
            axis.bar(
                table.index, table[outcome], 0.8, below, color=shade, label=outcome
            )
        below = below + table[outcome]
    axis.set(xlabel="Round", ylabel="Hospitals")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axis)
    return Chart("participation", figure, table.reset_index())


@in_house_style
def results_figure(sites: pd.DataFrame, tests: pd.DataFrame) -> Chart:
    """Return the main metric of each hospital and over all of them, with 95% CI.

    The hospitals with most test patients first, at most `MOST_HOSPITALS`, of those
    where it is defined.
    """
    metric = str(tests["metric"].iloc[0])
    own = sites[(sites["metric"] == metric) & sites["estimate"].notna()]
    own = own.sort_values("n", ascending=False).head(MOST_HOSPITALS)
    pooled = tests[(tests["metric"] == metric) & tests["estimate"].notna()]
    called = "All, " + pooled["test_set"].replace("all", "both")
    parts = [pooled.assign(hospital=called), own]
    rows = pd.concat([part for part in parts if not part.empty] or parts[1:])
    rows = rows.reset_index(drop=True)
    named = zip(rows["hospital"], rows["n"], strict=True)
    names = [f"{short(name, 20)}, n = {n:.0f}" for name, n in named]
    figure, (axis,) = panels(1, height_in=1.4 + 0.28 * len(rows))
    at = pd.Series(range(len(rows)), rows.index)
    is_pooled = rows["level"].isna()
    if is_pooled.any():
        part = rows[is_pooled]
        whiskers(
            axis, part["estimate"], part, at[is_pooled],
            color="#009E73", marker="s", markersize=6, label="Hospitals together",
        )  # fmt: skip
    for test_set, (shade, marker) in TEST_SETS.items():
        part = rows[~is_pooled & (rows["test_set"] == test_set)]
        if not part.empty:
            whiskers(
                axis, part["estimate"], part, at[part.index],
                color=shade, marker=marker, markersize=5,
                label=f"{test_set.capitalize()} test",
            )  # fmt: skip
    axis.axhline(is_pooled.sum() - 0.5, color=GREY, linewidth=0.6)
    dress_forest(axis, names, f"{METRICS[metric]} (95% CI)")
    return Chart("results", figure, rows)
