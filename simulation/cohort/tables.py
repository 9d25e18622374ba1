"""Tables 1 and 2 of Xu et al. 2023: as published, and counted from a cohort.

The published *counts* rule: Table 1 prints 44.08 % for 473 of 1076 patients (it is
43.96 %), and the text 14 % for the 1344 patients of GE (Table 2: 13.41 %).
Pairs are in the order of the columns' codes: benign, malignant and female, male.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

N_PATIENTS = 10_023
N_HOSPITALS = 208
N_ANNOTATING = 175
"""Hospitals with at least one annotated patient (Materials and Methods)."""
N_TEST_BELOW_45 = 490
"""Patients of the classification test set who are younger than 45 (Results)."""
SPLITS = ("train", "val", "test")
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, kw_only=True, slots=True)
class Margins:
    """One column of Table 1: patients and images by class and by sex, and age."""

    by_class: tuple[int, int]
    images_by_class: tuple[int, int]
    by_sex: tuple[int, int]
    images_by_sex: tuple[int, int]
    age: tuple[int, int, int]
    """First quartile, median and third quartile, years."""


TOTAL_AGE = (37, 46, 55)
AGE_BY_SEX = {"F": (37, 47, 55), "M": (37, 46, 55)}

CLASSIFICATION = {
    "train": Margins(
        by_class=(2684, 4332),
        images_by_class=(6825, 11652),
        by_sex=(5407, 1609),
        images_by_sex=(14175, 4302),
        age=(37, 47, 55),
    ),
    "val": Margins(
        by_class=(770, 1217),
        images_by_class=(1643, 2920),
        by_sex=(1520, 467),
        images_by_sex=(3464, 1099),
        age=(39, 48, 56),
    ),
    "test": Margins(
        by_class=(381, 639),
        images_by_class=(667, 1237),
        by_sex=(742, 278),
        images_by_sex=(1383, 521),
        age=(34, 45, 55),
    ),
}
SEGMENTATION = {
    "train": Margins(
        by_class=(1629, 2228),
        images_by_class=(3046, 4344),
        by_sex=(2964, 893),
        images_by_sex=(5687, 1703),
        age=(37, 47, 55),
    ),
    "val": Margins(
        by_class=(473, 603),
        images_by_class=(885, 1180),
        by_sex=(793, 283),
        images_by_sex=(1519, 546),
        age=(38, 48, 55),
    ),
    "test": Margins(
        by_class=(224, 321),
        images_by_class=(420, 637),
        by_sex=(426, 119),
        images_by_sex=(827, 230),
        age=(36, 47, 55),
    ),
}

VENDORS = {
    "Mindray": (2592, 8696),
    "Philips": (2517, 6028),
    "Esaote": (1945, 3674),
    "GE Healthcare": (1344, 3044),
    "Siemens Healthineers": (541, 1157),
    "Toshiba": (492, 1016),
    "Samsung": (145, 348),
    "Supersonic Imagine": (132, 319),
    "Hitachi": (114, 249),
}
"""Patients and images of Table 2's named vendors."""
OTHER = (201, 413)
OTHER_VENDORS = ("Zonare", "SonoScape", "VINNO")


def cohort_tables(cohort: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return Tables 1 and 2 of the paper, counted from `cohort`, laid out as printed.

    Args:
        cohort: One row per patient, as `thyroid_fl.simulation.cohort.cohort` gives.

    Returns:
        Table 1, 13 rows in printed order (labels repeat) and 7 columns of two levels;
        Table 2, 10 rows by vendor, descending, and two columns. Every cell is the
        printed text, such as ``6188 (61.74)`` and ``15 809``.
    """
    tasks = (
        ("Detection and Segmentation Tasks", "segmentation"),
        ("Classification Task", "classification"),
    )
    columns = {(f"Total Group ( n = {_count(len(cohort))})", ""): _column(cohort)}
    for title, task in tasks:
        n_images = "n_images" if task == "classification" else "n_annotated_images"
        for label, split in zip(
            ("Training", "Validation", "Test"), SPLITS, strict=True
        ):
            part = cohort[cohort[f"{task}_split"] == split]
            heading = f"{label} Set ( n = {_count(len(part))})"
            columns[title, heading] = _column(part, n_images=n_images, age_by_sex=False)
    table_1 = pd.DataFrame(dict(enumerate(columns.values())), index=_ROWS)
    table_1.columns = pd.MultiIndex.from_tuples(columns)
    return table_1.rename_axis("Characteristic"), _vendor_table(cohort)


_ROWS = (
    "Overall",
    "Age (y)*",
    "Patients with malignant tumors",
    "No. of images",
    "Patients with benign tumors",
    "No. of images",
    "Male sex",
    "Age (y)*",
    "No. of images",
    "Female sex",
    "Age (y)*",
    "No. of images",
)


def _column(
    part: pd.DataFrame, *, n_images: str = "n_images", age_by_sex: bool = True
) -> list[str]:
    """Return the twelve cells of one column of Table 1."""

    def patients(rows: pd.DataFrame) -> str:
        return f"{len(rows)} ({_percent(len(rows), len(part))})"

    def images(rows: pd.DataFrame) -> str:
        return _count(int(rows[n_images].sum()))

    cells = ["", _ages(part)]
    for malignant in (1, 0):
        rows = part[part["malignant"] == malignant]
        cells += [patients(rows), images(rows)]
    for sex in ("M", "F"):
        rows = part[part["sex"] == sex]
        cells += [patients(rows), _ages(rows) if age_by_sex else "...", images(rows)]
    return cells


def _vendor_table(cohort: pd.DataFrame) -> pd.DataFrame:
    vendor = cohort["vendor"].where(cohort["vendor"].isin(list(VENDORS)), "Other")
    totals = cohort.groupby(vendor)["n_images"].agg(["size", "sum"])
    totals = totals.reindex([*VENDORS, "Other"], fill_value=0)
    cells = {}
    for label, counts in (("Patients", totals["size"]), ("Images", totals["sum"])):
        total = int(counts.sum())
        cells[f"{label} ( n = {_count(total)})"] = [
            f"{count} ({_percent(count, total)})" for count in counts
        ]
    return pd.DataFrame(cells, index=totals.index.rename("Vendor"))


def _ages(part: pd.DataFrame) -> str:
    """Return the median and, in brackets, the quartiles (numpy's linear ones)."""
    if part.empty:
        return "nan (nan\N{EN DASH}nan)"
    low, middle, high = np.quantile(part["age"], QUARTILES)
    return f"{middle:g} ({low:g}\N{EN DASH}{high:g})"


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.2f}" if total else "nan"


def _count(number: int) -> str:
    """Return a number as the paper prints it: a space from five digits on."""
    return f"{number:,}".replace(",", " ") if number >= 10_000 else str(number)
