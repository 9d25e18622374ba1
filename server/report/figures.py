"""The figures of a comparison; each function takes tables and returns a `Chart`."""

import pandas as pd
from matplotlib.ticker import MaxNLocator

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS
from thyroid_fl.server.report.charts import (
    MARKERS,
    Chart,
    colour,
    dress_forest,
    in_house_style,
    legend_above,
    line,
    models,
    of_model,
    panels,
    short,
    whiskers,
)
from thyroid_fl.server.report.findings import (
    each,
    main_rows,
    primary_rows,
)
from thyroid_fl.server.report.words import (
    METRICS,
    STRATEGIES,
    model_name,
    opponent,
)

MOST_HOSPITALS = 25
VALIDATION = {
    "classification": ("auc", "Validation AUC,\nwithin hospitals"),
    "detection": ("iou", "Validation IoU of\nthe best-scored box"),
    "segmentation": ("dice", "Validation Dice"),
}
"""Column of the history, and its name."""
SINGLE_LINES = {"tuned": "-", "matched": ":"}


@in_house_style
def hospital_figure(results: pd.DataFrame) -> Chart:
    """Return how good federated, pooled and the own model are in each hospital.

    In the main metric of the one task in the table. Largest test set first; only
    hospitals where it is defined, at most `MOST_HOSPITALS`. A star marks a hospital
    outside training: it has no own model.
    """
    rows = primary_rows(results)
    metric = ", ".join(METRICS[name] for name in rows["metric"].unique())
    rows = _own_models(rows[(rows["hospital"] != "all") & rows["value"].notna()])
    sizes = rows.groupby("hospital")["n"].max().sort_values(ascending=False)
    height = {name: i for i, name in enumerate(sizes.index[:MOST_HOSPITALS])}
    rows = rows[rows["hospital"].isin(height)]
    figure, (axis,) = panels(1, height_in=1.4 + 0.28 * len(height))
    drawn = models(rows.assign(trained_on=""))
    for i, model in enumerate(drawn):
        part = of_model(rows.assign(trained_on=""), model)
        at = part["hospital"].map(height) + 0.6 * ((i + 0.5) / len(drawn) - 0.5)
        whiskers(
            axis, part["value"], part, at,
            color=colour(model), marker=MARKERS[model.arm], markersize=4,
            markerfacecolor="white" if model.budget == "matched" else None,
            label=model_name(*model._replace(trained_on="Hospital")),
        )  # fmt: skip
    external = set(rows.loc[rows["test_set"] == "external", "hospital"])
    names = [f"{short(h)}{'*' * (h in external)}, n = {sizes[h]:.0f}" for h in height]
    dress_forest(axis, names, f"{metric} (95% CI)")
    return Chart("hospitals", figure, rows)


@in_house_style
def difference_figure(comparisons: pd.DataFrame) -> Chart:
    """Return the differences, federated minus each other model, with 95% CI.

    In the main metric of the one task in the table. Where there are several strategies
    also between them.
    """
    rows = main_rows(comparisons)
    metric = ", ".join(METRICS[name] for name in rows["metric"].unique())
    rows = rows.sort_values(["strategy", "difference"])
    rows["label"] = [
        f"{STRATEGIES.get(row.strategy, row.strategy)} "
        f"\u2212 {opponent(row.comparison, short(row.trained_on))}"
        for row in each(rows)
    ]
    height = {name: i for i, name in enumerate(dict.fromkeys(rows["label"]))}
    figure, (axis,) = panels(1, height_in=1.5 + 0.42 * len(height))
    axis.axvline(0, color="black", linewidth=0.8)
    for test_set, shade, marker, shift in (
        ("internal", "#56B4E9", "D", -0.15),
        ("external", "black", "o", 0.15),
    ):
        part = rows[rows["test_set"] == test_set]
        if not part.empty:
            whiskers(
                axis, part["difference"], part, part["label"].map(height) + shift,
                color=shade, marker=marker, markersize=5,
                label=f"{test_set.capitalize()} test",
            )  # fmt: skip
    direction = "\u2190 worse  |  better \u2192"
    dress_forest(axis, height, f"Difference in {metric} (95% CI)\n{direction}")
    return Chart("differences", figure, rows)


@in_house_style
def learning_figure(history: pd.DataFrame) -> Chart:
    """Return validation metric and loss of one task over the rounds.

    Means over seeds and folds.
    """
    by_round = history.groupby([*MODEL_COLUMNS, "round"], as_index=False, sort=False)
    metric, label = VALIDATION[history["task"].iloc[0]]
    table = by_round[["train_loss", "loss", metric]].mean()
    figure, (above, below) = panels(2, height_in=5.2, stacked=True)
    for model in models(table):
        part, style = of_model(table, model), line(model)
        if model.arm == "single":  # too many to name: one legend entry for a budget
            style["label"] = f"Single hospitals ({model.budget})"
            style |= {"linewidth": 0.9, "linestyle": SINGLE_LINES[model.budget]}
        above.plot(part["round"], part[metric], **style)
        below.plot(part["round"], part["loss"], **style)
    above.set_ylabel(label)
    below.set(ylabel="Validation loss", xlabel="Round")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(above)
    return Chart("learning", figure, table)


@in_house_style
def sizes_figure(hospitals: pd.DataFrame) -> Chart:
    """Return the hospitals by number of patients: trainers and external test sites."""
    table = hospitals.sort_values("n_patients", ascending=False, ignore_index=True)
    figure, (axis,) = panels(1, height_in=3.0)
    for role, shade, words in (
        ("trainer", "#0072B2", "took part in training"),
        ("external test", "#E69F00", "external test only"),
        ("none", "#bbbbbb", "without a usable picture"),
    ):
        part = table[table["role"] == role]
        if not part.empty:
            label = f"{len(part)} {words}"
            axis.bar(part.index + 1, part["n_patients"], 1.0, color=shade, label=label)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:.0f}")
    axis.set(xlabel="Hospital, by size", ylabel="Patients")
    axis.margins(x=0.01)
    axis.legend(loc="upper right")
    return Chart("sizes", figure, table)


def _own_models(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without single models tested elsewhere; tuned before matched."""
    single = rows["arm"] == "single"
    own = rows[single & (rows["trained_on"] == rows["hospital"])]
    own = own.sort_values("budget", ascending=False).drop_duplicates("hospital")
    return pd.concat([rows[~single], own])
