"""A hospital sees its own cases, and only those that can be used."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.client.site import open_archive, open_site
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.settings import make_study

HOSPITALS = ["H0", "H1", "H2", "H3", "H4"]


@pytest.fixture
def study(small_manifest):
    return make_study(data=str(small_manifest), split="patient", image_px=32)


@pytest.fixture
def rewritten(small_manifest, tmp_path):
    """Return a function that changes the manifest's table and writes it elsewhere."""

    def rewrite(change):
        images = tmp_path / "images"
        if not images.exists():
            shutil.copytree(small_manifest.parent / "images", images)
        table = pd.read_csv(small_manifest, dtype="str")
        change(table)
        table.to_csv(tmp_path / "manifest.csv", index=False)
        return make_study(
            data=str(tmp_path / "manifest.csv"), split="patient", image_px=32
        )

    return rewrite


def test_hospitals_have_their_own_cases_and_no_others(study):
    archive = open_archive(study, study.data)

    sites = [open_site(study, {"hospital": name}) for name in HOSPITALS]

    for site in sites:
        assert len(site.train) > len(site.val) > 0
        for rows in (site.train, site.val):
            assert set(archive.table["hospital"].iloc[rows]) == {site.name}
        assert set(archive.table["split"].iloc[site.val]) == {"val"}
    everything = np.concatenate([site.train for site in sites])
    assert sorted(everything) == sorted(open_site(study, {"hospital": "all"}).train)


def test_flowers_partition_is_the_place_in_the_sorted_list(study):
    names = [open_site(study, {"partition-id": k}).name for k in range(5)]

    assert names == HOSPITALS
    with pytest.raises(ConfigError, match=r"partition 5 of 5 .*num-supernodes to 5"):
        open_site(study, {"partition-id": 5})


def test_a_hospital_of_its_own_manifest_needs_no_name(study, rewritten):
    own = rewritten(lambda table: table.query("hospital != 'H3'").index).data
    table = pd.read_csv(own, dtype="str")
    table[table["hospital"] == "H3"].to_csv(own, index=False)

    site = open_site(study, {"manifest": own})

    assert site.name == "H3"
    assert len(site.cases.malignant) == 48


def test_an_unknown_hospital_is_refused(study):
    with pytest.raises(ConfigError, match="no hospital 'H9' among the 5 here"):
        open_site(study, {"hospital": "H9"})


def test_the_cohort_must_be_written_before(study):
    with pytest.raises(ConfigError, match="thyroid-sim cohort FOLDER"):
        open_site(study, {"manifest": "synthetic"})


def test_a_picture_without_its_label_is_counted_and_in_no_split(rewritten):
    def forget(table):
        table.loc[[3, 10], "malignant"] = None

    study = rewritten(forget)
    archive = open_archive(study, study.data)

    assert archive.counts.sum().tolist() == [240, 240, 238]
    assert len(archive.table) == 240
    assert archive.left_out["image_id"].tolist() == ["1-1", "5-0"]
    assert set(archive.left_out["reason"]) == {
        "the column malignant is empty; classification needs it"
    }
    assert archive.cases.malignant[[3, 10]].tolist() == [-1, -1]
    assert archive.table["split"].isna().to_numpy().nonzero()[0].tolist() == [3, 10]
    used = np.concatenate([archive.rows(split) for split in ("train", "val", "test")])
    assert len(used) == 238
    assert not {3, 10} & set(used)


def test_a_hospital_without_any_label_has_nothing_to_train_on_but_counts(rewritten):
    study = rewritten(lambda table: table.__setitem__("malignant", None))

    site = open_site(study, {"hospital": "H1"})

    assert len(site.train) == len(site.val) == 0
    assert site.counts == {"n_registered": 48, "n_readable": 48, "n_usable": 0}


def test_an_unreadable_mask_takes_no_picture_away_and_moves_no_patient(rewritten):
    def masked(table):
        table["mask"] = "images/mask.png"
        table.loc[5, "mask"] = "images/broken.png"

    data = rewritten(masked).data
    images = Path(data).parent / "images"
    (images / "broken.png").write_bytes(b"text")
    Image.fromarray(np.eye(40, 50, dtype=np.uint8) * 255).save(images / "mask.png")
    archives = [
        open_archive(make_study(data=data, task=task, image_px=64), data)
        for task in ("classification", "segmentation")
    ]

    classified, segmented = (archive.table["split"] for archive in archives)
    assert segmented.isna().to_numpy().nonzero()[0].tolist() == [5]
    assert segmented.drop(5).equals(classified.drop(5))
    assert "mask 'broken.png' cannot be read" in archives[1].left_out["reason"].item()


def test_a_picture_without_a_box_is_counted_where_the_nodule_is_asked_for(rewritten):
    def forget(table):
        table.loc[[3, 10], "boxes"] = None

    study = make_study(**{"data": rewritten(forget).data, "region": "nodule"})
    archive = open_archive(study, study.data)

    assert archive.counts["n_registered"].sum() == 240
    assert len(archive.table) == len(archive.cases.pixels) == 238
    assert archive.left_out["image_id"].tolist() == ["1-1", "5-0"]


def test_an_archive_is_opened_once_for_all_trainings_and_anew_when_it_changed(
    rewritten,
):
    first = rewritten(lambda table: None)
    archive = open_archive(first, first.data)

    assert open_archive(make_study(**{
        "data": first.data, "split": "patient", "image_px": 32, "rounds": 99,
    }), first.data) is archive  # fmt: skip
    again = rewritten(lambda table: table.__setitem__("hospital", "H7"))
    assert set(open_archive(again, again.data).table["hospital"]) == {"H7"}


def test_a_leaking_split_is_refused(rewritten, tmp_path):
    def repeat(table):
        table["split"] = np.where(table["hospital"] == "H0", "test", "train")
        shutil.copyfile(tmp_path / "images/0-0.png", tmp_path / "images/1-0.png")

    study = make_study(data=rewritten(repeat).data, split="manifest", image_px=32)

    with pytest.raises(ManifestError, match="picture: 0-0 is in test, 1-0 in train"):
        open_archive(study, study.data)


def test_progress_is_told(study):
    told = []

    open_archive(
        make_study(data=study.data, split="patient", image_px=33),
        study.data,
        progress=lambda done, total: told.append((done, total)),
    )

    assert told[0] == (1, 240)
    assert told[-1] == (240, 240)


def test_boxes_are_in_pixels_of_the_store_and_padded(rewritten):
    def second(table):
        table.loc[0, "boxes"] = "[[15, 10, 35, 30], [0, 0, 50, 40]]"
        table.loc[1, "boxes"] = None

    study = make_study(data=rewritten(second).data, task="detection", image_px=64)
    archive = open_archive(study, study.data)

    boxes = archive.cases.boxes.numpy()  # 50 x 40 pixels become 64 x 51 below row 6
    assert boxes.shape == (240, 2, 4)
    np.testing.assert_allclose(boxes[0, 0], [19.2, 18.8, 44.8, 44.4], atol=1e-5)
    np.testing.assert_allclose(boxes[0, 1], [0, 6, 64, 57.2], atol=1e-5)
    assert np.isnan(boxes[1]).all()
    assert np.isnan(boxes[2, 1]).all()
    assert archive.cases.masks is None
    reason = "the column boxes is empty; detection needs it"
    assert archive.left_out["reason"].tolist() == [reason]


def test_the_split_is_the_same_for_all_tasks(rewritten):
    def forget(table):
        table.loc[table["hospital"] == "H2", "boxes"] = None

    data = rewritten(forget).data
    sides = {}
    for task in ("classification", "detection"):
        study = make_study(data=data, task=task, split="hospital", image_px=64)
        archive = open_archive(study, study.data)
        sides[task] = archive.table.set_index("image_id")["split"].dropna()

    common = sides["classification"].loc[sides["detection"].index]
    assert len(common) == 192
    pd.testing.assert_series_equal(common, sides["detection"])


def test_a_split_that_was_changed_in_the_manifest_is_the_one_that_is_used(rewritten):
    found = []
    for side in ("H0", "H1"):
        data = rewritten(
            lambda table, test=side: table.__setitem__(
                "split", np.where(table["hospital"] == test, "test", "train")
            )
        ).data
        study = make_study(data=data, split="manifest", image_px=32)
        table = open_archive(study, data).table
        found.append(set(table.loc[table["split"] == "test", "hospital"]))

    assert found == [{"H0"}, {"H1"}]
