"""Tables 1 and 2 of a comparison: who is on which side of the split, as text."""

import pandas as pd

from thyroid_fl.server.report.findings import each
from thyroid_fl.server.report.sections.flow_figure import SIDES
from thyroid_fl.server.report.words import number
from thyroid_fl.summary import UNKNOWN

DASH = "\u2013"
COLUMNS = {"usable": "Total", **SIDES}
ROWS = {
    ("class", "malignant"): "Malignant",
    ("class", "benign"): "Benign",
    ("class", UNKNOWN): "Class unknown",
    ("sex", "M"): "Male",
    ("sex", "F"): "Female",
    ("sex", UNKNOWN): "Sex unknown",
}


def characteristics_table(baseline: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1: age, class, sex and images of each side of the split.

    Args:
        baseline: one task's rows of ``baseline.csv``. A class or sex that nobody has
            gets no row.
    """
    everyone = _cells(baseline, "patients", "all")
    lines = [
        _line("Hospitals", everyone, "hospitals"),
        _line("Age (y), median (IQR)", everyone, "age"),
        _line("Images", everyone, "images"),
    ]
    for (characteristic, cell), name in ROWS.items():
        cells = _cells(baseline, characteristic, cell)
        if cells["n_patients"].sum():
            lines += [
                _line(f"{name}, patients (%)", cells, "patients"),
                _line(f"{name}, age (y)", cells, "age"),
                _line(f"{name}, images", cells, "images"),
            ]
    counts = everyone["n_patients"].astype("int64").tolist()
    names = {
        name: f"{name} (n\u00a0=\u00a0{n:,})"
        for name, n in zip(COLUMNS.values(), counts, strict=True)
    }
    return pd.DataFrame(lines).rename(columns=names)


def vendors_table(baseline: pd.DataFrame) -> pd.DataFrame:
    """Return Table 2: patients (%) of each vendor and side, and images in all."""
    vendors = baseline[baseline["characteristic"] == "vendor"]
    total = vendors[vendors["stage"] == "usable"].sort_values(
        "n_patients", ascending=False, kind="stable"
    )
    lines = []
    for row in each(total[total["n_patients"] > 0]):
        line = _line(str(row.cell), _cells(baseline, "vendor", row.cell), "patients")
        lines.append({"Vendor": line.pop(""), "Images": f"{row.n_images:,}", **line})
    return pd.DataFrame(lines, columns=["Vendor", *COLUMNS.values(), "Images"])


def _cells(baseline: pd.DataFrame, characteristic: str, cell: str) -> pd.DataFrame:
    """Return the rows of one cell by stage."""
    is_here = (baseline["characteristic"] == characteristic) & (
        baseline["cell"] == cell
    )
    return baseline[is_here].set_index("stage").reindex(list(COLUMNS))


def _line(name: str, cells: pd.DataFrame, what: str) -> dict[str, str]:
    texts = {
        stage: _text(row, what) for stage, row in zip(COLUMNS, each(cells), strict=True)
    }
    return {"": name} | {COLUMNS[stage]: text for stage, text in texts.items()}


def _text(row: object, what: str) -> str:
    age, q1, q3 = (getattr(row, f"age_{name}") for name in ("median", "q1", "q3"))
    if what == "age":
        if pd.isna(age):
            return DASH
        return f"{number(age, 0)} ({number(q1, 0)}\u2013{number(q3, 0)})"
    n = getattr(row, f"n_{what}")
    percent = getattr(row, "percent")  # noqa: B009
    shown = what == "patients" and not pd.isna(percent)
    return f"{n:,.0f}" + (f" ({number(percent, 1)})" if shown else "")
