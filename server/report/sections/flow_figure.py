"""Figure 1: how many hospitals, patients and pictures came in, stayed, and went where.

As the flow charts of STARD and CONSORT: a box a stage with what was left out on the way
to it, and a box a side of the split. Boxes stand below each other, so that a phone
shows them.
"""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from thyroid_fl.server.report.charts import GREY, WIDTH_IN, Chart, in_house_style
from thyroid_fl.server.report.findings import each

STAGES = {
    "registered": "Registered",
    "readable": "Readable",
    "usable": "Usable for the task",
}
SIDES = {
    "train": "Training",
    "val": "Validation",
    "internal": "Internal test",
    "external": "External test",
}
LINE_IN = 0.17
"""Height of a line of text."""
GAP_IN = 0.14
TRUNK = 0.05
"""Where the line from box to box runs, as a share of the width."""
INDENT = 0.11
MOST_LETTERS = 54
"""Of a line in a box; a browser's own font may be wider than matplotlib's."""
LETTER_PT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One box: a stage or a side, or who did not reach the next stage."""

    title: str
    n_hospitals: int | None = None
    """None: not known here; so with the other counts."""
    n_patients: int | None = None
    n_malignant: int | None = None
    n_images: int | None = None
    words: str = ""
    """What else the box says."""
    is_stage: bool = False
    """Whether it stands on the trunk; else it branches off."""

    def lines(self) -> list[str]:
        """Return the box's text below its title."""
        patients = _count(self.n_patients, "patient")
        if patients and self.n_malignant is not None:
            patients += f" ({self.n_malignant:,} malignant)"
        people = [_count(self.n_hospitals, "hospital"), patients]
        parts = [
            ", ".join(count for count in people if count),
            _count(self.n_images, "image"),
            self.words,
        ]
        return [line for part in parts for line in textwrap.wrap(part, MOST_LETTERS)]


def comparison_steps(baseline: pd.DataFrame, left_out: pd.DataFrame) -> list[Step]:
    """Return the boxes of a comparison's task.

    Args:
        baseline: the task's rows of ``baseline.csv``.
        left_out: the task's rows of ``left_out.csv``.
    """
    return list(_comparison_steps(baseline, left_out))


@in_house_style
def flow_figure(steps: Sequence[Step]) -> Chart:
    """Return the flow chart; its numbers have the fields of `Step` as columns."""
    heights = [LINE_IN * (1 + len(step.lines())) + GAP_IN for step in steps]
    height_in = sum(heights) + GAP_IN * (len(steps) - 1)
    figure = Figure(figsize=(WIDTH_IN, height_in))
    axis = figure.add_axes((0.005, 0.005, 0.99, 0.99))
    axis.set(xlim=(0, 1), ylim=(height_in, 0))
    axis.axis("off")
    top = 0.0
    places = []
    for step, height in zip(steps, heights, strict=True):
        _draw_box(axis, step, top, height)
        places.append((step, top, top + height))
        top += height + GAP_IN
    _draw_lines(axis, places)
    return Chart("flow", figure, pd.DataFrame([asdict(step) for step in steps]))


def everyone(baseline: pd.DataFrame) -> dict[str, Any]:
    """Return the row of all patients of each stage, with columns as attributes."""
    rows = baseline[baseline["characteristic"] == "patients"]
    return {row.stage: row for row in each(rows)}


def _comparison_steps(baseline: pd.DataFrame, left_out: pd.DataFrame) -> Iterator[Step]:
    is_malignant = (baseline["characteristic"] == "class") & (
        baseline["cell"] == "malignant"
    )
    n_malignant = baseline[is_malignant].set_index("stage")["n_patients"].to_dict()
    counts = everyone(baseline)
    for stage, title in (STAGES | SIDES).items():
        if stage in ("readable", "usable"):
            yield _left_out(stage, left_out[left_out["stage"] == stage])
        yield Step(
            title=title,
            n_hospitals=counts[stage].n_hospitals,
            n_patients=counts[stage].n_patients,
            n_malignant=n_malignant.get(stage),
            n_images=counts[stage].n_images,
            is_stage=stage in STAGES,
        )


def _left_out(stage: str, rows: pd.DataFrame) -> Step:
    reasons = [f"{row.reason} ({row.n_images:,})" for row in each(rows)]
    return Step(
        title=f"Left out as not {stage}",
        n_images=int(rows["n_images"].sum()),
        words="; ".join(reasons),
    )


def _count(n: int | None, what: str) -> str:
    if n is None:
        return ""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _draw_box(axis: Axes, step: Step, top: float, height: float) -> None:
    is_out = step.title.startswith("Left out")
    left = 0.0 if step.is_stage else INDENT
    style = {"edgecolor": "black", "facecolor": "#eef4fa", "linewidth": 0.8}
    if is_out:
        style |= {"edgecolor": GREY, "facecolor": "white", "linestyle": "--"}
    axis.add_patch(
        FancyBboxPatch(
            (left, top), 1 - left, height,
            boxstyle="square,pad=0", zorder=2, **style,  # type: ignore[arg-type]
        )
    )  # fmt: skip
    first = top + GAP_IN / 2 + LINE_IN / 2
    place = left + 0.025
    title = {"fontsize": LETTER_PT, "va": "center", "zorder": 3}
    axis.text(place, first, step.title, weight="bold", **title)  # type: ignore[arg-type]
    for number, line in enumerate(step.lines(), 1):
        axis.text(place, first + number * LINE_IN, line, **title)  # type: ignore[arg-type]


def _draw_lines(axis: Axes, places: Sequence[tuple[Step, float, float]]) -> None:
    """Draw the trunk through all boxes, and an arrow to each branch and stage."""
    for step, top, bottom in places:
        middle = (top + bottom) / 2
        if not step.is_stage:
            _arrow(axis, (TRUNK, middle), (INDENT, middle))
        elif top > 0:
            _arrow(axis, (TRUNK, top - GAP_IN), (TRUNK, top))
    _, top, bottom = places[-1]
    end = (top + bottom) / 2  # the trunk goes on behind the boxes
    axis.plot([TRUNK, TRUNK], [0, end], color="black", linewidth=0.8, zorder=1)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", end, start, arrowprops={**style, "color": "black"})
