"""What is planted is in the pictures, and the evaluation finds it by real training."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import thyroid_fl
from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.gap import gap_table
from thyroid_fl.evaluation.harm import harm_summary, harm_table
from thyroid_fl.manifest import read_manifest
from thyroid_fl.simulation.optimism import optimism
from thyroid_fl.simulation.planted import write_contrary, write_shortcut

SETTINGS = {
    "image_px": 32, "learning_rate": 2e-3, "jobs": 1, "threads": 1, "seeds": 3,
    "progress": False,
}  # fmt: skip
MARK_PX = 12  # of a picture of 32 px


def pictures(manifest):
    """Return the cases, and their pictures (N, 32, 32)."""
    cases = read_manifest(manifest)
    paths = [manifest.parent / name for name in cases["image"]]
    return cases, np.stack([np.asarray(Image.open(path)) for path in paths])


@pytest.fixture(scope="module")
def shortcuts(tmp_path_factory):
    """The pictures of six hospitals of ten patients, with and without their marks."""
    folder = tmp_path_factory.mktemp("shortcuts")
    sizes = {"n_hospitals": 6, "n_patients": 10, "picture_px": 32}
    return [
        pictures(write_shortcut(folder / str(marked), marked=marked, **sizes))
        for marked in (True, False)
    ]


def test_a_mark_is_the_hospitals_own_and_nothing_else_differs(shortcuts):
    (cases, marked), (same, plain) = shortcuts

    corner = np.zeros((32, 32), dtype=bool)
    corner[:MARK_PX, :MARK_PX] = True
    marks = [set(map(bytes, marked[cases["hospital"] == name][:, :MARK_PX, :MARK_PX]))
             for name in cases["hospital"].unique()]  # fmt: skip
    assert all(len(mark) == 1 for mark in marks)
    assert len(set.union(*marks)) == 6
    np.testing.assert_array_equal(marked[:, ~corner], plain[:, ~corner])
    assert (marked[:, corner] != plain[:, corner]).any(axis=1).all()
    pd.testing.assert_frame_equal(
        cases.drop(columns="image"), same.drop(columns="image")
    )


def test_half_of_the_hospitals_have_few_malignant_patients_and_half_many(shortcuts):
    (cases, _), _ = shortcuts

    prevalences = cases.groupby("hospital")["malignant"].mean()
    np.testing.assert_allclose(sorted(prevalences), [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])


def test_a_contrary_hospital_has_the_others_labels_and_opposite_nodules(tmp_path):
    sizes = {"n_patients": (8, 8), "picture_px": 32}
    cases, contrary = pictures(write_contrary(tmp_path / "planted", **sizes))
    same, plain = pictures(write_contrary(tmp_path / "no", contrary=False, **sizes))

    pd.testing.assert_frame_equal(
        cases.drop(columns="boxes"), same.drop(columns="boxes")
    )
    is_first = (cases["hospital"] == "H001").to_numpy()
    differs = (contrary != plain).any(axis=(1, 2))
    np.testing.assert_array_equal(differs, is_first)


def test_what_cannot_be_drawn_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="use at least 32"):
        write_shortcut(tmp_path / "small", picture_px=16)
    with pytest.raises(ConfigError, match="1 hospitals: expected 2 to 512"):
        write_shortcut(tmp_path / "one", n_hospitals=1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="exists: choose another folder"):
        write_contrary(tmp_path)


def pooled(table, metric, target):
    """Return the row of the pooled model, by patient, over all seeds."""
    rows = table[(table["arm"] == "pooled") & (table["unit"] == "patient")]
    rows = rows[(rows["metric"] == metric) & (rows["target"] == target)]
    return rows[rows["seed"] == "mean"].iloc[0]


@pytest.mark.slow
def test_a_site_shortcut_is_a_gap_where_hospitals_are_held_out_and_only_there(tmp_path):
    sizes = {"n_hospitals": 32, "n_patients": 40, "picture_px": 32}
    settings = {"rounds": 5, "local_epochs": 1, "flips": "none", "rotation_deg": 0.0}
    found = {}
    for marked in (True, False):
        folder = tmp_path / str(marked)
        manifest = write_shortcut(folder / "data", marked=marked, **sizes)
        found[marked] = optimism(
            data=manifest, out=folder / "run", **settings, **SETTINGS
        )

    planted, control = (
        pooled(done.gap, "auc", "these hospitals") for done in found.values()
    )
    assert planted["low"] > 0
    assert control["difference"] < planted["low"]
    within = pooled(found[True].gap, "auc_within_site", "hospitals like these")
    assert within["low"] < 0 < within["high"]
    assert pooled(found[True].table, "auc", "optimism of the split")["low"] > 0
    # The split by patient has no other hospital, and so no gap to see.
    predictions = pd.read_parquet(found[True].folder / "predictions.parquet")
    random = gap_table(predictions[predictions["fold"] == 1], n_resamples=0)
    blind = pooled(random, "auc", "these hospitals")
    assert blind["n_external"] == 0
    assert np.isnan(blind["difference"])


@pytest.mark.slow
def test_a_federation_that_harms_a_hospital_is_said_to_harm_it_and_no_other(tmp_path):
    manifest = write_contrary(tmp_path / "data", n_patients=(320, 240, 240, 240))
    done = thyroid_fl.compare(
        data=manifest,
        out=tmp_path / "run",
        split="patient",
        region="nodule",
        rounds=4,
        local_epochs=2,
        singles=4,
        tuned=1,
        **SETTINGS,
    )

    predictions = pd.read_parquet(done.folder / "predictions.parquet")
    rows = harm_table(predictions)
    rows = rows[(rows["unit"] == "patient") & (rows["seed"] == "mean")]
    ours = rows[rows["hospital"] == "H001"].set_index("budget")
    assert set(ours.index) == {"matched", "tuned"}
    assert (ours["verdict"] == "harmed").all()
    assert (ours["p_holm"] < 0.05).all()
    others = rows[rows["hospital"] != "H001"]
    assert len(others) == 3
    assert not ((others["p_holm"] < 0.05) & (others["difference"] < 0)).any()
    ends = harm_summary(predictions)
    ends = ends[(ends["unit"] == "patient") & (ends["seed"] == "mean")]
    worst = ends[ends["hospital"] == "worst"].set_index("budget")
    assert worst.loc["matched", "verdict"] == "harmed"
