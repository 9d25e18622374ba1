import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.errors import ManifestError
from thyroid_fl.masks import box_of_mask
from thyroid_fl.pixels import letterbox, nodule_crop, open_store

SETTINGS = {"region": "whole", "margin": 0.25, "image_px": 32}


@pytest.fixture
def cases(tmp_path):
    """Three pictures; white where the first one's nodule is."""
    grey = np.full((60, 100), 100, np.uint8)
    grey[20:40, 50:70] = 255
    for k in range(3):
        Image.fromarray(grey + np.uint8(k)).save(tmp_path / f"{k}.png")
    boxes = [((50, 20, 70, 40),), None, ()]
    return pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "image": [f"{k}.png" for k in range(3)],
            "boxes": boxes,
        }
    )


def test_a_picture_is_letterboxed_with_its_aspect_kept(cases, tmp_path):
    store = open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS)

    first = store.pixels[0]  # 100 x 60 -> 32 x 19, 6 black rows above
    assert first.shape == (32, 32)
    assert np.all(first[:6] == 0)
    assert np.all(first[25:] == 0)
    assert np.all(first[6:25] > 0)
    case = store.cases.iloc[0]
    assert (case["scale"], case["left"], case["top"]) == (0.32, 0, 6)


def test_the_nodule_is_cropped_with_its_margin_and_the_rest_left_out(cases, tmp_path):
    settings = SETTINGS | {"region": "nodule"}
    store = open_store(cases, tmp_path, tmp_path / "cache", **settings)

    assert store.cases["image_id"].tolist() == ["a"]
    assert store.left_out["image_id"].tolist() == ["b", "c"]
    assert set(store.left_out["reason"]) == {"no box of the nodule"}
    assert list(store.cases["crop"].iloc[0]) == [45, 15, 75, 45]
    assert store.pixels[0, 16, 16] == 255
    assert store.pixels[0, 1, 1] == 100


def test_pictures_are_decoded_once(cases, tmp_path):
    done = []
    for _ in range(2):
        store = open_store(
            cases,
            tmp_path,
            tmp_path / "cache",
            **SETTINGS,
            progress=lambda k, n: done.append((k, n)),
        )

    assert done == [(1, 3), (2, 3), (3, 3)]
    assert len(store.pixels) == 3


def test_a_changed_picture_makes_a_new_store(cases, tmp_path):
    before = (
        open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS).pixels[0].copy()
    )
    Image.fromarray(np.zeros((60, 100), np.uint8)).save(tmp_path / "0.png")

    after = open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS).pixels[0]

    assert before.max() == 255
    assert after.max() == 0


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n broken"])
def test_an_unreadable_picture_is_left_out_and_listed(cases, tmp_path, content):
    (tmp_path / "1.png").write_bytes(content)

    store = open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS)

    assert store.cases["image_id"].tolist() == ["a", "c"]
    assert store.pixels.shape == (2, 32, 32)
    assert store.thumbnails[1, 0, 0] == 102  # the third picture's grey
    assert store.left_out["image_id"].tolist() == ["b"]
    assert "cannot be read" in store.left_out["reason"].item()


def test_a_picture_of_more_than_8_bits_is_left_out(cases, tmp_path):
    Image.fromarray(np.full((60, 100), 4000, np.uint16)).save(tmp_path / "1.png")

    store = open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS)

    assert store.left_out["image_id"].tolist() == ["b"]


@pytest.mark.parametrize("region", ["whole", "nodule"])
def test_a_box_outside_its_picture_is_left_out(cases, tmp_path, region):
    inside = ((50, 20, 70, 40),)
    cases["boxes"] = [((50, 20, 101, 40),), inside, inside]

    store = open_store(
        cases, tmp_path, tmp_path / "cache", **SETTINGS | {"region": region}
    )

    assert "box [50, 20, 101, 40] reaches" in store.left_out["reason"].item()
    assert store.left_out["is_fault"].item()
    assert store.cases["image_id"].tolist() == ["b", "c"]


def test_no_readable_picture_is_an_error_and_leaves_no_store(cases, tmp_path):
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(b"text")

    with pytest.raises(ManifestError, match=r"3 left out, .*2\.png.*; run thyroid-cl"):
        open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS)

    assert list((tmp_path / "cache").iterdir()) == []


def test_a_mask_is_cropped_and_letterboxed_with_its_picture(cases, tmp_path):
    nodule = np.zeros((60, 100), np.uint8)
    nodule[20:40, 50:70] = 255
    Image.fromarray(nodule).save(tmp_path / "mask.png")
    Image.fromarray(nodule[:, 1:]).save(tmp_path / "narrow.png")
    cases["mask"] = ["mask.png", None, "narrow.png"]

    store = open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS, masks=True)

    assert store.left_out.empty
    assert store.cases["mask"].notna().tolist() == [True, False, False]
    (fault,) = store.cases["mask_fault"].dropna()
    assert "mask 'narrow.png' has 99 x 60 pixels, but its picture 100 x 60" in fault
    assert box_of_mask(store.masks[0] > 0) == (16, 12, 22, 19)  # 0.32 of it, 6 below
    assert store.masks.max() == 1
    assert not store.masks[1:].any()


def test_a_mended_mask_makes_a_new_store(cases, tmp_path):
    (tmp_path / "mask.png").write_bytes(b"text")
    cases["mask"] = ["mask.png", None, None]
    settings = SETTINGS | {"masks": True}
    broken = open_store(cases, tmp_path, tmp_path / "cache", **settings)

    Image.fromarray(np.full((60, 100), 255, np.uint8)).save(tmp_path / "mask.png")
    mended = open_store(cases, tmp_path, tmp_path / "cache", **settings)

    assert "cannot be read" in broken.cases["mask_fault"][0]
    assert not broken.masks.any()
    assert mended.masks[0].any()


def test_an_absent_picture_is_named(cases, tmp_path):
    (tmp_path / "2.png").unlink()

    with pytest.raises(ManifestError, match=r"picture 2\.png: cannot be found"):
        open_store(cases, tmp_path, tmp_path / "cache", **SETTINGS)


def test_no_usable_picture_is_an_error(cases, tmp_path):
    without = cases.assign(boxes=None)

    with pytest.raises(ManifestError, match="no usable picture for region 'nodule'"):
        open_store(
            without, tmp_path, tmp_path / "cache", **SETTINGS | {"region": "nodule"}
        )


def test_the_thumbnail_shows_the_whole_picture(cases, tmp_path):
    settings = SETTINGS | {"region": "nodule"}
    store = open_store(cases, tmp_path, tmp_path / "cache", **settings)

    assert store.thumbnails.shape == (1, 64, 64)
    assert np.mean(store.thumbnails[0] == 100) > 0.8


def test_letterbox_of_a_line_keeps_a_pixel():
    square, scale, left, top = letterbox(Image.new("L", (300, 1), 200), 30)

    assert (scale, left, top) == (0.1, 0, 14)
    assert np.all(square[14] == 200)
    assert square.sum() == 200 * 30


def test_several_boxes_are_joined_and_kept_inside():
    assert nodule_crop(((0, 0, 4, 4), (6, 6, 10, 10)), 0.5, (12, 11)) == (0, 0, 12, 11)
