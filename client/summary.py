"""What a hospital tells of its data: counts, ages, and how bright its pictures are.

A patient is one row here, with one cell in each table; pictures are counted with their
patient. So a table's cells divide the patients, and a withheld cell hides its pictures.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from flwr.app import MetricRecord, RecordDict
from numpy.typing import NDArray

from thyroid_fl.client.site import ALL_HOSPITALS, own_archive
from thyroid_fl.client.withholding import merged_ages, withheld
from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import Study
from thyroid_fl.summary import (
    AGE_STRATA,
    AGE_YEARS,
    GREY,
    GREY_DIGITS,
    MIN_CELL,
    N_AGE_BINS,
    N_AGE_CELLS,
    N_GREY_BINS,
    N_IMAGES,
    N_PATIENTS,
    OTHER,
    QUERY,
    SIDES_PX,
    TABLES,
    VENDORS,
    WITHHELD,
    ages_key,
    counts_keys,
)

IntArray = NDArray[np.int64]
Told = dict[str, int | list[int] | list[float]]

DEFAULT_MIN_CELL = 5
_OTHER_NAMES = {
    "ge": "GE Healthcare",
    "siemens": "Siemens Healthineers",
    "medison": "Samsung",
    "supersonic": "Supersonic Imagine",
    "aloka": "Hitachi",
    "canon": "Canon Medical",
    "sonosite": "Fujifilm",
    "bk": "BK Medical",
}
"""A word of a vendor's name -> the vendor, where it is not the vendor's whole name."""


def site_summary(
    study: Study, hospital: str, node_config: Mapping[str, Any]
) -> RecordDict:
    """Return the reply to the centre's question what data this hospital has.

    It speaks of all pictures of the manifest, whatever region, split or task the study
    has: else two questions would differ by a few patients, and tell of them.

    Args:
        study: names the data where the node does not, and the side of the pictures.
        hospital: its name in the manifest, or ``all``.
        node_config: ``manifest``; and ``min-cell``, the smallest count that may be
            told, `DEFAULT_MIN_CELL` without it.

    Raises:
        ConfigError: ``min-cell`` is no whole number from 1.
        ManifestError: the manifest or a picture cannot be used, or the split leaks.
    """
    least = _min_cell(node_config)
    whole = dataclasses.replace(study, region="whole", task="classification")
    archive = own_archive(whole, node_config)
    is_here = (archive.table["hospital"] == hospital) | (hospital == ALL_HOSPITALS)
    cases = archive.table[is_here]
    rows = np.flatnonzero(is_here)
    pixels = archive.cases.pixels[rows].cpu().numpy()
    told = tell(cases, grey_levels(pixels, cases), least)
    return RecordDict({QUERY: MetricRecord(dict(told))})


def tell(cases: pd.DataFrame, grey: list[float], least: int) -> Told:
    """Return what may be told of a hospital's pictures, by the keys of the message.

    Args:
        cases: one row a picture: the manifest's columns, and ``crop``.
        grey: shares of the grey levels, as `grey_levels` returns them.
        least: the smallest count from 1 that may be told. A hospital with fewer
            patients tells this number and nothing else.
    """
    patients = patient_cells(cases)
    if len(patients) < least:
        return {MIN_CELL: least, N_PATIENTS: WITHHELD}
    told: Told = {
        MIN_CELL: least,
        N_PATIENTS: len(patients),
        N_IMAGES: len(cases),
        GREY: grey,
    }
    for table, cells in TABLES.items():
        of_patients = np.bincount(patients[table], minlength=len(cells))
        n_images = patients.get(f"n_{table}", patients["n_images"])
        of_images = np.bincount(patients[table], n_images, minlength=len(cells))
        hidden = withheld(of_patients, least)
        for key, counts in zip(
            counts_keys(table), (of_patients, of_images), strict=True
        ):
            told[key] = np.where(hidden, WITHHELD, counts).astype(int).tolist()
    return told | _ages(patients, least)


def grey_levels(pixels: NDArray[np.uint8], cases: pd.DataFrame) -> list[float]:
    """Return the share of each class of grey levels, darkest first; sum about 1.

    Every picture weighs the same. What the letterbox added is left out.

    Args:
        pixels: (N, H, W) of the store.
        cases: N rows with the store's ``crop``, ``scale``, ``left``, ``top``.

    Returns:
        `N_GREY_BINS` numbers, rounded to `GREY_DIGITS` digits.
    """
    total = np.zeros(N_GREY_BINS)
    places = cases[["crop", "scale", "left", "top"]].itertuples(index=False)
    for square, (crop, scale, left, top) in zip(pixels, places, strict=True):
        x0, y0, x1, y1 = crop
        width, height = (max(1, round(side * scale)) for side in (x1 - x0, y1 - y0))
        picture = square[top : top + height, left : left + width]
        counts = np.bincount(picture.ravel() // (256 // N_GREY_BINS), minlength=1)
        total[: len(counts)] += counts / picture.size
    shares: list[float] = (total / max(len(pixels), 1)).round(GREY_DIGITS).tolist()
    return shares


def vendor_of(name: str) -> str:
    """Return the published vendor that a manifest's text names, else ``other``.

    >>> vendor_of("TOSHIBA_MEC"), vendor_of("/data/Musterfrau")
    ('Toshiba', 'other')
    """
    known = {vendor.casefold(): vendor for vendor in VENDORS} | _OTHER_NAMES
    words = re.findall(r"[a-z]+", name.casefold())
    return next((known[word] for word in words if word in known), OTHER)


def patient_cells(cases: pd.DataFrame) -> pd.DataFrame:
    """Return one row a patient: the cell of each table by number, age, n_images.

    Of a patient whose pictures differ count the malignant one, the highest category,
    the largest picture, and the first sex, age and vendor that is known.
    ``n_masks`` and ``n_boxes`` are the pictures with a mask or box.
    """
    places = {table: {c: i for i, c in enumerate(TABLES[table])} for table in TABLES}
    vendors = {name: vendor_of(name) for name in cases["vendor"].dropna().unique()}
    sides_px = cases["crop"].map(lambda box: max(box[2] - box[0], box[3] - box[1]))
    pictures = pd.DataFrame(
        {
            "class": cases["malignant"],
            "sex": cases["sex"].map(places["sex"]),
            "vendor": cases["vendor"].map(vendors).map(places["vendor"]),
            "tirads": cases["tirads"].map(places["tirads"]),
            "size": np.searchsorted(SIDES_PX, sides_px, side="right"),
            "age": cases["age"],
            "masks": cases["mask"].notna(),
            "boxes": cases["boxes"].map(len) > 0,
        }
    )
    by_patient = pictures.groupby(cases["patient_id"])
    highest = by_patient[["class", "tirads", "size"]].max()
    patients = highest.join(by_patient[["sex", "vendor", "age"]].first())
    patients["n_images"] = by_patient.size()
    for table in ("masks", "boxes"):
        n = by_patient[table].sum()
        patients[f"n_{table}"] = n
        patients[table] = np.where(n == patients["n_images"], 0, np.where(n > 0, 1, 2))
    for table in ("class", "sex", "vendor", "tirads"):
        patients[table] = patients[table].fillna(len(TABLES[table]) - 1)
    return patients.astype(dict.fromkeys(TABLES, np.int64))


def _ages(patients: pd.DataFrame, least: int) -> Told:
    """Return the ages by sex where the sexes are told, else of all patients together.

    Never both: their difference would be a count of its own.
    """
    age_bin = (patients["age"] // AGE_YEARS).clip(upper=N_AGE_BINS - 1)
    cells = age_bin.fillna(N_AGE_BINS).astype(np.int64)
    by_sex = np.bincount(patients["sex"], minlength=len(TABLES["sex"]))
    is_by_sex = not withheld(by_sex, least).any()
    told: Told = {}
    for stratum in AGE_STRATA:
        counts = np.full(N_AGE_CELLS, WITHHELD)
        if is_by_sex and stratum != "all":
            chosen = cells[patients["sex"] == TABLES["sex"].index(stratum)]
            counts = merged_ages(np.bincount(chosen, minlength=N_AGE_CELLS), least)
        elif not is_by_sex and stratum == "all":
            counts = merged_ages(np.bincount(cells, minlength=N_AGE_CELLS), least)
        told[ages_key(stratum)] = counts.tolist()
    return told


def _min_cell(node_config: Mapping[str, Any]) -> int:
    least = node_config.get("min-cell", DEFAULT_MIN_CELL)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ConfigError(
            f"min-cell is {least!r} in the node's configuration; expected a whole "
            "number from 1"
        )
    return least
