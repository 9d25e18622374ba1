"""The figure of a data summary: sizes and classes, vendors, ages, grey levels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from thyroid_fl.server.report.charts import GREY as GREY_INK
from thyroid_fl.server.report.charts import WIDTH_IN, Chart, in_house_style
from thyroid_fl.server.report.summary_tables import Array, ages, quartiles, table_2
from thyroid_fl.server.summary_replies import Summary
from thyroid_fl.summary import AGE_YEARS, N_AGE_BINS, N_GREY_BINS, TABLES, WITHHELD

HEIGHT_IN = 6.6
BAR_HEIGHT = 0.74
"""The highest bar of the ages, as a share of the panel: the legend is above."""
_CLASSES = {
    "malignant": "#D55E00",
    "benign": "#0072B2",
    "not told or unknown": "#BBBBBB",
}
_SEXES = {"female": "#CC79A7", "male": "#56B4E9", "not told or unknown": "#BBBBBB"}


@in_house_style
def summary_figure(summaries: Sequence[Summary]) -> Chart:
    """Return what the hospitals told as four panels; hospitals have no names here.

    Patients by hospital and class, by vendor, by age and sex; and the grey levels of
    each hospital's pictures with the mean over the hospitals.

    The chart's numbers have the columns panel, node (missing where it is the
    federation's number), label, at (a cell, or where a bin begins), and value.
    """
    told = [s for s in summaries if s.n_patients != WITHHELD]
    told.sort(key=lambda summary: -summary.n_patients)
    figure = Figure(figsize=(2 * WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = list(figure.subplots(2, 2).flat)
    numbers = pd.concat(
        [
            _draw_classes(axes[0], told, len(summaries) - len(told)),
            _draw_vendors(axes[1], summaries),
            _draw_ages(axes[2], summaries),
            _draw_grey(axes[3], told),
        ],
        ignore_index=True,
    )
    return Chart("summary", figure, numbers)


def _draw_classes(axis: Axes, told: Sequence[Summary], n_tiny: int) -> pd.DataFrame:
    """Draw a bar a hospital, largest first."""
    rows = []
    for summary in told:
        counts = dict(zip(TABLES["class"], summary.patients["class"], strict=True))
        shown = {name: max(counts[name], 0) for name in ("malignant", "benign")}
        shown["not told or unknown"] = summary.n_patients - sum(shown.values())
        rows.append(shown)
    table = pd.DataFrame(rows, columns=list(_CLASSES))
    width = 1.0 if len(table) > 25 else 0.8
    _stack(axis, np.arange(1.0, len(table) + 1), table, _CLASSES, width=width)
    more = f", {n_tiny} more too small to tell" if n_tiny else ""
    axis.set_title(f"{len(told)} hospitals{more}")
    axis.set(xlabel="Hospital, by size", ylabel="Patients")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.margins(x=0.01, y=0.05)
    table["node"] = _nodes(told)
    return _long(table, "class", at="label")


def _draw_vendors(axis: Axes, summaries: Sequence[Summary]) -> pd.DataFrame:
    """Draw what was told, and a line up to what it may be at most."""
    table = table_2(summaries)
    low, high = table["patients_at_least"], table["patients_at_most"]
    at = np.arange(len(table))
    axis.barh(at, low, color="#009E73", height=0.75)
    axis.hlines(at, low, high, color=GREY_INK, linewidth=1.2)
    axis.set_yticks(at, table["cell"], fontsize=8.5)
    axis.set_ylim(len(table) - 0.4, -0.6)
    axis.set_title("Vendors")
    axis.set_xlabel("Patients told (bar), at most (line)")
    numbers = table.rename(columns={"cell": "at"}).melt(
        "at", ["patients_at_least", "patients_at_most"], "label", "value"
    )
    return numbers.assign(panel="vendor")


def _draw_ages(axis: Axes, summaries: Sequence[Summary]) -> pd.DataFrame:
    """Draw bars of the age bins, with the median and the quartiles."""
    everyone = ages(summaries, "all")
    by_sex = {"female": ages(summaries, "F"), "male": ages(summaries, "M")}
    table = pd.DataFrame({name: found.patients for name, found in by_sex.items()})
    rest = everyone.patients - table.sum(axis=1)
    table["not told or unknown"] = rest.clip(lower=0)
    n_unknown = round(table.sum(axis=1)[N_AGE_BINS])
    table = table[:N_AGE_BINS]
    begins = AGE_YEARS * np.arange(N_AGE_BINS)
    _stack(
        axis,
        (begins + AGE_YEARS / 2).astype(np.float64),
        table,
        _SEXES,
        width=AGE_YEARS,
    )
    low, median, high = quartiles(everyone)
    axis.set_title("Age" if everyone.patients[:N_AGE_BINS].any() else "No ages told")
    if not np.isnan([low, median, high]).any():
        axis.axvspan(
            low, high, ymax=BAR_HEIGHT, color="black", alpha=0.08, linewidth=0, zorder=0
        )
        axis.axvline(median, ymax=BAR_HEIGHT, color="black", linewidth=1)
        axis.set_title(f"Age: median {median:.0f} (quartiles {low:.0f} and {high:.0f})")
    unknown = f" ({n_unknown} patients of unknown age)" if n_unknown else ""
    axis.set(xlabel=f"Years{unknown}", ylabel="Patients, estimated")
    axis.set_ylim(0, max(table.sum(axis=1).max(), 1) / BAR_HEIGHT)
    return _long(table.assign(at=begins), "age", at="at")


def _draw_grey(axis: Axes, told: Sequence[Summary]) -> pd.DataFrame:
    """Draw a thin line a hospital, and their mean."""
    begins = np.arange(N_GREY_BINS) * 256 // N_GREY_BINS
    shares = 100 * np.array([s.grey for s in told]).reshape(-1, N_GREY_BINS)
    alpha = float(np.clip(15 / max(len(told), 1), 0.12, 0.8))
    axis.plot(begins, shares.T, color="#0072B2", linewidth=0.7, alpha=alpha)
    if told:
        axis.plot(begins, shares.mean(axis=0), color="black", label="mean of hospitals")
        axis.legend(loc="upper right")
    axis.set_title("Pictures: a line is a hospital")
    axis.set(xlabel="Grey level (0 black, 255 white)", ylabel="Share of pixels, %")
    axis.set_ylim(0)
    table = pd.DataFrame(shares, columns=begins)
    numbers = table.assign(node=_nodes(told)).melt("node", None, "at")
    return numbers.assign(panel="grey", label="percent of pixels")


def _stack(
    axis: Axes, at: Array, table: pd.DataFrame, colours: dict[str, str], width: float
) -> None:
    """Draw stacked bars, one colour a column; a column without patients has no name."""
    below = np.zeros(len(table))
    for name, shade in colours.items():
        label = name.capitalize() if table[name].sum() >= 0.5 else None
        axis.bar(at, table[name], width, bottom=below, color=shade, label=label)
        below += table[name]
    if axis.get_legend_handles_labels()[1]:
        axis.legend(loc="upper right")


def _nodes(told: Sequence[Summary]) -> list[str]:
    """Return the nodes as text: Flower's numbers are too long for a float."""
    return [str(summary.node) for summary in told]


def _long(table: pd.DataFrame, panel: str, at: str) -> pd.DataFrame:
    keys = [name for name in ("node", "at") if name in table]
    return table.melt(keys, None, "label").assign(panel=panel)
