"""The patients: their strata, their hospitals, and their number of images.

A stratum is split x annotated x class x sex.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from thyroid_fl.simulation.cohort.allocation import Counts, portions, proportional_table
from thyroid_fl.simulation.cohort.assumptions import Assumptions
from thyroid_fl.simulation.cohort.hospitals import VENDOR_NAMES, vendor_totals
from thyroid_fl.simulation.cohort.tables import (
    CLASSIFICATION,
    N_ANNOTATING,
    N_HOSPITALS,
    SEGMENTATION,
)


def strata() -> pd.DataFrame:
    """Return the 24 strata: patients, annotated_images, extra_images.

    Every patient has one image and every annotated one its annotated images;
    extra_images is what the published counts leave beyond that. It is divided so that
    annotated and other patients have equal means, or, where annotated images alone
    exceed that mean, goes to the others.
    """
    frames = []
    for split, whole in CLASSIFICATION.items():
        part = SEGMENTATION[split]
        n_annotated = _joint(part.by_class, part.by_sex)
        n_rest = _joint(
            np.subtract(whole.by_class, part.by_class),
            np.subtract(whole.by_sex, part.by_sex),
        )
        annotated_images = _joint(part.images_by_class, part.images_by_sex)
        images = _joint(whole.images_by_class, whole.images_by_sex)
        extra = images - annotated_images - n_rest
        equal = np.rint(images * n_annotated / (n_annotated + n_rest)).astype(int)
        extra_annotated = np.clip(equal - annotated_images, 0, extra)
        columns = {
            "classification_split": split,
            "malignant": [0, 0, 1, 1] * 2,
            "sex": ["F", "M"] * 4,
            "annotated": [True] * 4 + [False] * 4,
            "patients": np.r_[n_annotated, n_rest],
            "annotated_images": np.r_[annotated_images, np.zeros(4, int)],
            "extra_images": np.r_[extra_annotated, extra - extra_annotated],
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def _joint(by_class: ArrayLike, by_sex: ArrayLike) -> Counts:
    """Return counts with these margins, nearest to independent, (4,).

    In the order benign F, benign M, malignant F, malignant M.
    """
    return proportional_table(np.ones((2, 2)), by_class, by_sex).ravel()


def admit(
    kinds: pd.DataFrame, sites: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Return one row per patient: stratum and hospital (numbers), sorted by hospital.

    Hospitals get their number of malignant and benign patients; each of the first 175
    has an annotated patient and the others have none.

    Args:
        kinds: The strata.
        sites: The hospitals.
        rng: What draws who goes where.
    """
    stratum = np.repeat(kinds.index.to_numpy(), kinds["patients"])
    malignant = kinds["malignant"].to_numpy()[stratum]
    annotated = kinds["annotated"].to_numpy()[stratum]
    size, n_malignant = sites["size"].to_numpy(), sites["n_malignant"].to_numpy()
    # The class of the patient who is annotated for certain.
    class_of_one = (rng.random(N_HOSPITALS) < n_malignant / size).astype(int)
    hospital = np.empty(len(stratum), np.int64)
    for code, count in ((0, size - n_malignant), (1, n_malignant)):
        slots = np.repeat(np.arange(N_HOSPITALS), count)
        must = np.zeros(len(slots), bool)
        must[np.unique(slots, return_index=True)[1]] = True
        must &= (class_of_one[slots] == code) & (slots < N_ANNOTATING)
        open_slots = np.flatnonzero(~must & (slots < N_ANNOTATING))
        order = np.r_[
            np.flatnonzero(must),
            rng.permutation(open_slots),
            np.flatnonzero(slots >= N_ANNOTATING),
        ]
        rows = rng.permutation(np.flatnonzero(malignant == code))
        rows = rows[np.argsort(~annotated[rows], kind="stable")]  # annotated first
        hospital[rows] = slots[order]
    order = np.lexsort((rng.random(len(hospital)), hospital))
    return pd.DataFrame({"stratum": stratum[order], "hospital": hospital[order]})


def image_counts(
    patients: pd.DataFrame,
    kinds: pd.DataFrame,
    assumptions: Assumptions,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Return n_images and n_annotated_images of each patient; published sums hold.

    Images beyond the first are dealt with gamma-distributed chances, so that patients
    differ more than by chance alone. Vendors have their published means in every
    stratum alike, as far as whole numbers allow.

    Args:
        patients: One row per patient: stratum, vendor.
        kinds: The strata.
        assumptions: Of these, images_shape and other_vendor_weights.
        rng: What draws the numbers.
    """
    stratum = patients["stratum"].to_numpy()
    chance = rng.gamma(assumptions.images_shape, size=len(patients))
    n_annotated = kinds["annotated"].to_numpy()[stratum].astype(np.int64)
    for number in np.flatnonzero(kinds["annotated"]):
        rows = np.flatnonzero(stratum == number)
        beyond = kinds["annotated_images"][number] - len(rows)
        n_annotated[rows] += portions(beyond, chance[rows], rng)
    vendor = pd.Categorical(patients["vendor"], categories=VENDOR_NAMES).codes
    n_images = np.maximum(n_annotated, 1)
    so_far = np.bincount(vendor, n_images, len(VENDOR_NAMES)).astype(np.int64)
    treated = np.zeros((len(kinds), len(VENDOR_NAMES)))
    np.add.at(treated, (stratum, vendor), 1)
    extra = proportional_table(
        treated,
        kinds["extra_images"],
        vendor_totals(assumptions)[:, 1] - so_far,
    )
    for number, code in np.argwhere(extra):
        rows = np.flatnonzero((stratum == number) & (vendor == code))
        n_images[rows] += portions(extra[number, code], chance[rows], rng)
    return pd.DataFrame({"n_images": n_images, "n_annotated_images": n_annotated})
