"""Dice, IoU and the distance of outlines, by hand and against brute force."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import dice, hausdorff95, iou

Mask = npt.NDArray[np.bool_]


def square(top: int, left: int, side: int, *, size: int = 20) -> Mask:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def slow_hausdorff95(first: Mask, second: Mask) -> float:
    """All distances between the pixels that an erosion takes away."""
    edges = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask)) for mask in (first, second)
    ]
    distances = cdist(*edges)
    directed = [np.percentile(distances.min(axis=axis), 95) for axis in (0, 1)]
    return float(max(directed))


def test_dice_and_iou_by_hand() -> None:
    # 4 x 4 and 4 x 4, shifted by two columns: 8 of 16 pixels shared, 24 covered.
    first, second = square(3, 3, 4), square(3, 5, 4)

    assert dice(first, second) == 16 / 32
    assert iou(first, second) == 8 / 24


def test_iou_follows_from_dice() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 30, 40)) < 0.4

    d = dice(first, second)

    assert iou(first, second) == pytest.approx(d / (2 - d))


def test_empty_masks() -> None:
    none, some = square(0, 0, 0), square(2, 2, 3)

    assert all(math.isnan(each(none, none)) for each in (dice, iou, hausdorff95))
    assert (dice(none, some), iou(some, none)) == (0, 0)
    assert math.isnan(hausdorff95(none, some))
    assert math.isnan(hausdorff95(some, none))


def test_equal_masks_agree_wholly() -> None:
    mask = square(2, 3, 6)

    assert (dice(mask, mask), iou(mask, mask), hausdorff95(mask, mask)) == (1, 1, 0)


def test_hausdorff_by_hand() -> None:
    # Single pixels 3 rows and 4 columns apart.
    first, second = square(2, 2, 1), square(5, 6, 1)

    assert hausdorff95(first, second) == 5
    assert hausdorff95(first, second, pixel_mm=0.1) == pytest.approx(0.5)
    assert math.isnan(hausdorff95(first, second, pixel_mm=math.nan))


def test_hausdorff_forgives_a_twentieth_of_the_outline() -> None:
    line = np.zeros((50, 200), dtype=bool)
    line[10, :100] = True
    stray = line.copy()
    stray[40, 0] = True  # 1 of 101 pixels

    assert hausdorff95(stray, line) == 0
    stray[40, :10] = True  # 10 of 110
    assert hausdorff95(stray, line) == 30


def test_hausdorff_is_that_of_all_distances() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        noise = ndimage.gaussian_filter(rng.normal(size=(2, 40, 50)), (0, 4, 4))
        first, second = noise > rng.uniform(-0.05, 0.05)  # some reach the border

        found = hausdorff95(first, second)

        assert found == pytest.approx(slow_hausdorff95(first, second))
        assert found == hausdorff95(second, first)


def test_masks_that_do_not_fit_are_refused() -> None:
    mask = square(0, 0, 2)

    with pytest.raises(ThyroidFLError, match="height and width"):
        dice(mask, mask[:5])
    with pytest.raises(ThyroidFLError, match="expected bool"):
        iou(mask, mask.astype(np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ThyroidFLError, match="pixel_mm is 0"):
        hausdorff95(mask, mask, pixel_mm=0)
