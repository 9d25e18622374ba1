"""The paper's 208 hospitals as a table: one row per patient, no pictures.

Every published count of Xu et al. 2023 holds exactly, for every seed. What the paper
does not tell is assumed: the numbers in `Assumptions`, and besides them that

* class and sex are independent, and age depends on split, annotation and sex only;
* an annotated patient is in the same split in both tasks;
* splits are random within all hospitals (the paper's 7:2:1 by patient);
* the 33 smallest hospitals are the ones without annotations;
* annotated patients have as many images as the others, where the counts allow it.
"""

import numpy as np
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.simulation.cohort.ages import ages
from thyroid_fl.simulation.cohort.assumptions import Assumptions
from thyroid_fl.simulation.cohort.hospitals import hospitals, machines
from thyroid_fl.simulation.cohort.patients import admit, image_counts, strata
from thyroid_fl.simulation.cohort.sample import sample
from thyroid_fl.simulation.cohort.tables import N_HOSPITALS, N_PATIENTS, cohort_tables

__all__ = ["Assumptions", "cohort", "cohort_tables"]

_DEFAULTS = Assumptions()


def cohort(
    *, seed: int = 1, scale: float = 1.0, assumptions: Assumptions = _DEFAULTS
) -> pd.DataFrame:
    """Return the cohort, or a smaller one with all its hospitals; one row per patient.

    Args:
        seed: Seed of everything that is drawn; every seed has the published counts.
        scale: Share of the 10 023 patients to keep, at most 1; see `sample`.
        assumptions: What the paper does not say.

    Returns:
        Columns patient_id, hospital (H001, the largest, to H208), province, region
        (east_coast, inland), vendor, device, sex (F, M), age (years), malignant (0, 1),
        n_images, annotated, n_annotated_images (at most n_images),
        classification_split and segmentation_split (train, val, test; the latter
        missing where not annotated). Rows are sorted by hospital.

    Raises:
        ConfigError: If `scale` leaves a hospital empty, or the assumptions contradict
            the published counts.
    """
    n = round(scale * N_PATIENTS)
    if not N_HOSPITALS <= n <= N_PATIENTS:
        raise ConfigError(
            f"scale is {scale}, which is {n} patients; expected at least "
            f"{N_HOSPITALS / N_PATIENTS:.4f} (one patient a hospital) and at most 1"
        )
    place, treat, image, age = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(4)
    )
    sites = hospitals(assumptions, place)
    kinds = strata()
    patients = admit(kinds, sites, treat)  # stratum and hospital, by number
    patients["vendor"], patients["device"] = machines(sites, assumptions, place)
    patients = patients.join(image_counts(patients, kinds, assumptions, image))
    patients = patients.join(kinds, on="stratum")
    patients = patients.join(sites, on="hospital")
    patients["age"] = ages(patients, assumptions, age)
    whole = _labelled(patients)
    return whole if n == N_PATIENTS else sample(whole, n)


def _labelled(patients: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that `cohort` promises, with names instead of numbers."""
    split = patients["classification_split"]
    return pd.DataFrame(
        {
            "patient_id": [f"p{number:05d}" for number in range(1, len(patients) + 1)],
            "hospital": patients["name"],
            "province": patients["province"],
            "region": patients["region"],
            "vendor": patients["vendor"],
            "device": patients["device"],
            "sex": patients["sex"],
            "age": patients["age"],
            "malignant": patients["malignant"],
            "n_images": patients["n_images"],
            "annotated": patients["annotated"],
            "n_annotated_images": patients["n_annotated_images"],
            "classification_split": split,
            "segmentation_split": split.where(patients["annotated"]),
        }
    )
