"""The curves of a task's test cases, one figure a test set.

Classification: ROC; detection: precision over recall; segmentation: how many patients
reach a Dice. Federated, pooled, and of the single hospitals the one that did best here.
Curves and limits of several seeds or folds are averaged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.evaluation.detection import detections
from thyroid_fl.evaluation.predictions import (
    CASE_COLUMNS,
    RUN_COLUMNS,
    Model,
    test_cases,
)
from thyroid_fl.evaluation.side_by_side import patient_values
from thyroid_fl.server.report.charts import (
    GREY,
    Chart,
    in_house_style,
    line,
    models,
    of_model,
    panels,
)
from thyroid_fl.statistics import (
    average_precision,
    precision_recall_band,
    roc_curve_band,
)

N_RESAMPLES = 400
SEED = 1
DICE_GRID = np.linspace(0, 1, 101)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A model's curve and the one number that stands for it."""

    model: Model
    value: float
    x: Array
    y: Array
    low: Array
    high: Array


@dataclass(frozen=True, slots=True)
class Look:
    """What a task's curves are, and what is written around them."""

    curve: Callable[[pd.DataFrame, Model], Curve | None]
    name: str
    value: str
    title: str
    x: str
    y: str


@in_house_style
def curve_figure(task: str, predictions: pd.DataFrame, test_set: str) -> Chart:
    """Return the curves of one test set.

    ROC and precision have pointwise 95% bands by bootstrap of patients. A patient's
    score is the highest of its images, its Dice their mean.

    Args:
        task: a name in `LOOKS`.
        predictions: its rows of the table ``predictions.parquet``.
        test_set: ``internal`` or ``external``.
    """
    look, cases = LOOKS[task], test_cases(predictions)
    curves = _curves(cases[cases["test_set"] == test_set], look.curve)
    figure, (axis,) = panels(1, height_in=4.3)
    numbers = [pd.DataFrame()]
    for curve in curves:
        _draw(axis, curve, look.value)
        columns = {"x": curve.x, "y": curve.y, "low": curve.low, "high": curve.high}
        names = {**curve.model._asdict(), "value": curve.value}
        numbers.append(pd.DataFrame({**names, **columns}))
    if task == "classification":
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)
    axis.set_title(look.title.format(test_set).capitalize())
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    axis.set(xlabel=look.x, ylabel=look.y)
    if curves:
        axis.legend(loc="best", fontsize=8)
    return Chart(f"{look.name}_{test_set}", figure, pd.concat(numbers))


def _curves(
    cases: pd.DataFrame, curve: Callable[[pd.DataFrame, Model], Curve | None]
) -> list[Curve]:
    """Return the curves of federated, pooled and the best single model."""
    found = (curve(of_model(cases, model), model) for model in models(cases))
    drawn = [each for each in found if each is not None]
    alone = [each for each in drawn if each.model.arm == "single"]
    best = sorted(alone, key=lambda each: each.value)[-1:]
    return [each for each in drawn if each.model.arm != "single"] + best


def _roc(cases: pd.DataFrame, model: Model) -> Curve | None:
    bands, values = [], []
    for run in _runs(patient_scores(cases)):
        if run["malignant"].nunique() == 2:
            labels, scores = run["malignant"].to_numpy(), run["score"].to_numpy()
            band = roc_curve_band(labels, scores, seed=SEED, n_resamples=N_RESAMPLES)
            x, y = band.false_positive_rate, band.true_positive_rate
            specificity = band.specificity
            bands.append((np.interp(1 - specificity, x, y), band.low, band.high))
            values.append(roc_auc_score(labels, scores))
    if not bands:
        return None
    y, low, high = np.mean(bands, axis=0)
    return Curve(model, float(np.mean(values)), 1 - specificity, y, low, high)


def _precision_recall(cases: pd.DataFrame, model: Model) -> Curve:
    runs = [detections(run) for run in _runs(cases)]
    band = precision_recall_band(runs, n_resamples=N_RESAMPLES, seed=SEED)
    value = average_precision(runs, n_resamples=1).value
    return Curve(model, value, band.recall, band.precision, band.low, band.high)


def _reached(cases: pd.DataFrame, model: Model) -> Curve:
    patients = patient_values(cases[[*RUN_COLUMNS, *CASE_COLUMNS, "dice"]], "mean")
    reached = [
        (run["dice"].to_numpy()[:, None] >= DICE_GRID).mean(axis=0)
        for run in _runs(patients)
    ]
    shares = np.mean(reached, axis=0)
    unknown = np.full(len(DICE_GRID), np.nan)
    value = float(patients["dice"].mean())
    return Curve(model, value, DICE_GRID, shares, unknown, unknown)


def _runs(cases: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, run in cases.groupby(["fold", "seed"], sort=False):
        yield run


def _draw(axis: Axes, curve: Curve, value: str) -> None:
    style = line(curve.model)
    style["label"] += f", {value} {curve.value:.3f}"
    band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
    axis.fill_between(curve.x, curve.low, curve.high, **band)
    axis.plot(curve.x, curve.y, **style)


LOOKS: Final = {
    "detection": Look(
        _precision_recall,
        "precision_recall",
        "AP50",
        "nodules of {} test patients",
        "Recall (sensitivity)",
        "Precision",
    ),
    "segmentation": Look(
        _reached,
        "dice",
        "mean Dice",
        "{} test patients",
        "Dice",
        "Share of patients with at least this Dice",
    ),
    "classification": Look(
        _roc,
        "roc",
        "AUC",
        "{} test patients",
        "1 \u2212 specificity",
        "Sensitivity",
    ),
}
