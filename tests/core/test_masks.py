"""What is read from a mask, and what is said of one that cannot serve."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from thyroid_fl.masks import (
    boxes_of_mask,
    grey_share,
    iou,
    mask_doubts,
    mask_problems,
    nodule_of,
)

BOX = (60, 40, 140, 100)


@pytest.fixture
def mask():
    """Draw a nodule of 80 x 60 pixels in 320 x 240."""
    picture = Image.new("L", (320, 240))
    ImageDraw.Draw(picture).ellipse((60, 40, 139, 99), 255)
    return picture


def saved_as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def problems(picture: Image.Image, size=(320, 240)) -> list[str]:
    return list(mask_problems("m.png", np.asarray(picture), size))


def doubts(picture: Image.Image, boxes=()) -> list[str]:
    return list(mask_doubts("m.png", nodule_of(np.asarray(picture)), boxes))


def test_a_mask_gives_a_box_for_each_part_but_none_for_specks():
    mask = np.zeros((40, 50), bool)
    mask[5:25, 10:30] = True
    mask[30:35, 40:45] = True
    mask[0, 0] = True

    assert boxes_of_mask(mask) == ((10, 5, 30, 25), (40, 30, 45, 35))
    assert boxes_of_mask(np.zeros((4, 4), bool)) == ()


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 95])
def test_the_noise_of_jpeg_is_no_fault(mask, quality):
    assert problems(saved_as_jpeg(mask, quality)) == []


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_soft_outline_of_an_enlarged_mask_is_no_fault(mask, factor):
    enlarged = mask.resize((320 // factor, 240 // factor)).resize((320, 240))

    assert problems(enlarged) == []


def test_a_map_of_probabilities_is_named(mask):
    blurred = np.asarray(mask.filter(ImageFilter.GaussianBlur(30)), np.float64)
    blurred *= 255 / blurred.max()

    assert (
        "is not black and white" in problems(Image.fromarray(blurred.astype("u1")))[0]
    )


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.6])
def test_a_picture_with_the_nodule_painted_over_is_named(mask, weight):
    noise = np.random.default_rng(1).rayleigh(50, (240, 320)).clip(0, 255)
    picture = Image.blend(Image.fromarray(noise.astype(np.uint8)), mask, weight)

    assert "export the nodule in white on black" in problems(picture)[0]


def test_classes_in_three_levels_are_named(mask):
    gland = Image.new("L", (320, 240))
    gland.paste(130, (20, 20, 300, 200))
    gland.paste(255, mask=mask)

    assert "is not black and white" in problems(gland)[0]


def test_another_size_and_an_empty_mask_are_named(mask):
    assert (
        "has 320 x 240 pixels, but its picture 320 x 241"
        in problems(mask, (320, 241))[0]
    )
    assert "no pixel above 127" in problems(mask.point(lambda v: v // 255))[0]


def test_an_inverted_mask_is_doubted_but_no_fault(mask):
    inverted = mask.point(lambda v: 255 - v)

    assert problems(inverted) == []
    assert (
        "covers 95% of the picture; if black is the nodule, invert it"
        in (doubts(inverted)[0])
    )
    assert doubts(mask) == []


def test_a_mask_whose_black_fits_the_box_is_inverted_whatever_it_covers():
    inverted = Image.new("L", (320, 240), 255)
    inverted.paste(0, (20, 20, 180, 180))
    large = Image.new("L", (320, 240))
    large.paste(255, (20, 20, 300, 220))

    assert (
        "covers 67% of the picture; if black"
        in (doubts(inverted, ((20, 20, 180, 180),))[0])
    )
    assert doubts(inverted) == []
    assert doubts(large, ((20, 20, 300, 220),)) == []


def test_boxes_that_do_not_fit_the_mask_are_doubted(mask):
    x0, y0, x1, y1 = BOX

    assert doubts(mask, (BOX,)) == []
    assert doubts(mask, ((x0 - 15, y0 - 10, x1 + 15, y1 + 10),)) == []
    for wrong in ((y0, x0, y1, x1 + 60), (x0, y0, x0 + 20, y0 + 20)):
        assert "overlap by" in doubts(mask, (wrong,))[0]


def test_every_box_and_every_part_counts_for_the_overlap():
    some = ((0, 0, 10, 10), (20, 0, 30, 10))

    assert iou(some, some) == 1
    assert iou(some, some[:1]) == 0.5
    assert iou(some, ((40, 0, 50, 10),)) == 0
    # 100 of 100 + 200 - 100, the boxes themselves overlapping
    assert math.isclose(iou((*some, some[0]), ((0, 0, 10, 20),)), 100 / 300)


def test_the_share_of_grey_is_that_of_what_is_not_dark():
    levels = np.zeros((10, 10), np.uint8)
    levels[0], levels[1, :5] = 255, 128

    assert math.isclose(grey_share(levels), 5 / 15)
    assert grey_share(np.full((4, 4), 7, np.uint8)) == 0
