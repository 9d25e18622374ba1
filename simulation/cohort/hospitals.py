"""The hospitals: size, place, malignant share, and machines with their vendors.

H hospitals, V vendors.
"""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import norm

from thyroid_fl.simulation.cohort.allocation import Counts, shares, transport
from thyroid_fl.simulation.cohort.assumptions import POPULATION, Assumptions
from thyroid_fl.simulation.cohort.tables import (
    CLASSIFICATION,
    N_HOSPITALS,
    N_PATIENTS,
    OTHER,
    OTHER_VENDORS,
    VENDORS,
)

VENDOR_NAMES = (*VENDORS, *OTHER_VENDORS)
DEVICES = {
    "Mindray": ("Resona 7", "DC-8", "M9"),
    "Philips": ("EPIQ 5", "EPIQ 7", "iU22"),
    "Esaote": ("MyLab 90", "MyLab Twice", "MyLab ClassC"),
    "GE Healthcare": ("LOGIQ E9", "LOGIQ S8"),
    "Siemens Healthineers": ("ACUSON S2000", "ACUSON S3000"),
    "Toshiba": ("Aplio 400", "Aplio 500"),
    "Samsung": ("RS80A",),
    "Supersonic Imagine": ("Aixplorer",),
    "Hitachi": ("ARIETTA 70", "HI VISION Ascendus"),
    "Zonare": ("ZS3",),
    "SonoScape": ("S50",),
    "VINNO": ("VINNO 70",),
}
"""Models sold before 2019; the paper names none."""


def hospitals(assumptions: Assumptions, rng: np.random.Generator) -> pd.DataFrame:
    """Return name, size, n_malignant, province and region, largest first."""
    # Evenly spaced quantiles of the log-normal, not draws: sizes do not depend on seed.
    positions = (np.arange(N_HOSPITALS - 1, 0, -1) - 0.5) / (N_HOSPITALS - 1)
    others = np.exp(assumptions.hospital_size_log_sd * norm.ppf(positions))
    largest = assumptions.largest_hospital
    size = np.r_[largest, shares(N_PATIENTS - largest, others, least=1)]
    province = _provinces(size, assumptions, rng)
    return pd.DataFrame(
        {
            "name": [f"H{number:03d}" for number in range(1, N_HOSPITALS + 1)],
            "size": size,
            "n_malignant": _malignant(size, assumptions.prevalence_logit_sd, rng),
            "province": province,
            "region": np.where(
                np.isin(province, assumptions.east_coast), "east_coast", "inland"
            ),
        }
    )


def _provinces(
    size: Counts, assumptions: Assumptions, rng: np.random.Generator
) -> np.ndarray:
    """Return each hospital's province, (H,): by population, at least one in each.

    Of 200 random orders, the one with the share of patients in the east nearest to
    the assumed one.
    """
    names = np.array(list(POPULATION))
    weight = np.array(list(POPULATION.values()))
    east = np.isin(names, assumptions.east_coast)
    share = assumptions.east_coast_share
    for part, wanted in ((east, share), (~east, 1 - share)):
        if part.any():
            weight[part] *= wanted / weight[part].sum()
    province = np.repeat(names, shares(N_HOSPITALS, weight, least=1))
    first = int(np.argmax(province == assumptions.largest_hospital_province))
    others = np.delete(province, first)
    orders = (np.r_[province[[first]], rng.permutation(others)] for _ in range(200))
    return min(
        orders,
        key=lambda order: abs(
            size[np.isin(order, assumptions.east_coast)].sum() / size.sum() - share
        ),
    )


def _malignant(size: Counts, logit_sd: float, rng: np.random.Generator) -> Counts:
    """Return each hospital's malignant patients, (H,), with the published sum."""
    total = sum(margins.by_class[1] for margins in CLASSIFICATION.values())
    tilt = logit_sd * rng.standard_normal(len(size))
    shift = brentq(lambda s: size @ expit(s + tilt) - total, -50.0, 50.0)
    # Rounding the running sum keeps the total, and each count within 1.
    running = np.rint(np.cumsum(size * expit(shift + tilt)))
    n_malignant: Counts = np.diff(running, prepend=0).astype(np.int64)
    return n_malignant


def machines(
    sites: pd.DataFrame, assumptions: Assumptions, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return vendor and device of each patient, in the order of the hospitals.

    Vendors differ between machines, and so between hospitals: one vendor a machine,
    but for at most V - 1 machines that are divided to meet the published totals.
    """
    per_hospital = []
    for size in sites["size"]:
        n = min(1 + size // assumptions.patients_per_machine, assumptions.machines_most)
        rest = (1 - assumptions.main_machine_share) / max(n - 1, 1)
        weights = [assumptions.main_machine_share] + [rest] * (n - 1)
        per_hospital.append(shares(size, weights))
    sizes = np.concatenate(per_hospital)
    names = np.array(VENDOR_NAMES)
    totals = vendor_totals(assumptions)[:, 0]
    table = transport(rng.random((len(sizes), len(names))), sizes, totals)
    machine, vendor = np.nonzero(table)
    n_patients = table[machine, vendor]
    device = [str(rng.choice(DEVICES[names[v]])) for v in vendor]
    return np.repeat(names[vendor], n_patients), np.repeat(device, n_patients)


def vendor_totals(assumptions: Assumptions) -> Counts:
    """Return patients and images of the 12 vendors, (V, 2)."""
    other = [shares(total, assumptions.other_vendor_weights) for total in OTHER]
    return np.concatenate([list(VENDORS.values()), np.stack(other, axis=1)])
