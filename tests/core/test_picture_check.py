"""The pictures and masks of a manifest are opened whole, and named where they fail."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from thyroid_fl.columns import as_cases
from thyroid_fl.picture_check import inspect_pictures

ENDINGS = ("png", "jpg", "gif", "bmp", "tif", "webp", "jp2")


@pytest.fixture
def picture():
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(40, 160, (6, 8), np.uint8)).resize((80, 60))


def inspect(folder, **columns):
    """Inspect one row, whose picture is `a.png` if nothing else is said."""
    row = {"image": "a.png", **columns}
    return inspect_pictures(as_cases(pd.DataFrame([row])), folder)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_cut_off_is_a_fault(tmp_path, picture, ending, kept):
    path = tmp_path / f"a.{ending}"
    picture.save(path)
    assert inspect(tmp_path, image=path.name).faults == []
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])

    seen = inspect(tmp_path, image=path.name)

    assert [fault.column for fault in seen.faults] == ["image"]
    assert f"picture 'a.{ending}' cannot be read" in seen.faults[0].message
    assert seen.sizes_px.tolist() == [[0, 0]]
    assert not seen.thumbnails.any()


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_copy_that_ends_in_zeros_is_a_fault(tmp_path, picture, ending):
    path = tmp_path / f"a.{ending}"
    picture.save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))

    assert "cannot be read" in inspect(tmp_path, image=path.name).faults[0].message


def test_a_flipped_bit_of_a_png_is_a_fault(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    for place in (len(content) // 3, len(content) // 2, len(content) - 20):
        flipped = content.copy()
        flipped[place] ^= 1
        (tmp_path / "a.png").write_bytes(flipped)

        assert "cannot be read" in inspect(tmp_path).faults[0].message


def test_a_mask_that_is_cut_off_is_a_fault(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    picture.save(tmp_path / "m.png")
    whole = (tmp_path / "m.png").read_bytes()
    (tmp_path / "m.png").write_bytes(whole[: len(whole) // 2])

    faults = inspect(tmp_path, mask="m.png").faults

    assert [fault.column for fault in faults] == ["mask"]


def test_what_looks_wrong_is_a_warning_and_no_fault(tmp_path, picture):
    mask = Image.new("L", (80, 60), 255)
    mask.save(tmp_path / "inverted.png")
    picture.save(tmp_path / "a.png")
    Image.new("L", (80, 60), 9).save(tmp_path / "empty.png")
    picture.save(tmp_path / "two.tif", save_all=True, append_images=[picture])
    text = picture.resize((320, 240))
    ImageDraw.Draw(text).text((20, 200), "ZHANG WEI", 255)
    text.save(tmp_path / "text.png")
    names = ["a", "empty", "two", "text"]
    rows = {
        "image": ["a.png", "empty.png", "two.tif", "text.png"],
        "mask": ["inverted.png", None, None, None],
    }

    seen = inspect_pictures(as_cases(pd.DataFrame(rows, names)), tmp_path)

    assert seen.faults == []
    assert [(one.row, one.column) for one in seen.warnings] == [
        (2, "mask"), (3, "image"), (4, "image"), (5, "image")
    ]  # fmt: skip
    for one, expected in zip(
        seen.warnings,
        ("invert it", "is empty", "several pictures", "burnt-in text"),
        strict=True,
    ):
        assert expected in one.message


def test_a_box_outside_is_a_fault_and_not_compared_with_the_mask(tmp_path, picture):
    mask = Image.new("1", (80, 60))
    mask.paste(1, (10, 10, 30, 30))
    mask.save(tmp_path / "m.png")
    picture.save(tmp_path / "a.png")

    outside = inspect(tmp_path, mask="m.png", boxes="[[10, 10, 1000000000, 30]]")
    beside = inspect(tmp_path, mask="m.png", boxes="[[50, 40, 70, 60]]")

    assert [fault.column for fault in outside.faults] == ["boxes"]
    assert outside.warnings == []
    assert beside.faults == []
    assert "overlap by 0% only" in beside.warnings[0].message


def test_boxes_are_those_of_the_row_or_of_the_mask(tmp_path, picture):
    mask = Image.new("1", (80, 60))
    mask.paste(1, (10, 10, 30, 30))
    mask.save(tmp_path / "m.png")
    picture.save(tmp_path / "a.png")

    rows = [("[[9, 9, 31, 31]]", "m.png"), (None, "m.png"), (None, None)]
    found = [inspect(tmp_path, boxes=b, mask=m).boxes for b, m in rows]

    assert found == [[((9, 9, 31, 31),)], [((10, 10, 30, 30),)], [()]]
