"""Splits: nobody on two sides, the promised shares, the same for the same seed."""

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.columns import as_cases
from thyroid_fl.errors import ConfigError
from thyroid_fl.splits import regrouped, split_cases

NAMES = ["patient", "hospital", "vendor:GE", "region:inland"]


@pytest.fixture(scope="module")
def cases():
    """1000 patients with 1-3 pictures each in 40 hospitals of different size."""
    rng = np.random.default_rng(7)
    hospital = rng.choice(40, 1000, p=np.arange(11, 51) / 1220)
    n_pictures = rng.integers(1, 4, 1000)
    patient = np.repeat(np.arange(1000), n_pictures)
    table = pd.DataFrame(
        {
            "image_id": np.arange(len(patient)),
            "patient_id": patient,
            "hospital": [f"H{hospital[p]:02}" for p in patient],
            "image": [f"{i}.png" for i in range(len(patient))],
            "malignant": (rng.random(1000) < 0.4)[patient].astype(int),
            "vendor": [["GE", "Philips", "Toshiba"][hospital[p] % 3] for p in patient],
            "region": ["inland" if hospital[p] % 2 else "east_coast" for p in patient],
        }
    )
    return as_cases(table)


def n_patients(rows: pd.DataFrame) -> int:
    return int(rows["patient_id"].nunique())


@pytest.mark.parametrize("split", NAMES)
def test_no_patient_is_on_two_sides_and_test_sets_keep_their_word(cases, split):
    done = split_cases(cases, split, seed=3)

    assert done.groupby("patient_id")["split"].nunique().max() == 1
    assert set(done["split"]) == {"train", "val", "test"}
    assert (done["test_set"].notna() == (done["split"] == "test")).all()
    trained = set(done.loc[done["split"] == "train", "hospital"])
    internal = done[done["test_set"] == "internal"]
    external = done[done["test_set"] == "external"]
    assert set(internal["hospital"]) <= trained
    assert not set(external["hospital"]) & trained


@pytest.mark.parametrize("split", NAMES)
def test_the_seed_decides_and_the_order_of_rows_does_not(cases, split):
    first = split_cases(cases, split, seed=3)
    shuffled = split_cases(cases.sample(frac=1, random_state=1), split, seed=3)
    other = split_cases(cases, split, seed=4)

    pd.testing.assert_frame_equal(first, shuffled.sort_index())
    assert (first["split"] != other["split"]).any()


def test_patients_are_dealt_seven_two_one_in_both_classes(cases):
    done = split_cases(cases, "patient", seed=1)

    for _, rows in done.groupby("malignant"):
        shares = [
            n_patients(rows[rows["split"] == s]) for s in ("train", "val", "test")
        ]
        assert np.abs(np.array(shares) / sum(shares) - [0.7, 0.2, 0.1]).max() < 0.01


def test_a_fifth_of_the_hospitals_is_held_out_evenly(cases):
    done = split_cases(cases, "hospital", seed=1)

    hospitals = done.groupby("hospital").agg(
        external=("test_set", lambda s: (s == "external").any()),
        region=("region", "first"),
        n=("patient_id", "nunique"),
    )
    assert hospitals["external"].sum() == 8
    assert hospitals.groupby("region")["external"].sum().tolist() == [4, 4]
    held_out = hospitals.loc[hospitals["external"], "n"].sum() / hospitals["n"].sum()
    assert 0.12 < held_out < 0.28
    known = done[done["test_set"] != "external"]
    assert (
        abs(n_patients(known[known["split"] == "train"]) / n_patients(known) - 0.7)
        < 0.03
    )
    assert (done["test_set"] == "internal").any()


def test_vendor_trains_on_all_others_and_tests_on_one(cases):
    done = split_cases(cases, "vendor:GE", seed=1)

    assert set(done.loc[done["split"] != "test", "vendor"]) == {"Philips", "Toshiba"}
    assert (done.loc[done["vendor"] == "GE", "test_set"] == "external").all()
    assert (done.loc[done["vendor"] != "GE", "test_set"].dropna() == "internal").all()


@pytest.mark.parametrize("split", ["patient", "hospital"])
def test_drawn_folds_test_everybody_once(cases, split):
    folds = [split_cases(cases, split, seed=2, fold=k, n_folds=5) for k in range(1, 6)]

    tested = np.sum([fold["split"] == "test" for fold in folds], axis=0)
    external = np.sum([fold["test_set"] == "external" for fold in folds], axis=0)
    for fold in folds:
        assert fold.groupby("patient_id")["split"].nunique().max() == 1
        assert set(fold["split"]) == {"train", "val", "test"}
    # By hospital, known hospitals have internal test cases beside the held-out ones.
    np.testing.assert_array_equal(tested if split == "patient" else external, 1)


def test_official_folds_are_taken_where_they_suffice(cases):
    sides = np.where(np.arange(len(cases)) % 2, "train", "test")
    official = cases.assign(
        split_1=sides, split_2=sides[::-1], split_3=["train"] * len(cases)
    )

    taken = split_cases(official, "patient", seed=1, fold=2, n_folds=2)
    drawn = split_cases(official, "patient", seed=1, fold=2, n_folds=3)

    assert taken["split"].tolist() == sides[::-1].tolist()
    # The third has no test cases, so three folds must be drawn.
    assert drawn.groupby("patient_id")["split"].nunique().max() == 1


def test_the_manifests_own_split_is_kept(cases):
    own = cases.assign(split="train")
    own.loc[:9, "split"] = "test"

    done = split_cases(own, "manifest", seed=1)

    assert done["split"].tolist() == own["split"].tolist()


def test_tiny_hospitals_train():
    table = pd.DataFrame(
        {
            "image_id": range(12),
            "patient_id": range(12),
            "hospital": [f"H{i}" for i in range(12)],
            "image": [f"{i}.png" for i in range(12)],
            "malignant": 0,
        }
    )

    done = split_cases(as_cases(table), "hospital", seed=1)

    assert (done["test_set"] == "external").sum() == 3
    assert (done.loc[done["test_set"].isna(), "split"] == "train").all()


@pytest.mark.parametrize(
    ("split", "fold", "n_folds", "expected"),
    [
        ("vendor:Ge", 0, 0, "no such vendor; known: GE, Philips, Toshiba"),
        ("region:west", 0, 0, "no such region; known: east_coast, inland"),
        ("manifest", 0, 0, "column split is empty"),
        ("manifest", 1, 5, "has 0 official folds"),
        ("random", 0, 0, "expected patient, hospital, vendor:NAME"),
        ("hospital", 1, 41, "has 40 hospitals, but this split needs 41"),
        ("vendor:GE", 1, 5, "has no folds"),
        ("patient", 6, 5, "fold is 6 of 5"),
    ],
)
def test_what_the_manifest_does_not_allow_is_said(
    cases, split, fold, n_folds, expected
):
    with pytest.raises(ConfigError, match=expected):
        split_cases(cases, split, seed=1, fold=fold, n_folds=n_folds)


@pytest.fixture
def own_table(cases, tmp_path):
    """The first ten cases train, the next ten test; the rest are not in the table."""
    table = cases.head(20)[["image_id"]].assign(
        split=["train"] * 10 + ["test"] * 10,
        split_1=["test"] * 10 + ["train"] * 10,
        hospital=["A"] * 10 + ["B"] * 10,
    )
    table.to_csv(tmp_path / "own.csv", index=False)
    return tmp_path / "own.csv"


@pytest.mark.parametrize(("fold", "sides"), [(0, "train test"), (1, "test train")])
def test_a_split_can_be_a_table_of_ones_own(cases, own_table, fold, sides):
    split = f"table:{own_table}"
    regrouped_cases = regrouped(cases, split)
    done = split_cases(regrouped_cases, split, seed=1, fold=fold, n_folds=1)

    first, second = sides.split()
    assert (done["split"].iloc[:10] == first).all()
    assert (done["split"].iloc[10:20] == second).all()
    assert done["split"].iloc[20:].isna().all()
    assert list(done["hospital"].iloc[:20]) == ["A"] * 10 + ["B"] * 10
    assert (done["hospital"].iloc[20:] == cases["hospital"].iloc[20:]).all()
    assert (done.loc[done["split"] == "test", "test_set"] == "external").all()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("image_id,side\nx,train\n", "no column split"),
        ("image_id,split\nx,both\n", "split is 'both'; expected train, val, test"),
        ("image_id,split\nx,train\nx,test\n", "names each picture once"),
        ("picture,split\nx,train\n", "names each picture once"),
        (None, "cannot read the table"),
    ],
)
def test_a_table_that_cannot_be_a_split_is_refused(cases, tmp_path, content, expected):
    path = tmp_path / "own.csv"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match=expected):
        split_cases(cases, f"table:{path}", seed=1)
