"""What a manifest holds, in counts: of patients and of pictures, by class.

A chart is a table: a row per value, with the number of benign and malignant ones and of
those without pathology. A patient is malignant where one of its pictures is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.client.checking import Checked, class_of_patients
from thyroid_fl.columns import Boxes

MOST_ROWS = 15
"""Rows of a chart; further ones are summed."""
GRADES = ("2", "3", "4a", "4b", "4c", "5")
# Edges of the spans that are counted.
AGES = range(0, 131, 10)
PICTURES = (0, 1, 2, 3, 4, 9, math.inf)
PERCENTS = (0, 1, 2, 5, 10, 20, 50, 100)
SIDES_PX = (0, 128, 256, 512, 768, 1024, 2048, math.inf)
LENGTHS_MM = (0, 5, 10, 20, 40, math.inf)

_PICTURES = ("1", "2", "3", "4", "5\u20139", "10 and more")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a chart."""

    name: str
    n_benign: int
    n_malignant: int
    n_unknown: int

    @property
    def n(self) -> int:
        """How many there are, of any class."""
        return self.n_benign + self.n_malignant + self.n_unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Counts of patients or of pictures by one property."""

    title: str
    unit: str
    rows: list[Row]
    note: str = ""

    @property
    def most(self) -> int:
        """The largest row's n, at least 1."""
        return max([1, *(row.n for row in self.rows)])


def counts(checked: Checked) -> list[tuple[str, int]]:
    """Return the numbers of what there is, with their names."""
    cases = checked.cases
    patients = patients_of(cases)
    found = [
        ("hospitals", cases["hospital"].nunique()),
        ("patients", len(patients)),
        ("benign", int((patients["malignant"] == 0).sum())),
        ("malignant", int((patients["malignant"] == 1).sum())),
        ("pictures", len(cases)),
        ("with a mask", int(cases["mask"].notna().sum())),
        ("with a box", int(cases["boxes"].map(bool).sum())),
    ]
    if checked.n_alike:
        found.append(("like another one of the patient", checked.n_alike))
    return found


def patient_charts(cases: pd.DataFrame) -> list[Chart]:
    """Return the charts whose unit is the patient, but those without any value.

    Args:
        cases: one row per picture, all columns of a manifest.
    """
    patients = patients_of(cases)
    classes, ages = patients["malignant"], patients["age"]
    decades = pd.cut(ages, list(AGES), right=False, labels=_spans(AGES, last=1))
    sexes = patients["sex"].map({"F": "female", "M": "male"})
    few = pd.cut(patients["n_pictures"], PICTURES, labels=_PICTURES)
    return _told(
        _chart("Hospital", "patients", patients["hospital"], classes),
        _chart("Sex", "patients", sexes, classes),
        _chart("Age, years", "patients", decades, classes, _spread(ages)),
        _chart("Pictures of a patient", "patients", few, classes),
    )


def picture_charts(checked: Checked) -> list[Chart]:
    """Return the charts whose unit is the picture, but those without any value."""
    cases, classes = checked.cases, checked.cases["malignant"]
    known = cases["tirads"].where(cases["tirads"].isin(GRADES))
    grades = known.astype(pd.CategoricalDtype(list(GRADES)))
    percents, lengths_mm = _nodule_sizes(checked)
    shares = pd.cut(percents, PERCENTS, labels=_spans(PERCENTS, " %"))
    lengths = pd.cut(lengths_mm, LENGTHS_MM, labels=_spans(LENGTHS_MM, " mm"))
    in_percent, in_mm = _spread(percents, " %"), _spread(lengths_mm, " mm")
    return _told(
        _chart("Vendor", "pictures", cases["vendor"], classes),
        _chart("Scanner", "pictures", cases["device"], classes),
        _chart("TI-RADS", "pictures", grades, classes),
        _chart("View", "pictures", cases["view"], classes),
        _chart("Size, pixels", "pictures", _sizes(checked), classes),
        _chart("Largest box in the picture", "pictures", shares, classes, in_percent),
        _chart("Longer side of that box", "pictures", lengths, classes, in_mm),
    )


def patients_of(cases: pd.DataFrame) -> pd.DataFrame:
    """Return a row per patient: hospital, malignant, sex, age and n_pictures."""
    by_patient = cases.groupby(["hospital", "patient_id"])
    first = by_patient[["sex", "age"]].first()
    first["malignant"] = class_of_patients(cases)
    first["n_pictures"] = by_patient.size()
    return first.reset_index()


def _chart(
    title: str,
    unit: str,
    values: "pd.Series[Any]",
    classes: "pd.Series[float]",
    note: str = "",
) -> Chart:
    """Count values by class: in the order of categories, else the frequent first."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        every = values.cat.categories
        used = np.flatnonzero(every.isin(values.dropna()))
        names = list(every[used[0] : used[-1] + 1]) if len(used) else []
    else:
        names = list(values.value_counts().index)
    rows = [_row(str(name), classes[values == name]) for name in names[:MOST_ROWS]]
    others = names[MOST_ROWS:]
    if others:
        rows.append(_row(f"{len(others)} others", classes[values.isin(others)]))
    if rows and values.isna().any():
        rows.append(_row("not given", classes[values.isna()]))
    return Chart(title=title, unit=unit, rows=rows, note=note)


def _row(name: str, classes: "pd.Series[float]") -> Row:
    return Row(
        name=name,
        n_benign=int((classes == 0).sum()),
        n_malignant=int((classes == 1).sum()),
        n_unknown=int((~classes.isin([0, 1])).sum()),
    )


def _told(*charts: Chart) -> list[Chart]:
    return [chart for chart in charts if chart.rows]


def _spread(numbers: "pd.Series[float]", unit: str = "") -> str:
    """Return the quartiles in words, or nothing where there is no number."""
    if numbers.notna().sum() == 0:
        return ""
    low, median, high = numbers.quantile([0.25, 0.5, 0.75])
    return f"median {median:.3g}{unit}, quartiles {low:.3g} to {high:.3g}{unit}"


def _spans(edges: Sequence[float], unit: str = "", *, last: int = 0) -> list[str]:
    """Return names of the spans between edges, as "0-10 %" or, less 1, "0-9"."""
    return [
        f"> {low:g}{unit}" if np.isinf(high) else f"{low:g}\u2013{high - last:g}{unit}"
        for low, high in pairwise(edges)
    ]


def _sizes(checked: Checked) -> "pd.Series[Any]":
    """Return width and height or, where there are too many, spans of the longer."""
    sizes, index = checked.seen.sizes_px, checked.cases.index
    if len(np.unique(sizes, axis=0)) > MOST_ROWS:
        longer = pd.Series(sizes.max(axis=1), index)
        return pd.cut(longer, SIDES_PX, labels=_spans(SIDES_PX, " the longer side"))
    names = [f"{w} \u00d7 {h}" if w else None for w, h in sizes]
    return pd.Series(names, index, dtype="str")


def _nodule_sizes(checked: Checked) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Return the largest box's percent of its picture, and its longer side in mm."""
    boxes = np.array([_largest(boxes) for boxes in checked.seen.boxes]).reshape(-1, 2)
    pixels = checked.seen.sizes_px.prod(axis=1).astype(float)
    pixels[pixels == 0] = np.nan  # the picture cannot be read
    index = checked.cases.index
    percents = pd.Series(100 * boxes[:, 0] / pixels, index).clip(upper=100)
    return percents, pd.Series(boxes[:, 1], index) * checked.cases["pixel_mm"]


def _largest(boxes: Boxes) -> tuple[float, float]:
    """Return area and longer side of the largest box, in pixels; NaN without one."""
    sides = [(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes]
    width, height = max(sides, key=math.prod, default=(math.nan, math.nan))
    return width * height, max(width, height)
