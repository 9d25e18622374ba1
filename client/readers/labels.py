"""``labels.csv``: the pathology that a hospital knows of its patients, beside DICOM.

Columns ``patient_id`` (as in DICOM), ``malignant`` and, if wanted, ``tirads``; one line
a patient, which holds for all its pictures.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from thyroid_fl.columns import COLUMNS, LINE
from thyroid_fl.faults import Fault, refuse_faults
from thyroid_fl.manifest import read_table

NEEDED = ("patient_id", "malignant")
KNOWN = (*NEEDED, "tirads")


def read_labels(path: Path) -> pd.DataFrame:
    """Return the labels as text by patient_id, each with its line; none without a file.

    Raises:
        ManifestError: the file cannot be read, or has faults; all are listed.
    """
    if not path.is_file():
        return pd.DataFrame({"malignant": [], LINE: []}, dtype="str")
    table = read_table(path)
    refuse_faults(list(_header_faults(table)), path)
    table["patient_id"] = table["patient_id"].str.strip()
    refuse_faults(sorted(_cell_faults(table)), path)
    return table.reset_index().set_index("patient_id")


def _header_faults(table: pd.DataFrame) -> Iterator[Fault]:
    for name in NEEDED:
        if name not in table:
            yield Fault(1, name, f"the column {name} is missing; add it")
    for name in table.columns[table.columns.duplicated()]:
        yield Fault(1, name, f"the column {name} stands twice; remove one")
    for name in table.columns.difference(list(KNOWN)):
        remedy = f"rename or remove it; known: {', '.join(KNOWN)}"
        yield Fault(1, name, f"unknown column {name!r}; {remedy}")


def _cell_faults(table: pd.DataFrame) -> Iterator[Fault]:
    patients = table["patient_id"]
    for line in table.index[patients.isna() | (patients == "")]:
        yield Fault(line, "patient_id", "patient_id is empty; fill or remove the line")
    for line in table.index[patients.duplicated() & patients.notna()]:
        remedy = "an earlier line names the same patient; keep one"
        yield Fault(line, "patient_id", remedy)
    numbers = pd.to_numeric(table["malignant"], errors="coerce")
    is_valid = {"malignant": COLUMNS["malignant"].is_valid(numbers)}
    if "tirads" in table:
        is_valid["tirads"] = COLUMNS["tirads"].is_valid(table["tirads"])
    for name, valid in is_valid.items():
        wrong = table[name][~valid].dropna()
        for line, value in zip(wrong.index, wrong, strict=True):
            expected = COLUMNS[name].expected
            yield Fault(line, name, f"{name} is {value!r}; expected {expected}")
