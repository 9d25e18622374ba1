"""Who is in a study is counted as a person would count the manifest."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.client.site import Archive, open_archive
from thyroid_fl.manifest import read_manifest, write_manifest
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.baseline import baseline_table, left_out_table


@pytest.fixture(scope="module")
def manifest(small_manifest: Path) -> Path:
    """Return the small manifest with ages and sexes, and ten pictures without class."""
    cases = read_manifest(small_manifest)
    number = cases["patient_id"].str[1:].astype(int)
    cases["age"] = (20 + number % 50).where(number % 7 > 0)
    cases["sex"] = np.where(number % 3 == 0, "M", "F")
    cases["malignant"] = cases["malignant"].mask(number < 5)
    path = small_manifest.parent / "aged.csv"
    write_manifest(cases, path)
    return path


@pytest.fixture(scope="module")
def archive(manifest: Path) -> Archive:
    return open_archive(make_study(data=str(manifest), image_px=32), manifest)


@pytest.fixture(scope="module")
def table(manifest: Path, archive: Archive) -> pd.DataFrame:
    return baseline_table(read_manifest(manifest), archive)


def cell(table: pd.DataFrame, stage: str, name: str) -> pd.Series:
    rows = table[(table["stage"] == stage) & (table["cell"] == name)]
    return rows.iloc[0]


def test_stages_have_the_hospitals_patients_and_images_of_the_manifest(table):
    counts = ["n_hospitals", "n_patients", "n_images"]

    assert cell(table, "registered", "all")[counts].tolist() == [5, 120, 240]
    assert cell(table, "readable", "all")[counts].tolist() == [5, 120, 240]
    assert cell(table, "usable", "all")[counts].tolist() == [5, 115, 230]


def test_sides_divide_the_usable_patients(table):
    sides = ["train", "val", "internal", "external"]

    for name in ("all", "malignant", "benign", "F", "M", "GE Healthcare", "Philips"):
        for column in ("n_patients", "n_images"):
            total = sum(cell(table, side, name)[column] for side in sides)
            assert total == cell(table, "usable", name)[column]


def test_cells_are_those_of_a_plain_count(table, archive):
    train = archive.table[archive.table["split"] == "train"]
    patients = train.drop_duplicates("patient_id")

    found = cell(table, "train", "malignant")

    assert found["n_patients"] == (patients["malignant"] == 1).sum()
    assert found["n_images"] == (train["malignant"] == 1).sum()
    assert found["percent"] == pytest.approx(100 * patients["malignant"].mean())


def test_ages_are_exact_quartiles_of_the_known(table, archive):
    patients = archive.table[archive.table["split"] == "train"]
    ages = patients.drop_duplicates("patient_id")["age"].dropna()

    found = cell(table, "train", "all")

    expected = np.percentile(ages, [25, 50, 75])
    assert found[["age_q1", "age_median", "age_q3"]].tolist() == pytest.approx(expected)
    assert found["n_age"] == len(ages) < found["n_patients"]


def test_a_side_without_patients_has_zeros_and_no_number_is_made_up(manifest):
    study = make_study(data=str(manifest), image_px=32, split="patient")

    table = baseline_table(read_manifest(manifest), open_archive(study, manifest))

    found = cell(table, "external", "all")
    assert found[["n_hospitals", "n_patients", "n_images", "n_age"]].tolist() == [0] * 4
    assert found[["percent", "age_median"]].isna().all()


def test_reasons_are_counted_at_the_stage_that_is_missed(archive):
    table = left_out_table(archive)

    reason = "the column malignant is empty; classification needs it"
    assert table.to_numpy().tolist() == [["usable", reason, 10]]
