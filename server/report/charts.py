"""What all figures share: the chart with its numbers, its look, its files.

Colours are those of Okabe and Ito (2008), told apart by the colour-blind; markers and
line styles tell them apart in grey print. A chart is as narrow as a phone is wide, so
that the report can set several side by side.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, Model
from thyroid_fl.server.report.words import (
    ARMS,
    model_name,
)

WIDTH_IN = 4.2
GREY = "#666666"
MARKERS = {"federated": "o", "pooled": "s", "single": "^"}

_ARM_COLOURS = {"pooled": "#009E73", "single": "#D55E00"}
_STRATEGY_COLOURS = {
    "fedavg": "#0072B2",
    "fedprox": "#CC79A7",
    "fedadam": "#E69F00",
    "fedbn": "#56B4E9",
}
_ARM_LINES = {"federated": "-", "pooled": "--", "single": ":"}
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.parse_math": False,  # a hospital's name may hold a $
    "svg.fonttype": "none",  # text stays text: small, searchable, read aloud
    "svg.hashsalt": "thyroid-fl",  # the same numbers give the same file
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_P = ParamSpec("_P")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure, its file name without an ending, and the numbers that it shows."""

    name: str
    figure: Figure
    numbers: pd.DataFrame


def in_house_style(draw: Callable[_P, Chart]) -> Callable[_P, Chart]:
    """Return the drawing function in our look: artists take theirs when they are made.

    Only for the call, so that a notebook's own settings stay as they are.
    """

    @wraps(draw)
    def styled(*args: _P.args, **kwargs: _P.kwargs) -> Chart:
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


def save_chart(chart: Chart, folder: Path) -> Path:
    """Write the chart as SVG, PNG (200 dpi) and CSV; return the path of the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{chart.name}.svg"
    with mpl.rc_context(_STYLE):
        chart.figure.savefig(path, metadata=_NO_METADATA)
        chart.figure.savefig(path.with_suffix(".png"), dpi=200)
    chart.numbers.to_csv(path.with_suffix(".csv"), index=False)
    return path


def panels(
    n: int, height_in: float, *, stacked: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels side by side, or stacked on one x axis."""
    width_in = WIDTH_IN if stacked else WIDTH_IN * n
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    shape = (n, 1) if stacked else (1, n)
    return figure, list(figure.subplots(*shape, sharex=stacked, squeeze=False).flat)


def models(table: pd.DataFrame) -> list[Model]:
    """Return the models in a table: federated, pooled, then the single hospitals."""
    found = table[MODEL_COLUMNS].drop_duplicates().itertuples(index=False)
    return sorted((Model(*row) for row in found), key=lambda model: ARMS[model.arm])


def of_model(table: pd.DataFrame, model: Model) -> pd.DataFrame:
    """Return the rows of one model."""
    return table[(table[MODEL_COLUMNS] == list(model)).all(axis=1)]


def colour(model: Model) -> str:
    """Return the colour of a model's arm; a federated one has that of its strategy."""
    of_strategy = _STRATEGY_COLOURS.get(model.strategy, "#0072B2")
    return _ARM_COLOURS.get(model.arm, of_strategy)


def line(model: Model) -> dict[str, Any]:
    """Return how to draw a model's line, with its name as the label."""
    return {
        "color": colour(model),
        "linestyle": _ARM_LINES[model.arm],
        "linewidth": 1.6,
        "label": model_name(*model._replace(trained_on=short(model.trained_on))),
    }


def short(name: str, most: int = 14) -> str:
    """Return a hospital's name cut to so many characters."""
    return name if len(name) <= most else f"{name[: most - 1]}\u2026"


def whiskers(
    axis: Axes, values: "pd.Series[float]", rows: pd.DataFrame, at: Any, **style: Any
) -> None:
    """Draw values, from ``low`` to ``high``, at these heights; no limits: a dot."""
    error = rows[["low", "high"]].sub(values, axis=0).abs().fillna(0).to_numpy().T
    axis.errorbar(values, at, xerr=error, linestyle="", elinewidth=1.2, **style)


def dress_forest(axis: Axes, names: Iterable[str], label: str) -> None:
    """Dress an axis whose rows, from the top, have these names."""
    names = list(names)
    axis.set_yticks(range(len(names)), names, fontsize=8.5)
    axis.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axis.set_xlabel(label)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    legend_above(axis)


def legend_above(axis: Axes) -> None:
    """Put the legend above the figure, two entries abreast, each name once."""
    handles, labels = axis.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure = axis.get_figure(root=True)
    if entries and figure is not None:
        figure.legend(
            list(entries.values()), list(entries), loc="outside upper left", ncols=2
        )
