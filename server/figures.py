"""The figures of a comparison; each function takes tables and returns a `Chart`."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from thyroid_fl.predictions import MODEL_COLUMNS, Model, patient_scores
from thyroid_fl.server.charts import (
    GREY,
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
from thyroid_fl.server.findings import (
    each,
    main_rows,
    summary_rows,
)
from thyroid_fl.server.words import (
    STRATEGIES,
    TEST_SETS,
    model_name,
    opponent,
)
from thyroid_fl.statistics import roc_curve_band

MOST_HOSPITALS = 25
SINGLE_LINES = {"tuned": "-", "matched": ":"}

Array = NDArray[np.float64]


@in_house_style
def roc_figure(
    predictions: pd.DataFrame,
    test_sets: Iterable[str] = TEST_SETS,
    *,
    seed: int = 1,
    n_resamples: int = 400,
) -> Chart:
    """Return patient-level ROC curves, one panel per test set, with 95% bands.

    Federated, pooled, and the single hospital with the highest AUC in the panel. A
    patient's score is the highest of its images. Curves and limits of several seeds or
    folds are averaged at equal specificity.

    Args:
        predictions: the table ``predictions.parquet``.
        test_sets: which panels, of ``internal`` and ``external``.
        seed: of the bootstrap.
        n_resamples: bootstrap samples of patients behind a band.
    """
    test = predictions[predictions["split"] == "test"]
    shown = [name for name in test_sets if (test["test_set"] == name).any()]
    figure, axes = panels(max(len(shown), 1), height_in=4.3)
    numbers = [pd.DataFrame()]
    for axis, test_set in zip(axes, shown, strict=False):
        for scored in _scored(test[test["test_set"] == test_set]):
            curve = _mean_curve(scored, seed, n_resamples)
            _draw_roc(axis, scored.model, curve)
            numbers.append(curve.assign(test_set=test_set))
        _dress_roc(axis, test_set)
    return Chart("_".join(["roc", *shown]), figure, pd.concat(numbers))


@in_house_style
def hospital_figure(results: pd.DataFrame) -> Chart:
    """Return the AUC per hospital of federated, pooled and the hospital's own model.

    Largest test set first; only hospitals whose AUC is defined, at most
    `MOST_HOSPITALS`. A star marks a hospital outside training: it has no own model.
    """
    rows = summary_rows(results).query("unit == 'patient' and metric == 'auc'")
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
    dress_forest(axis, names, "AUC (95% CI)")
    return Chart("hospitals", figure, rows)


@in_house_style
def difference_figure(comparisons: pd.DataFrame) -> Chart:
    """Return the differences in AUC, federated minus each other model, with 95% CI.

    Where there are several strategies also between them.
    """
    rows = main_rows(comparisons).sort_values(["strategy", "difference"])
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
    dress_forest(axis, height, f"Difference in AUC (95% CI)\n{direction}")
    return Chart("differences", figure, rows)


@in_house_style
def learning_figure(history: pd.DataFrame) -> Chart:
    """Return validation AUC and loss over the rounds, mean over seeds and folds."""
    by_round = history.groupby([*MODEL_COLUMNS, "round"], as_index=False, sort=False)
    table = by_round[["train_loss", "loss", "auc"]].mean()
    figure, (above, below) = panels(2, height_in=5.2, stacked=True)
    for model in models(table):
        part, style = of_model(table, model), line(model)
        if model.arm == "single":  # too many to name: one legend entry for a budget
            style["label"] = f"Single hospitals ({model.budget})"
            style |= {"linewidth": 0.9, "linestyle": SINGLE_LINES[model.budget]}
        above.plot(part["round"], part["auc"], **style)
        below.plot(part["round"], part["loss"], **style)
    above.set_ylabel("Validation AUC,\nwithin hospitals")
    below.set(ylabel="Validation loss", xlabel="Round")
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


@dataclass(frozen=True, slots=True)
class _Scored:
    """A model's test patients: labels and scores (patients,) of each seed and fold."""

    model: Model
    runs: tuple[tuple[Array, Array], ...]
    auc: float


def _scored(images: pd.DataFrame) -> list[_Scored]:
    """Return federated, pooled and the best single model; a patient is one case."""
    cases = patient_scores(images)
    scored = []
    for model in models(cases):
        runs = tuple(
            (run["malignant"].to_numpy(), run["score"].to_numpy())
            for _, run in of_model(cases, model).groupby(["fold", "seed"])
            if run["malignant"].nunique() == 2
        )
        if runs:
            aucs = [roc_auc_score(*run) for run in runs]
            scored.append(_Scored(model, runs, float(np.mean(aucs))))
    alone = [s for s in scored if s.model.arm == "single"]
    best = sorted(alone, key=lambda s: s.auc)[-1:]
    return [s for s in scored if s.model.arm != "single"] + best


def _mean_curve(scored: _Scored, seed: int, n_resamples: int) -> pd.DataFrame:
    """Return sensitivity, low and high over the specificities of `roc_curve_band`."""
    curves = []
    for labels, scores in scored.runs:
        band = roc_curve_band(labels, scores, seed=seed, n_resamples=n_resamples)
        x, y = band.false_positive_rate, band.true_positive_rate
        curves.append((np.interp(1 - band.specificity, x, y), band.low, band.high))
    sensitivity, low, high = np.mean(curves, axis=0)
    return pd.DataFrame(
        {
            **scored.model._asdict(),
            "auc": scored.auc,
            "specificity": band.specificity,
            "sensitivity": sensitivity,
            "low": low,
            "high": high,
        }
    )


def _draw_roc(axis: Axes, model: Model, curve: pd.DataFrame) -> None:
    style = line(model)
    style["label"] += f", AUC {curve['auc'].iloc[0]:.3f}"
    x = 1 - curve["specificity"]
    axis.fill_between(
        x, curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0
    )
    axis.plot(x, curve["sensitivity"], **style)


def _dress_roc(axis: Axes, test_set: str) -> None:
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)
    axis.set_title(f"{test_set.capitalize()} test patients")
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    axis.set(xlabel="1 \u2212 specificity", ylabel="Sensitivity")
    axis.legend(loc="lower right", fontsize=8)
