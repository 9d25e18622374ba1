"""Designs: which pictures each of many trainings gets, as one table of splits.

A training of a design is a fold of the split ``table:PATH``: the pixel store stays the
manifest's, and an interrupted design goes on with the same pictures.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from thyroid_fl.errors import ConfigError

FILE = "design.parquet"


def write_design(
    cases: pd.DataFrame, sides: Mapping[str, "pd.Series[str]"], folder: Path
) -> str:
    """Write the table of a design in one step; return the split that reads it.

    Args:
        cases: ``image_id`` and ``hospital`` of the pictures that take part; what the
            hospital is called here is what the trainings' nodes are called.
        sides: of each training, in the order of their folds from 1: train, val, test
            or missing, by the rows of ``cases``.
        folder: gets design.parquet.

    Raises:
        ConfigError: the folder holds another design.
    """
    folds = {f"split_{k}": side for k, side in enumerate(sides.values(), 1)}
    table = cases[["image_id", "hospital"]].assign(**folds).reset_index(drop=True)
    path = (folder / FILE).resolve()
    if path.exists() and not pd.read_parquet(path).equals(table):
        raise ConfigError(
            f"{folder} holds a run on other pictures: choose another --out, or remove "
            "the folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    table.to_parquet(partial, index=False)
    partial.replace(path)
    return f"table:{path}"


def draw_patients(
    cases: pd.DataFrame, n: int, strata: list[str], rng: np.random.Generator
) -> "pd.Series[bool]":
    """Return whether each picture is of one of n patients, drawn evenly over strata.

    Systematic sampling of the patients in the order of their strata, by chance within
    them: each stratum gets its share, to within one patient (Cochran 1977, chapter 8).

    Args:
        cases: pictures with ``patient_id`` and the strata; a patient's stratum is that
            of the first picture in the strata's order.
        n: how many patients; all of them where there are not more.
        strata: columns without missing values.
        rng: what is drawn from.
    """
    ordered = cases.sort_values([*strata, "patient_id"], kind="stable")
    patients = ordered.drop_duplicates("patient_id")[["patient_id", *strata]]
    patients = patients.assign(chance=rng.permutation(len(patients)))
    patients = patients.sort_values([*strata, "chance"])
    n = min(n, len(patients))
    if not n:
        return pd.Series(False, cases.index)
    chosen = np.floor((np.arange(n) + rng.random()) * len(patients) / n).astype(int)
    return cases["patient_id"].isin(set(patients["patient_id"].iloc[chosen]))
