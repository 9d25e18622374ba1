"""Which cases train, validate and test: a named choice.

``patient``         random 7:2:1 by patient within all hospitals (Xu et al. 2023);
                    shows the performance on known hospitals
``hospital``        a fifth of the hospitals wholly for test, the others' patients
                    7:2:1; the only one that may be called external validation
``vendor:NAME``     this vendor's patients wholly for test, the others' 7:2:1
``region:NAME``     the same for a region
``manifest``        the manifest's own column ``split``
``table:PATH``      a table beside the manifest (see `regrouped`): its column ``split``,
                    or with folds ``split_1``, ...; a case that it lacks is on no side

A patient is never on two sides. Every choice depends on the seed and on the cases, not
on their order.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.columns import is_fold
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.manifest import read_table

# Dealt to consecutive patients of one class and hospital, shuffled within each ten:
# permuted blocks, as trials use them. A last, shorter block is the head of the list.
SEVEN_TWO_ONE = (
    "train", "train", "val", "train", "train",
    "test", "train", "val", "train", "train",
)  # fmt: skip
SEVEN_TWO = tuple(side for side in SEVEN_TWO_ONE if side != "test")
ONE_IN_FIVE = ("known", "external", "known", "known", "known")

logger = logging.getLogger(__name__)


def split_cases(
    cases: pd.DataFrame, split: str, *, seed: int, fold: int = 0, n_folds: int = 0
) -> pd.DataFrame:
    """Return a copy of the cases with the columns ``split`` and ``test_set``.

    ``test_set`` of a test case is ``internal`` where its hospital has training cases,
    else ``external``; missing for other cases.

    Args:
        cases: as `read_manifest` returns them.
        split: the choice; see the head of this module.
        seed: of every random choice.
        fold: which fold is tested, from 1; 0 for a single split.
        n_folds: how many there are. With ``patient`` and ``manifest`` the manifest's
            official folds (``split_1``, ...) are taken where they are at least as many
            and have test cases; a case without a split in a fold is on no side of it.
            Else folds of patients, or with ``hospital`` of hospitals, are drawn.

    Raises:
        ConfigError: the manifest does not allow this choice.
    """
    kind, _, name = split.partition(":")
    rng = np.random.default_rng([seed, 0x5917])
    if kind == "table":
        sides = _sides_of_table(cases, Path(name), f"split_{fold}" if fold else "split")
    elif fold:
        sides = _fold_sides(cases, kind, fold, n_folds, rng)
    elif kind == "patient":
        sides = _deal_patients(cases, SEVEN_TWO_ONE, rng)
    elif kind == "hospital":
        hospitals = _hospitals(cases, ONE_IN_FIVE, rng)
        sides = _hold_out(cases, cases["hospital"].map(hospitals) == "external", rng)
    elif kind in ("vendor", "region"):
        sides = _hold_out(cases, _patients_of(cases, kind, name), rng)
    elif kind == "manifest":
        sides = _own_split(cases)
    else:
        raise ConfigError(
            f"split is {split!r}; expected patient, hospital, vendor:NAME, "
            "region:NAME, manifest, or table:PATH"
        )
    return with_test_set(cases.assign(split=sides.astype("str")))


def with_test_set(cases: pd.DataFrame) -> pd.DataFrame:
    """Return the cases with the column ``test_set``, as their column ``split`` asks."""
    trains = (cases["split"] == "train").groupby(cases["hospital"]).transform("any")
    test_set = pd.Series(np.where(trains, "internal", "external"), cases.index)
    return cases.assign(test_set=test_set.where(cases["split"] == "test").astype("str"))


def regrouped(cases: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the cases with the hospitals that the split's table gives them.

    A table (CSV or Parquet) has a row a picture: ``image_id``, ``split`` or
    ``split_1``, ..., and where something else than hospitals is to train together,
    such as all scanners of a vendor, ``hospital``. Other splits change nothing.

    Raises:
        ConfigError: the table cannot be read, or lacks a column.
    """
    kind, _, path = split.partition(":")
    if kind != "table":
        return cases
    table = _read_sides(Path(path))
    if "hospital" not in table:
        return cases
    groups = cases["image_id"].map(table["hospital"])
    return cases.assign(hospital=groups.fillna(cases["hospital"]))


def official_folds(cases: pd.DataFrame) -> list[str]:
    """Return the columns ``split_1``, ... that have test cases, in order."""
    names = filter(is_fold, map(str, cases.columns))
    tested = [name for name in names if (cases[name] == "test").any()]
    return sorted(tested, key=lambda name: int(name[6:]))


def _fold_sides(
    cases: pd.DataFrame, kind: str, fold: int, n_folds: int, rng: np.random.Generator
) -> "pd.Series[str]":
    if not 1 <= fold <= n_folds or n_folds < 2:
        raise ConfigError(f"fold is {fold} of {n_folds}; expected 2 folds or more")
    official = official_folds(cases)
    if kind in ("patient", "manifest") and len(official) >= n_folds:
        return cases[official[fold - 1]]
    labels = [str(k) for k in range(1, n_folds + 1)]
    if kind == "patient":
        logger.info("no %d official folds: they are drawn by patient", n_folds)
        drawn = _deal_patients(cases, labels, rng)
    elif kind == "hospital":
        drawn = cases["hospital"].map(_hospitals(cases, labels, rng))
    elif kind == "manifest":
        raise ConfigError(
            f"n_folds is {n_folds}, but the manifest has {len(official)} official "
            "folds with test cases (columns split_1, ...); use split = 'patient' to "
            "have folds drawn"
        )
    else:
        raise ConfigError(
            f"split {kind}:NAME has no folds; use patient or hospital, or n_folds = 0"
        )
    tested = drawn == str(fold)
    if kind == "hospital":
        return _hold_out(cases, tested, rng)
    sides = pd.Series("test", cases.index, dtype="str")
    sides[~tested] = _deal_patients(cases[~tested], SEVEN_TWO, rng)
    return sides


def _sides_of_table(cases: pd.DataFrame, path: Path, column: str) -> "pd.Series[str]":
    table = _read_sides(path)
    if column not in table:
        raise ConfigError(
            f"{path}: no column {column}; it has {', '.join(map(str, table))}"
        )
    sides = table[column]
    odd = sorted(set(sides.dropna()) - {"train", "val", "test"})
    if odd:
        raise ConfigError(
            f"{path}: {column} is {odd[0]!r}; expected train, val, test, or empty"
        )
    return cases["image_id"].map(sides)


def _read_sides(path: Path) -> pd.DataFrame:
    """Return a table of splits by image_id."""
    try:
        table = read_table(path)
    except ManifestError as error:
        raise ConfigError(str(error)) from error
    if "image_id" not in table or table["image_id"].duplicated().any():
        raise ConfigError(
            f"{path}: expected a column image_id that names each picture once"
        )
    return table.set_index("image_id")


def _hold_out(
    cases: pd.DataFrame, held_out: "pd.Series[bool]", rng: np.random.Generator
) -> "pd.Series[str]":
    """Test the held-out cases; deal the patients of the others 7:2:1.

    A hospital too small to get a training patient gives all to training.
    """
    sides = pd.Series("test", cases.index, dtype="str")
    known = cases[~held_out]
    dealt = _deal_patients(known, SEVEN_TWO_ONE, rng)
    trains = (dealt == "train").groupby(known["hospital"]).transform("any")
    sides[~held_out] = dealt.where(trains, "train")
    return sides


def _patients_of(cases: pd.DataFrame, kind: str, name: str) -> "pd.Series[bool]":
    """Find the patients any of whose pictures are of this vendor or region."""
    known = sorted(cases[kind].dropna().unique())
    if name not in known:
        listed = ", ".join(known) or f"none (the column {kind} is empty)"
        raise ConfigError(
            f"split is '{kind}:{name}', but the manifest has no such {kind}; "
            f"known: {listed}"
        )
    return (cases[kind] == name).groupby(cases["patient_id"]).transform("any")


def _own_split(cases: pd.DataFrame) -> "pd.Series[str]":
    if cases["split"].isna().any():
        raise ConfigError(
            "split is 'manifest', but the manifest's column split is empty; fill it, "
            "or choose patient, hospital, vendor:NAME or region:NAME"
        )
    return cases["split"]


def _deal_patients(
    cases: pd.DataFrame, labels: Sequence[str], rng: np.random.Generator
) -> "pd.Series[str]":
    """Return a label for every case, alike for a patient, even over class and hospital.

    A patient's class is that of the worst picture; unknown pathology is a class.
    """
    patients = cases.groupby("patient_id").agg(
        {"hospital": "first", "malignant": "max"}
    )
    names = np.sort(cases["hospital"].unique())
    order = dict(zip(rng.permutation(names), range(len(names)), strict=True))
    patients["hospital"] = patients["hospital"].map(order)
    patients["chance"] = rng.permutation(len(patients))
    patients = patients.sort_values(["malignant", "hospital", "chance"])
    dealt = pd.Series(_permuted_blocks(len(patients), labels, rng), patients.index)
    return cases["patient_id"].map(dealt)


def _hospitals(
    cases: pd.DataFrame, labels: Sequence[str], rng: np.random.Generator
) -> "pd.Series[str]":
    """Return a label for each hospital, even over region, size and prevalence."""
    hospitals = cases.groupby("hospital").agg(
        region=("region", "first"),
        n_patients=("patient_id", "nunique"),
        prevalence=("malignant", "mean"),
    )
    # Folds need a hospital each; a single split one to train on and one to test.
    needed = max(2, len(set(labels)))
    if len(hospitals) < needed:
        raise ConfigError(
            f"the manifest has {len(hospitals)} hospitals, but this split needs "
            f"{needed}; use split = 'patient', or fewer folds"
        )
    size = hospitals["n_patients"].rank(method="first", pct=True)
    hospitals["tercile"] = np.ceil(3 * size)
    hospitals["chance"] = rng.permutation(len(hospitals))
    hospitals = hospitals.sort_values(["region", "tercile", "prevalence", "chance"])
    dealt = _permuted_blocks(len(hospitals), labels, rng)
    return pd.Series(dealt, hospitals.index)


def _permuted_blocks(
    n: int, labels: Sequence[str], rng: np.random.Generator
) -> list[Any]:
    """Return n labels in which every block holds each as often as `labels` does."""
    dealt: list[Any] = []
    for start in range(0, n, len(labels)):
        dealt += rng.permutation(list(labels[: n - start])).tolist()
    return dealt
