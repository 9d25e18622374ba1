"""The other published formats: every quirk is mended, or left out and named."""

import shutil

import numpy as np
import pytest
from PIL import Image

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.client.readers.published import read_xml, rows_of
from thyroid_fl.client.readers.result import Import
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.masks import read_mask
from thyroid_fl.splits import official_folds


def account(notes):
    return {note.reason: note.image_ids for note in notes if note.image_ids}


def test_busi_unites_masks_and_settles_contradictory_labels(imported, tmp_path):
    done, cases = imported("busi")
    mended, left_out = account(done.mended), account(done.left_out)

    assert cases["mask"].notna().tolist() == [1, 1, 1, 0, 0, 1, 0]
    assert cases.loc["benign (3)", "boxes"] == ((5, 5, 15, 15), (15, 5, 25, 15))
    united = read_mask(tmp_path / "out" / cases.loc["benign (3)", "mask"])
    assert united.sum() == 20 * 10
    assert mended["several masks of one picture, united"] == (
        "benign/benign (3)_mask.png", "benign/benign (3)_mask_1.png",
        "benign/benign (4)_mask.png", "benign/benign (4)_mask_1.png",
    )  # fmt: skip
    # Its second mask has another size.
    absent = "the mask is not there or cannot be drawn; kept without mask"
    assert mended[absent] == ("benign (4)",)
    assert cases.loc["benign (4)", "boxes"] == ()
    assert mended["there is no mask"] == ("benign (5)",)
    assert np.isnan(cases.loc["normal (1)", "malignant"])
    assert cases["malignant"].dropna().tolist() == [0, 0, 0, 0, 1]
    different = "an identical picture has another label"
    assert left_out[different] == ("malignant (2)",)
    assert mended[f"{different}; kept without malignant"] == ("benign (2)",)
    assert left_out["a mask without a picture"] == ("benign/benign (99)_mask.png",)
    empty = left_out["a normal picture has no nodule to outline"]
    assert empty == ("normal/normal (1)_mask.png",)


@pytest.mark.parametrize("suffix", ["_mask", ""])
def test_busi_is_read_with_images_and_masks_apart(writers, tmp_path, suffix):
    source = tmp_path / "busi"
    source.mkdir()
    writers["busi"](source)
    for kind in ("benign", "malignant", "normal"):
        for path in sorted((source / kind).iterdir()):
            folder = path.parent / ("mask" if "_mask" in path.stem else "images")
            folder.mkdir(exist_ok=True)
            is_only = path.stem.endswith("_mask")
            name = path.name.replace("_mask", suffix) if is_only else path.name
            path.rename(folder / name)

    done = import_pictures(FORMATS["busi"], source, tmp_path / "out")

    assert done.rows["mask"].notna().tolist() == [1, 1, 1, 0, 0, 1, 0]


def test_busi_is_read_without_any_mask(writers, tmp_path):
    writers["busi"](tmp_path)
    for path in tmp_path.rglob("*_mask*"):
        path.unlink()

    done = FORMATS["busi"](tmp_path)

    assert done.rows["mask"].isna().all()
    assert len(account(done.mended)["there is no mask"]) == 7


@pytest.mark.parametrize("name", ["benign", "malignant"])
def test_busi_is_read_from_a_folder_of_any_name(name, writers, tmp_path):
    source = tmp_path / name
    source.mkdir()
    writers["busi"](source)

    labels = FORMATS["busi"](source).rows["malignant"]

    assert labels.fillna("-").tolist() == [*"00000", *"11", "-"]


def test_a_folder_within_one_of_its_name_counts_once(writers, tmp_path):
    writers["auitd"](tmp_path)
    train = tmp_path / "dataset thyroid/train"
    train.rename(tmp_path / "inner")
    train.mkdir()
    (tmp_path / "inner").rename(train / "train")

    done = FORMATS["auitd"](tmp_path)

    assert done.rows["split"].tolist() == ["train"] * 4 + ["test"] * 3
    assert account(done.left_out).keys() == {"a copy of the picture beside it"}


def test_tn3k_and_ddti_are_read_at_any_depth(writers, tmp_path):
    source = tmp_path / "bundle"
    for name in ("tn3k", "ddti"):
        (tmp_path / name).mkdir()
        writers[name](tmp_path / name)
    shutil.copytree(tmp_path / "tn3k/tn3k", source / "picture/trainval")
    shutil.copytree(tmp_path / "ddti", source / "bening")

    images = FORMATS["tn3k"](source).rows["image"]
    cases = FORMATS["ddti"](source).rows["image"]

    assert images.iloc[0] == "picture/trainval/trainval-image/0000.jpg"
    assert cases.iloc[0] == "bening/1_1.jpg"


def test_tn3k_keeps_its_sides_apart(imported):
    done, cases = imported("tn3k")
    mended, left_out = account(done.mended), account(done.left_out)

    assert cases["split"].tolist() == ["train"] * 3 + ["test"] * 2
    assert cases.index[0] == "trainval-0000"  # names restart in the test set
    assert cases["malignant"].fillna(-1).tolist() == [0, 1, -1, 1, -1]
    assert cases.loc["trainval-0000", "boxes"] == ((8, 8, 24, 24),)  # a JPEG's noise
    assert mended["there is no mask"] == ("test-0001",)
    assert mended["there is no label"] == ("trainval-0002",)
    assert cases["split_1"].fillna("-").tolist() == ["train", "train", "val", "-", "-"]
    assert cases["split_3"].fillna("-").tolist() == ["val", "val", "-", "-", "-"]
    assert not {"split_2", "split_4"} & set(cases)
    assert mended["a fold does not list it; it is on no side there"] == (
        "trainval-0002",
    )
    assert left_out == {
        "a list names it, but it is not there": ("test-0005", "trainval-0007"),
        "a mask without a picture": ("tn3k/trainval-mask/0009.jpg",),
        "TG3K outlines the gland, not a nodule": ("tg3k/thyroid-image/0000.jpg",),
        "an identical picture has another label": ("trainval-0003",),
    }


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", '{"train": [0]}', '{"train": 1, "val": [2]}',
             '{"train": ["0000"], "val": []}', '{"train": [0.5], "val": []}']
)  # fmt: skip
def test_a_fold_that_cannot_be_read_is_refused(writers, tmp_path, text):
    writers["tn3k"](tmp_path)
    (tmp_path / "tn3k/tn3k-trainval-fold2.json").write_text(text)

    with pytest.raises(ManifestError, match=r"fold2\.json: cannot read the fold"):
        FORMATS["tn3k"](tmp_path)


def test_folds_that_were_tested_on_the_same_pictures_are_not_taken_for_folds(imported):
    _, cases = imported("tn3k")

    assert official_folds(cases.reset_index()) == []


def test_what_two_sides_share_is_left_out_of_training(writers, tmp_path):
    source = tmp_path / "tn3k"
    source.mkdir()
    writers["tn3k"](source)
    (source / "label4trainval.csv").unlink()

    done = import_pictures(FORMATS["tn3k"], source, tmp_path / "out")

    reason = "the patient, or nearly the same picture, is on a side held out"
    assert account(done.left_out)[reason] == ("trainval-0003",)


def test_tn5000_boxes_are_counted_from_0_and_within_the_picture(imported):
    done, cases = imported("tn5000")
    mended, left_out = account(done.mended), account(done.left_out)

    assert cases.loc["000001", "boxes"] == ((0, 0, 10, 20),)
    assert cases.loc["000002", "boxes"] == ((29, 19, 48, 40),)  # its size is wrong
    assert cases["malignant"].fillna(-1).tolist() == [1, 0, 0, -1, -1]
    assert cases["split"].tolist() == ["train", "train", "val", "test", "test"]
    box = mended["no annotation with sound boxes can be read"]
    assert box == ("000003", "000004", "000005")
    assert mended["a box is cut at the edge of the picture"] == ("000002",)
    label = mended["no annotation with a label can be read"]
    assert label == ("000004", "000005")
    assert left_out == {
        "the picture is in no list of the split": (
            "TN5000_forReview/TN5000_forReview/JPEGImages/000006.jpg",
        ),
        "an annotation without a picture": (
            "TN5000_forReview/TN5000_forReview/Annotations/000008.xml",
        ),
        "the picture is not there or cannot be drawn": ("000007",),
    }


def test_tnui_tolerates_labels_without_a_picture(imported):
    done, cases = imported("tnui")
    mended, left_out = account(done.mended), account(done.left_out)

    assert cases["split"].tolist() == ["train"] * 3 + ["val", "test"]
    assert cases["malignant"].fillna(-1).tolist() == [0, 1, -1, 1, 0]
    assert mended["there is no label"] == ("train-0012",)
    assert mended["there is no mask"] == ("train-0011",)
    assert left_out == {
        "a mask without a picture": ("thyroid_data/train/masks/0013.png",),
        "the picture is not there or cannot be drawn": ("train-10200",),
    }


def test_stanford_frames_are_drawn_and_grouped_by_nodule(imported, tmp_path):
    done, cases = imported("stanford")

    assert cases["patient_id"].tolist() == ["12"] * 3 + ["7"] * 2 + ["9"]
    assert cases["nodule_id"].tolist() == cases["patient_id"].tolist()
    assert cases["frame"].tolist() == [0, 1, 2, 0, 1, 0]
    assert cases["malignant"].fillna(-1).tolist() == [1, 1, 1, 0, 0, -1]
    assert cases["tirads"].isna().all()  # ACR's scale is another one
    assert cases["boxes"].tolist() == [((10, 8, 30, 24),)] * 5 + [()]
    with Image.open(tmp_path / "out" / cases["image"].iloc[0]) as frame:
        assert (frame.format, frame.mode, frame.size) == ("PNG", "L", (48, 40))
    with Image.open(tmp_path / "out" / cases["mask"].iloc[0]) as mask:
        assert mask.mode == "1"
    empty = "the mask is unreadable, empty, grey or of another size; kept without mask"
    assert account(done.mended)[empty] == ("9-00005",)
    assert account(done.left_out) == {"metadata.csv names it, but no frame": ("8",)}


def test_thyroidxl_patients_come_from_records_or_names(imported):
    done, cases = imported("thyroidxl")
    mended, left_out = account(done.mended), account(done.left_out)

    assert cases["patient_id"].tolist() == [
        "00000058", "00000058", "00000060", "00000061", "00000062", "00000070"
    ]  # fmt: skip
    assert cases["malignant"].fillna(-1).tolist() == [1, 1, -1, -1, 1, 0]
    assert cases["tirads"].fillna("-").tolist() == [*"55--5-"]  # 4 has no letter
    assert cases["sex"].fillna("-").tolist() == [*"FFM---"]
    assert cases["split"].tolist() == ["train"] * 5 + ["test"]
    assert mended["there is no mask"] == ("00000058_B_1",)
    head = "no record names the picture; its patient is the head of its name"
    assert mended[head] == ("00000061_A_0",)
    assert left_out == {
        "the picture is not there": ("00000060_B_1",),
        "a mask without a picture": ("train/masks/00000060_B_1.png",),
    }


def test_auitd_is_sorted_by_folders_in_any_case(imported):
    done, cases = imported("auitd")

    assert cases["malignant"].fillna(-1).tolist() == [0, 0, 1, -1, 0, 1]
    assert cases["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert account(done.left_out) == {
        "a copy of the picture beside it": (
            "dataset thyroid/train/benign/a - Copy.jpg",
            "dataset thyroid/test/Malignant/Tiroides4/c - Copy (2).jpg",
        ),
        "the picture cannot be read": ("test/Malignant/broken",),
    }


@pytest.mark.parametrize("n_pixels", [64, 128, 224])
def test_breastmnist_is_read_in_every_size(writers, tmp_path, n_pixels):
    writers["breastmnist"](tmp_path)
    path = tmp_path / "breastmnist.npz"
    path.rename(tmp_path / f"breastmnist_{n_pixels}.npz")

    assert len(FORMATS["breastmnist"](tmp_path).rows) == 8


def test_two_sizes_of_breastmnist_are_refused(writers, tmp_path):
    writers["breastmnist"](tmp_path)
    shutil.copy(tmp_path / "breastmnist.npz", tmp_path / "breastmnist_64.npz")

    with pytest.raises(ManifestError, match=r"expected one breastmnist\*\.npz; found"):
        FORMATS["breastmnist"](tmp_path)


def test_breastmnist_label_0_is_malignant(imported, tmp_path):
    _, cases = imported("breastmnist")

    assert cases["malignant"].tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert cases["split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    with Image.open(tmp_path / "out" / cases["image"].iloc[0]) as picture:
        assert picture.size == (28, 28)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"folder"}))
def test_an_empty_folder_is_refused(name, tmp_path):
    with pytest.raises(ManifestError):
        FORMATS[name](tmp_path)


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"folder", "busbra", "dicom"}))
def test_a_published_set_is_its_own_hospital(name, writers, tmp_path):
    source = tmp_path / name
    source.mkdir()
    writers[name](source)

    with pytest.raises(ConfigError, match="names its hospitals itself"):
        import_pictures(FORMATS[name], source, tmp_path / "out", hospital="H")


def test_progress_counts_drawings_and_checks(writers, tmp_path):
    source = tmp_path / "ddti"
    source.mkdir()
    writers["ddti"](source)
    told = []

    import_pictures(
        FORMATS["ddti"],
        source,
        tmp_path / "out",
        progress=lambda done, total: told.append((done, total)),
    )

    assert [done for done, _ in told] == list(range(1, 14))  # 4 masks, 9 pictures
    assert {total for _, total in told} == {13}


def test_nothing_is_drawn_outside_the_import(tmp_path):
    source = tmp_path / "source"
    source.mkdir()

    def read(folder):
        paths = ("../../../outside.png", str(tmp_path / "outside.png"))
        rows = [
            {"image_id": path, "patient_id": "1", "image": path, "malignant": None}
            for path in paths
        ]
        return Import(
            rows_of(rows, folder, "H", "pictures"),
            folder,
            drawn=dict.fromkeys(paths, lambda: Image.new("L", (9, 9))),
            is_lenient=True,
        )

    with pytest.raises(ManifestError, match="no picture is left, because the"):
        import_pictures(read, source, tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_list_with_what_can_be_no_files_name_is_refused(writers, tmp_path):
    writers["tnui"](tmp_path)
    path = tmp_path / "thyroid_data/train_img_labels.csv"
    path.write_text(f"ID,Labels\n{'0' * 300}.png,1\n")

    with pytest.raises(ManifestError, match="can be no file's name"):
        FORMATS["tnui"](tmp_path)


def test_a_cell_that_is_no_unicode_is_refused(writers, tmp_path):
    writers["thyroidxl"](tmp_path)
    (tmp_path / "test/images").mkdir(exist_ok=True)
    picture = next((tmp_path / "test/images").iterdir())
    picture.rename(picture.with_name("\udcff_0.png"))

    with pytest.raises(ManifestError, match="no Unicode; rename the file"):
        FORMATS["thyroidxl"](tmp_path)


def test_an_xml_with_a_document_type_is_refused(tmp_path):
    path = tmp_path / "1.xml"
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', encoding="utf-16")

    with pytest.raises(ValueError, match="document type"):
        read_xml(path)
