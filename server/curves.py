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
from thyroid_fl.evaluation.predictions import Model, test_cases
from thyroid_fl.evaluation.side_by_side import patient_values
from thyroid_fl.server.charts import (
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


@in_house_style
def roc_figure(predictions: pd.DataFrame, test_set: str) -> Chart:
    """Return patient-level ROC curves with 95% bands, averaged at equal specificity.

    A patient's score is the highest of its images.

    Args:
        predictions: the rows of classification in ``predictions.parquet``.
        test_set: ``internal`` or ``external``.
    """
    curves = _curves(_tested(predictions, test_set), _roc)
    axis, chart = _drawn(f"roc_{test_set}", curves, "AUC")
    axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.6)
    axis.set_title(f"{test_set.capitalize()} test patients")
    axis.set(xlabel="1 \u2212 specificity", ylabel="Sensitivity")
    return chart


@in_house_style
def precision_recall_figure(predictions: pd.DataFrame, test_set: str) -> Chart:
    """Return precision over recall at IoU 0.5, with 95% bands.

    Args:
        predictions: the rows of detection in ``predictions.parquet``.
        test_set: ``internal`` or ``external``.
    """
    curves = _curves(_tested(predictions, test_set), _precision_recall)
    axis, chart = _drawn(f"precision_recall_{test_set}", curves, "AP50")
    axis.set_title(f"Nodules of {test_set} test patients")
    axis.set(xlabel="Recall (sensitivity)", ylabel="Precision")
    return chart


@in_house_style
def dice_figure(predictions: pd.DataFrame, test_set: str) -> Chart:
    """Return the share of patients whose mean Dice is at least x.

    Args:
        predictions: the rows of segmentation in ``predictions.parquet``.
        test_set: ``internal`` or ``external``.
    """
    curves = _curves(_tested(predictions, test_set), _reached)
    axis, chart = _drawn(f"dice_{test_set}", curves, "mean Dice")
    axis.set_title(f"{test_set.capitalize()} test patients")
    axis.set(xlabel="Dice", ylabel="Share of patients with at least this Dice")
    return chart


CURVES: Final[dict[str, Callable[[pd.DataFrame, str], Chart]]] = {
    "detection": precision_recall_figure,
    "segmentation": dice_figure,
    "classification": roc_figure,
}


def _tested(predictions: pd.DataFrame, test_set: str) -> pd.DataFrame:
    cases = test_cases(predictions)
    return cases[cases["test_set"] == test_set]


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
    numeric = cases.drop(columns=["found", "scores", "boxes"], errors="ignore")
    patients = patient_values(numeric, "mean")
    shares = np.mean(
        [
            (run["dice"].to_numpy()[:, None] >= DICE_GRID).mean(0)
            for run in _runs(patients)
        ],
        axis=0,
    )
    unknown = np.full(len(DICE_GRID), np.nan)
    value = float(patients["dice"].mean())
    return Curve(model, value, DICE_GRID, shares, unknown, unknown)


def _runs(cases: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, run in cases.groupby(["fold", "seed"], sort=False):
        yield run


def _drawn(name: str, curves: list[Curve], value: str) -> tuple[Axes, Chart]:
    figure, (axis,) = panels(1, height_in=4.3)
    numbers = [pd.DataFrame()]
    for curve in curves:
        style = line(curve.model)
        style["label"] += f", {value} {curve.value:.3f}"
        band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
        axis.fill_between(curve.x, curve.low, curve.high, **band)
        axis.plot(curve.x, curve.y, **style)
        columns = {"x": curve.x, "y": curve.y, "low": curve.low, "high": curve.high}
        names = {**curve.model._asdict(), "value": curve.value}
        numbers.append(pd.DataFrame({**names, **columns}))
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.01), aspect="equal")
    if curves:
        axis.legend(loc="best", fontsize=8)
    return axis, Chart(name, figure, pd.concat(numbers))
