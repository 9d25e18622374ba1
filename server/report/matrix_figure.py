"""A generalisation matrix as a heat map."""

import numpy as np
import pandas as pd

from thyroid_fl.evaluation import EVALUATIONS
from thyroid_fl.evaluation.matrix import EQUAL, MIXED, OTHERS, WITHIN
from thyroid_fl.server.report.charts import Chart, in_house_style, panels, short
from thyroid_fl.server.report.words import METRICS

COLOURS = "cividis"
"""Even to the eye, and the same to the colour-blind (Nunez et al. 2018)."""
UNDEFINED = "#dddddd"
ROW_IN = 0.3


def row_names(cells: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return (kind, source) -> the row's name, in the order of the figure."""
    sources = list(dict.fromkeys(cells.loc[cells["kind"] == "single", "source"]))
    return {
        **{("single", s): f"{s} alone" for s in sources},
        **{(OTHERS, s): f"all but {s}" for s in sources},
        **{(EQUAL, s): f"mixed, as many as {s}" for s in sources},
        ("mixed", ""): "mixed, all",
        ("federated", ""): "federated",
    }


@in_house_style
def matrix_figure(cells: pd.DataFrame) -> Chart:
    """Return the heat map: rows training sets, columns test sets, with the values.

    Args:
        cells: of one task, as `thyroid_fl.evaluation.matrix.cells_table` returns them.
    """
    names = row_names(cells)
    sources = [source for kind, source in names if kind == "single"]
    columns = [*sources, MIXED, *({WITHIN} & set(cells["column"]))]
    wide = cells.pivot(index=["kind", "source"], columns="column", values="value")
    values = wide.reindex(index=list(names), columns=columns).to_numpy(dtype=float)
    figure, (axis,) = panels(1, height_in=1.5 + ROW_IN * len(names))
    figure.set_figwidth(max(figure.get_figwidth(), 1.9 + 0.5 * len(columns)))
    axis.set_facecolor(UNDEFINED)
    image = axis.imshow(np.ma.masked_invalid(values), cmap=COLOURS, aspect="auto")
    middle = np.mean(image.get_clim())
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        is_dark = value < middle
        axis.text(
            column,
            row,
            f"{value:.2f}".lstrip("0") if np.isfinite(value) else "\u2013",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if is_dark else "black",
        )
    n = cells.drop_duplicates("column").set_index("column")["n"]
    unit = EVALUATIONS[cells["task"].iloc[0]].unit
    labels = [f"{short(c) if c != WITHIN else 'within'}\nn {n[c]:.0f}" for c in columns]
    axis.set_xticks(range(len(columns)), labels, fontsize=7.5, rotation=45, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(names)), list(names.values()), fontsize=7.5)
    for edge in (len(sources), 2 * len(sources), 3 * len(sources)):
        axis.axhline(edge - 0.5, color="white", linewidth=3)
    axis.axvline(len(sources) - 0.5, color="white", linewidth=3)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    metric = METRICS[cells["metric"].iloc[0]]
    bar = figure.colorbar(image, ax=axis, location="bottom", aspect=40, pad=0.01)
    bar.set_label(f"{metric}; n test {unit}s", fontsize=8)
    bar.outline.set_visible(False)
    return Chart("matrix", figure, cells)
