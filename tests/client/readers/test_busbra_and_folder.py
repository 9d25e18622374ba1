"""BUS-BRA and a plain folder: every quirk, and all or nothing."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS, busbra, folder
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.manifest import read_manifest
from thyroid_fl.splits import official_folds, split_cases

REAL = Path(__file__).parents[3] / "../shared/data/busbra"
needs_busbra = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real BUS-BRA is not beside the repository"
)


@pytest.fixture
def published(writers, tmp_path):
    """Write a small BUS-BRA."""
    (tmp_path / "BUSBRA").mkdir()
    writers["busbra"](tmp_path / "BUSBRA")
    return tmp_path / "BUSBRA"


def test_busbra_quirks_are_mended_and_accounted_for(published, tmp_path):
    done = import_pictures(FORMATS["busbra"], published, tmp_path / "out")
    cases = read_manifest(tmp_path / "out/manifest.csv").set_index("image_id")

    assert cases["patient_id"].tolist() == ["1", "1", "2", "3"]
    assert cases["malignant"].tolist() == [1, 1, 0, 0]
    assert cases["hospital"].unique().tolist() == [
        "GE Logiq 7", "U-Systems", "Toshiba Aplio 300"
    ]  # fmt: skip
    assert cases["vendor"].unique().tolist() == ["GE", "U-Systems", "Toshiba"]
    assert cases["tirads"].isna().all()
    assert cases["boxes"].tolist() == [
        ((10, 5, 20, 15), (25, 8, 30, 15)),
        ((0, 0, 10, 10),),
        ((5, 5, 12, 12),),  # parts that touch at a corner are one nodule
        ((0, 1, 4, 6),),  # no mask: [x-1, y-1, x+w, y+h] of BBOX
    ]
    assert cases["mask"].isna().tolist() == [False, False, False, True]
    assert cases.loc["bus_0001-l", ["split_1", "split_2", "split_3"]].tolist() == [
        "test", "val", "train"
    ]  # fmt: skip
    # Published as train and val of folds 2 and 4: the second follows the first.
    assert cases.loc[:"bus_0001-r", "split_2"].tolist() == ["val", "val"]
    assert cases.loc[:"bus_0001-r", "split_3"].tolist() == ["train", "train"]
    assert [note.image_ids for note in done.mended] == [
        ("bus_0001-r",), ("bus_0003-s",), ("bus_0001-r",)
    ]  # fmt: skip
    assert [note.image_ids for note in done.left_out] == [
        ("bus_0004-s",), ("Masks/mask_0004-s.png",)
    ]  # fmt: skip


def test_what_cannot_be_used_of_a_published_set_is_left_out(published, tmp_path):
    (published / "Images/bus_0001-r.png").write_bytes(b"no picture")
    (published / "Masks/mask_0002-s.png").write_bytes(b"no mask")

    done = import_pictures(FORMATS["busbra"], published, tmp_path / "out")

    assert done.rows["image_id"].tolist() == ["bus_0001-l", "bus_0002-s", "bus_0003-s"]
    assert done.left_out[-1].reason == "the picture cannot be read"
    assert done.left_out[-1].image_ids == ("bus_0001-r",)
    assert done.mended[-1].reason.startswith("the mask is unreadable, empty, grey")
    assert done.mended[-1].image_ids == ("bus_0002-s",)


def test_an_import_stands_alone(published, tmp_path):
    import_pictures(FORMATS["busbra"], published, tmp_path / "out")
    cases = read_manifest(tmp_path / "out/manifest.csv")

    assert cases["image"][0] == "images/bus_0001-l.png"
    assert cases["mask"][0] == "masks/mask_0001-l.png"
    copied = (tmp_path / "out" / cases["image"][0]).read_bytes()
    assert copied == (published / "Images/bus_0001-l.png").read_bytes()


@pytest.mark.parametrize("file", ["bus_data.csv", "5-fold-cv.csv"])
def test_busbra_without_its_tables_is_refused(published, file):
    (published / file).unlink()

    with pytest.raises(ManifestError, match=f"{file}: cannot read the table"):
        busbra.read(published)


def test_a_picture_in_two_folds_is_refused(published):
    path = published / "5-fold-cv.csv"
    path.write_text(path.read_text() + "bus_0001-l,benign,2,1,NaN,1,1,1\n")

    with pytest.raises(ManifestError, match=r"5-fold-cv\.csv: ID bus_0001-l has two"):
        busbra.read(published)


def test_another_table_is_not_busbra(published):
    (published / "bus_data.csv").write_text("ID,Case\nbus_0001-l,1\n")

    with pytest.raises(ManifestError, match="no column Pathology, Device, Width"):
        busbra.read(published)


@needs_busbra
def test_the_real_busbra_is_read_whole(tmp_path):
    start = time.perf_counter()
    done = import_pictures(FORMATS["busbra"], REAL, tmp_path / "out")
    seconds = time.perf_counter() - start
    cases = read_manifest(tmp_path / "out/manifest.csv")
    published = pd.read_csv(REAL / "bus_data.csv").set_index("ID")
    folds = pd.read_csv(REAL / "5-fold-cv.csv").set_index("ID")

    assert seconds < 20
    assert len(cases) == 1492
    assert cases["hospital"].value_counts().to_dict() == {
        "GE Logiq 7": 720, "GE Logiq 5": 630, "Toshiba Aplio 300": 117, "U-Systems": 25
    }  # fmt: skip
    resized, without_mask, moved = (note.image_ids for note in done.mended)
    assert resized == ("bus_0856-l", "bus_0857-r", "bus_0990-l")
    assert without_mask == ()
    assert len(moved) == 504
    bbox = published.loc[cases["image_id"], "BBOX"].str.strip("[]").str.split(",")
    x, y, w, h = np.array(bbox.tolist(), int).T
    expected = np.stack([x - 1, y - 1, x + w, y + h], axis=1)
    found = np.array([boxes[0] for boxes in cases["boxes"]])
    odd = cases["image_id"][(found != expected).any(axis=1)]
    assert odd.tolist() == ["bus_0845-s"]  # its BBOX is wrong; the box fits its mask
    assert official_folds(cases) == ["split_1", "split_2", "split_3", "split_4"]
    k_fold = folds.loc[cases["image_id"], "kFold"].to_numpy()
    for k in range(1, 5):
        fold = split_cases(cases, "patient", seed=1, fold=k, n_folds=4)
        np.testing.assert_array_equal(fold["split"] == "test", k_fold == k)
        assert fold.groupby("patient_id")["split"].nunique().max() == 1


@pytest.fixture
def plain(writers, tmp_path):
    """Write a folder of three pictures, one mask and one CSV."""
    (tmp_path / "plain").mkdir()
    writers["folder"](tmp_path / "plain")
    return tmp_path / "plain"


def test_a_plain_folder_becomes_a_manifest(plain, tmp_path):
    import_pictures(folder.read, plain, tmp_path / "out", hospital="St. Anna")
    cases = read_manifest(tmp_path / "out/manifest.csv")

    assert cases["hospital"].unique().tolist() == ["St. Anna"]
    assert cases["image"].tolist() == [
        "images/x/1.png", "images/y/1.png", "images/y/2.png"
    ]  # fmt: skip
    assert cases["mask"].tolist()[0] == "masks/m.png"
    assert cases["boxes"].tolist() == [((3, 4, 13, 24),), (), ()]
    np.testing.assert_array_equal(cases["malignant"], [1, 1, np.nan])


def test_a_folder_needs_exactly_one_list(plain):
    (plain / "second.csv").write_text("image_id\n")

    with pytest.raises(ManifestError, match=r"found list\.csv, second\.csv"):
        folder.read(plain)


def test_a_hospital_named_twice_is_refused(published, tmp_path):
    with pytest.raises(ConfigError, match="names its hospitals itself"):
        import_pictures(busbra.read, published, tmp_path / "out", hospital="X")


def test_nothing_is_left_where_writing_fails(plain, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("thyroid_fl.client.importing.write_manifest", fail)
    with pytest.raises(OSError, match="disk full"):
        import_pictures(folder.read, plain, tmp_path / "out", hospital="H")

    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
