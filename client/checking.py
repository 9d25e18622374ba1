"""The whole check of a hospital's manifest: its table, its pictures, its hospitals.

A fault must be mended before the manifest can be used. A warning says what looks wrong
and may be right.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thyroid_fl.columns import as_cases
from thyroid_fl.faults import Fault, manifest_faults
from thyroid_fl.leaks import duplicate_pairs
from thyroid_fl.manifest import read_table
from thyroid_fl.picture_check import Inspection, inspect_pictures

FEW_PATIENTS = 10
"""A hospital with fewer is named."""
MOST_NAMES = 10
"""Hospitals that one warning names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A manifest with all that was found in it."""

    path: Path
    cases: pd.DataFrame
    """One row per picture, all columns of a manifest, indexed by line."""
    faults: list[Fault]
    """By line."""
    warnings: list[Fault]
    """By line."""
    seen: Inspection
    n_alike: int
    """Pictures that are nearly the same as an earlier one of their patient."""


def check_manifest(path: Path, progress: Callable[[int, int], None]) -> Checked:
    """Return all faults and warnings of a manifest and of its pictures.

    Args:
        path: a CSV or Parquet file; its pictures' paths start in its folder.
        progress: called with pictures done and all.

    Raises:
        ManifestError: the file cannot be read as a table.
    """
    table = read_table(path)
    faults = manifest_faults(table, path.parent)
    cases = as_cases(table).set_index(table.index)
    seen = inspect_pictures(cases, path.parent, progress)
    pairs = _alike(cases, seen)
    is_one_patient = pairs["patient_id"] == pairs["patient_id_of_first"]
    return Checked(
        path=path,
        cases=cases,
        faults=sorted([*faults, *seen.faults, *_pair_faults(pairs)]),
        warnings=sorted([*seen.warnings, *_hospital_warnings(cases)]),
        seen=seen,
        n_alike=pairs.loc[is_one_patient, "line"].nunique(),
    )


def class_of_patients(cases: pd.DataFrame) -> "pd.Series[float]":
    """Return 1, 0 or NaN for each hospital and patient: malignant if a picture is."""
    return cases.groupby(["hospital", "patient_id"])["malignant"].max()


def _alike(cases: pd.DataFrame, seen: Inspection) -> pd.DataFrame:
    """Return the pairs of nearly the same pictures, in order.

    Columns line, image_id, patient_id, nodule_id and malignant are those of the later
    picture; with the ending _of_first those of the earlier one.
    """
    shown = seen.thumbnails
    pairs: NDArray[np.int64] = duplicate_pairs(shown)
    # Pictures that are unreadable or of one level are alike and say nothing.
    says_something = shown.min(axis=(1, 2)) < shown.max(axis=(1, 2))
    pairs = pairs[says_something[pairs].all(axis=1)]
    told = cases[["image_id", "patient_id", "nodule_id", "malignant"]]
    told = told.reset_index(names="line")
    first, later = (told.iloc[pairs[:, k]].reset_index(drop=True) for k in (0, 1))
    return later.join(first.add_suffix("_of_first"))


def _pair_faults(pairs: pd.DataFrame) -> Iterator[Fault]:
    """Find one picture under two patients or labels, each named with the earliest.

    Frames of a clip are no fault, nor are two nodules in one picture.
    """
    patients = pairs["patient_id"], pairs["patient_id_of_first"]
    is_known = patients[0].notna() & patients[1].notna()
    is_other = is_known & (patients[0] != patients[1])
    for pair in _rows(pairs[is_other]):
        yield Fault(
            pair.line,
            "image",
            f"picture {pair.image_id} of patient {pair.patient_id} is (nearly) the "
            f"same as {pair.image_id_of_first} of patient {pair.patient_id_of_first}; "
            "give both one patient_id, or remove one",
        )
    is_contrary = (pairs["malignant"] - pairs["malignant_of_first"]).abs() == 1
    nodules = pairs["nodule_id"], pairs["nodule_id_of_first"]
    has_two = ~is_other & nodules[0].notna() & nodules[1].notna()
    has_two &= nodules[0] != nodules[1]
    for pair in _rows(pairs[is_contrary & ~has_two]):
        yield Fault(
            pair.line,
            "malignant",
            f"malignant is {pair.malignant:g} for picture {pair.image_id}, but "
            f"{pair.malignant_of_first:g} for {pair.image_id_of_first}, which is "
            "(nearly) the same; mend the wrong one, or name two nodules in nodule_id",
        )


def _rows(pairs: pd.DataFrame) -> Iterable[Any]:
    """Return the first pair of each later picture."""
    return pairs.drop_duplicates("line").itertuples()


def _hospital_warnings(cases: pd.DataFrame) -> Iterator[Fault]:
    by_hospital = class_of_patients(cases).groupby("hospital")
    n_patients, n_labelled = by_hospital.size(), by_hospital.count()
    n_malignant = by_hospital.sum()
    is_labelled = n_labelled > 0
    alone = (
        "such a hospital can train, but has no AUC and cannot be evaluated alone; add "
        'such patients, or keep select_by = "loss" to choose a round'
    )
    few = (
        "their results are chance, and their counts may tell of single patients; add "
        "patients, or leave such a hospital to training"
    )
    for chosen, who, why in (
        (~is_labelled, "no patient with pathology", alone),
        (is_labelled & (n_malignant == 0), "no malignant patient", alone),
        (is_labelled & (n_malignant == n_labelled), "no benign patient", alone),
        (n_patients < FEW_PATIENTS, f"fewer than {FEW_PATIENTS} patients", few),
    ):
        names = n_patients.index[chosen]
        if len(names):
            line = int(cases.index[cases["hospital"].isin(names)][0])
            yield Fault(line, "hospital", f"{who} in {_listed(names)}: {why}")


def _listed(names: "pd.Index[str]") -> str:
    shown = ", ".join(map(str, names[:MOST_NAMES]))
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more hospitals" if more > 0 else shown
