"""Who is in a study: hospitals, patients and pictures at each stage and on each side.

The numbers behind the flow chart (the paper's Figure 1) and behind its Tables 1 and 2.
A patient counts as in the hospitals' data summary (`thyroid_fl.client.summary`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.client.site import Archive
from thyroid_fl.client.summary import patient_cells
from thyroid_fl.summary import TABLES

BASELINE_COLUMNS = [
    "stage", "characteristic", "cell", "n_hospitals", "n_patients", "percent",
    "n_images", "age_q1", "age_median", "age_q3", "n_age",
]  # fmt: skip
CHARACTERISTICS = ("class", "sex", "vendor")


def baseline_table(registered: pd.DataFrame, archive: Archive) -> pd.DataFrame:
    """Return the numbers of each stage and side, with `BASELINE_COLUMNS`.

    Stages: registered (in the manifest), readable, usable for the task, then the sides
    of the usable: train, val, internal and external (test). A row a characteristic
    (patients, class, sex, vendor) and cell; percent is of the stage's patients, ages
    are exact quartiles in years over the n_age patients whose age is known.

    Args:
        registered: the manifest, one row a picture.
        archive: of the same manifest, opened for the task.
    """
    rows = [{"stage": "registered", **_everyone(registered)}]
    for stage, cases in _stages(archive.table):
        rows += [{"stage": stage, **row} for row in _rows(cases)]
    return pd.DataFrame(rows, columns=BASELINE_COLUMNS)


def left_out_table(archive: Archive) -> pd.DataFrame:
    """Return why pictures were left out: stage that they miss, reason, n_images."""
    is_readable = archive.left_out["image_id"].isin(archive.table["image_id"])
    stages = np.where(is_readable, "usable", "readable")
    reasons = archive.left_out.assign(stage=stages).groupby(["stage", "reason"])
    return reasons.size().rename("n_images").reset_index()


def _stages(cases: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the stages that the pixel store has; ``split`` is empty if not usable."""
    yield "readable", cases
    yield "usable", cases[cases["split"].notna()]
    for side in ("train", "val"):
        yield side, cases[cases["split"] == side]
    for test_set in ("internal", "external"):
        is_here = (cases["split"] == "test") & (cases["test_set"] == test_set)
        yield test_set, cases[is_here]


def _everyone(cases: pd.DataFrame) -> dict[str, Any]:
    n_patients = cases["patient_id"].nunique()
    return {
        "characteristic": "patients",
        "cell": "all",
        "n_hospitals": cases["hospital"].nunique(),
        "n_patients": n_patients,
        "percent": 100.0 if n_patients else np.nan,
        "n_images": len(cases),
    }


def _rows(cases: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield everyone, and then each cell of each characteristic."""
    patients = patient_cells(cases)
    patients["hospital"] = cases.groupby("patient_id")["hospital"].first()
    yield _everyone(cases) | _ages(patients)
    for table in CHARACTERISTICS:
        for number, cell in enumerate(TABLES[table]):
            here = patients[patients[table] == number]
            share = len(here) / len(patients) if len(patients) else np.nan
            yield {
                "characteristic": table,
                "cell": cell,
                "n_hospitals": here["hospital"].nunique(),
                "n_patients": len(here),
                "percent": 100 * share,
                "n_images": int(here["n_images"].sum()),
                **_ages(here),
            }


def _ages(patients: pd.DataFrame) -> dict[str, float]:
    known = patients["age"].dropna()
    quartiles = known.quantile([0.25, 0.5, 0.75]).tolist()
    names = ("age_q1", "age_median", "age_q3")
    return {**dict(zip(names, quartiles, strict=True)), "n_age": len(known)}
