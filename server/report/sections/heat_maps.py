"""Where the classifiers look: the table, its chart, and the panel of pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, Model
from thyroid_fl.server.report.charts import (
    WIDTH_IN,
    Chart,
    dress_forest,
    in_house_style,
    models,
    of_model,
    save_chart,
    short,
    whiskers,
)
from thyroid_fl.server.report.findings import each, read_heat_maps
from thyroid_fl.server.report.page import inline
from thyroid_fl.server.report.words import TEST_SETS, interval, model_name, number

SHOWN = "heat_maps_shown.npz"
PANEL = "heat_map_pictures"
OUTLINE = "#56B4E9"
PATHOLOGY = ("benign", "malignant")
_TEST_SET_STYLE = {
    "internal": {"color": "#56B4E9", "marker": "D"},
    "external": {"color": "black", "marker": "o"},
}
_OF_PATHOLOGY = {"all": "", "malignant": ", malignant", "benign": ", benign"}

Shown = dict[str, NDArray[Any]]
"""The pictures of the panel, as the simulation writes them: models (M, 4), malignant
and area (K,), in_mask (M, K), pictures and masks (K, H, W), and overlays
(M, K, H, W, 3)."""


def heat_map_part(folder: Path, task: str, figures: Path) -> dict[str, Any] | None:
    """Return what the section of a task's heat maps sets; None if there are none.

    Args:
        folder: of the comparison.
        task: whose heat maps.
        figures: gets the charts.
    """
    table = read_heat_maps(folder)
    table = pd.DataFrame() if table is None else table.query("task == @task")
    if table.empty:
        return None
    rows, shown = _summed_up(table), _shown(folder)
    charts = [share_figure(rows)]
    for old in figures.glob(f"{PANEL}.*"):  # of an earlier call that showed pictures
        old.unlink()
    if shown is not None:
        charts.append(picture_figure(shown))
    paths = {chart.name: save_chart(chart, figures) for chart in charts}
    return {
        "figures": {name: inline(path, task) for name, path in paths.items()},
        "table": _in_words(rows),
        "n_cells": int(table["n_cells"].iloc[0]),
        "method": table["method"].iloc[0],
        "n_shown": 0 if shown is None else len(shown["area"]),
    }


def _summed_up(table: pd.DataFrame) -> pd.DataFrame:
    """Return the means over runs of the models that have several, the others' runs."""
    is_mean = table["seed"] == "mean"
    has_mean = is_mean.groupby([table[name] for name in MODEL_COLUMNS])
    return table[is_mean | ~has_mean.transform("any")]


def _shown(folder: Path) -> Shown | None:
    path = folder / SHOWN
    if not path.exists():
        return None
    with np.load(path) as file:
        shown = dict(file)
    return shown if len(shown["area"]) else None


@in_house_style
def share_figure(table: pd.DataFrame) -> Chart:
    """Return the share of heat in the nodule beside the share of the picture.

    One row per model, both test sets; the grey line is what heat spread evenly gives.
    """
    rows = table[table["pathology"] == "all"]
    drawn = models(rows)
    figure = Figure(figsize=(WIDTH_IN, 1.6 + 0.42 * len(drawn)), layout="constrained")
    axis = figure.subplots()
    height = {model: place for place, model in enumerate(drawn)}
    for test_set, shift in zip(TEST_SETS, (-0.15, 0.15), strict=True):
        in_set = rows[rows["test_set"] == test_set]
        for place, model in enumerate(models(in_set)):
            part, at = of_model(in_set, model), height[model] + shift
            label = {"label": f"{test_set.capitalize()} test"} if not place else {}
            style = {**_TEST_SET_STYLE[test_set], "markersize": 5, **label}
            whiskers(axis, part["in_mask"], part, [at], **style)
            _mark(axis, float(part["area"].iloc[0]), at)
    names = [model_name(*m._replace(trained_on=short(m.trained_on))) for m in drawn]
    dress_forest(axis, names, "Share of heat in the nodule (95% CI)")
    return Chart("heat_in_nodule", figure, rows)


def _mark(axis: Axes, area: float, at: float) -> None:
    label = "Heat spread evenly"
    axis.plot([area, area], [at - 0.14, at + 0.14], color="#D55E00", label=label)


@in_house_style
def picture_figure(shown: Shown) -> Chart:
    """Return a row per picture: as it is, then with the heat of each model."""
    n, columns = len(shown["area"]), ["Picture", *map(_name, shown["models"])]
    wide = WIDTH_IN / len(columns)
    figure = Figure(figsize=(WIDTH_IN, 0.35 + 1.1 * wide * n), layout="constrained")
    axes = figure.subplots(n, len(columns), squeeze=False)
    for axis, name in zip(axes[0], columns, strict=True):
        axis.set_title(name.replace(" (", "\n("), fontsize=8.5)
    numbers = []
    for k, (first, *others) in enumerate(axes):
        pathology = PATHOLOGY[int(shown["malignant"][k])]
        _draw(first, shown["pictures"][k], shown["masks"][k])
        first.set_ylabel(pathology.capitalize())
        first.set_xlabel(f"nodule {shown['area'][k]:.0%} of it", fontsize=7.5)
        for m, axis in enumerate(others):
            share = float(shown["in_mask"][m, k])
            _draw(axis, shown["overlays"][m, k], shown["masks"][k])
            inside = "no heat" if np.isnan(share) else f"{share:.0%} of heat inside"
            axis.set_xlabel(inside, fontsize=7.5)
            row = {"picture": k + 1, "pathology": pathology, "model": columns[m + 1]}
            numbers.append({**row, "in_mask": share, "area": shown["area"][k]})
    return Chart(PANEL, figure, pd.DataFrame(numbers))


def _name(model: NDArray[np.str_]) -> str:
    return model_name(*map(str, model))


def _draw(axis: Axes, picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    """Draw a picture (H, W) or (H, W, 3) with the nodule's outline."""
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axis.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=1.0)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model and test set, as text."""
    lines = []
    for model in models(table):
        of_this = of_model(table, model)
        for test_set in TEST_SETS:
            rows = of_this[of_this["test_set"] == test_set]
            if len(rows):
                lines.append(_line(model, test_set, rows))
    return pd.DataFrame(lines)


def _line(model: Model, test_set: str, rows: pd.DataFrame) -> dict[str, str]:
    by_class = {row.pathology: row for row in each(rows)}
    row = by_class["all"]
    share = interval(row.in_mask, row.low, row.high)
    minus = {
        f"Heat minus picture{title} (95% CI)": _excess(by_class[pathology])
        for pathology, title in _OF_PATHOLOGY.items()
    }
    return {
        "Model": model_name(*model),
        "Test set": test_set,
        "Share of heat in the nodule (95% CI)": share,
        "Share of the picture": number(row.area),
        **minus,
        "Pictures (patients)": f"{row.n} ({row.n_patients})",
        "Without heat": str(row.n_without_heat),
    }


def _excess(row: Any) -> str:
    return interval(row.excess, row.excess_low, row.excess_high, sign=True)
