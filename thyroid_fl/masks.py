"""Masks: how they are read, the boxes around them, and what is wrong with them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from thyroid_fl.columns import Box, Boxes

Levels = NDArray[np.uint8]
"""A mask as it is stored, in grey: (H, W)."""
SPECK = 0.01
"""A part of a mask below this share of its largest part is no nodule."""
MOST_GREY = 0.01
"""Largest share of the picture that may be neither dark nor bright, at any rate."""
INVERTED = 0.9
"""A mask that covers more of its picture than this may be upside down."""
LEAST_OVERLAP = 0.2
"""Smallest IoU of the boxes of a row with those of its mask: below, one is wrong."""


def read_levels(path: Path) -> Levels:
    """Return a mask's grey levels."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L"))


def nodule_of(levels: Levels) -> NDArray[np.bool_]:
    """Return the mask (H, W): true where the file is brighter than 127 of 255.

    A threshold in the middle forgives the noise of masks stored as JPEG.
    """
    return levels > 127


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return a mask (H, W), true on the nodule."""
    return nodule_of(read_levels(path))


def box_of_mask(mask: NDArray[np.bool_]) -> Box:
    """Return the box around all of a mask (H, W) that is not empty."""
    down, across = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1


def boxes_of_mask(mask: NDArray[np.bool_]) -> Boxes:
    """Return the box of every connected part of a mask (H, W), specks left out.

    Parts that touch at a corner are one.

    >>> boxes_of_mask(np.eye(3, dtype=bool))
    ((0, 0, 3, 3),)
    """
    if not mask.any():
        return ()
    left, top, right, bottom = box_of_mask(mask)  # a nodule is a small part to search
    inside = mask[top:bottom, left:right]
    parts, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    sizes_px = np.bincount(parts.ravel())[1:]
    return tuple(
        (left + across.start, top + down.start, left + across.stop, top + down.stop)
        for (down, across), size_px in zip(
            ndimage.find_objects(parts), sizes_px, strict=True
        )
        if size_px >= SPECK * sizes_px.max()
    )


def mask_problems(name: str, levels: Levels, size: tuple[int, int]) -> Iterator[str]:
    """Yield why a mask cannot serve a picture of (width, height)."""
    height, width = levels.shape
    if (width, height) != size:
        yield (
            f"mask {name!r} has {width} x {height} pixels, but its picture "
            f"{size[0]} x {size[1]}; export the mask in the picture's size"
        )
    elif not nodule_of(levels).any():
        yield (
            f"mask {name!r} has no pixel above 127 of 255; draw the nodule in white, "
            "or leave the cell empty"
        )
    elif (share := grey_share(levels)) > 0.5:
        yield (
            f"mask {name!r} is not black and white: {share:.0%} of what is not dark is "
            "grey, as in a picture or a map of probabilities; export the nodule in "
            "white on black"
        )


def mask_doubts(name: str, mask: NDArray[np.bool_], boxes: Boxes) -> Iterator[str]:
    """Yield what looks wrong in a sound mask (H, W), given the boxes of its row."""
    share = float(mask.mean())
    overlap = iou(boxes, boxes_of_mask(mask)) if boxes else 1.0
    black_fits = overlap < 0.5 and iou(boxes, boxes_of_mask(~mask)) > 0.5
    if share > INVERTED or black_fits:
        yield (
            f"mask {name!r} covers {share:.0%} of the picture; if black is the nodule, "
            "invert it"
        )
    elif overlap < LEAST_OVERLAP:
        yield (
            f"boxes and mask {name!r} overlap by {overlap:.0%} only (IoU); boxes are "
            "[x0, y0, x1, y1], not width and height: look which of them is wrong"
        )


def grey_share(levels: Levels) -> float:
    """Return which share of what is not dark is grey; 0 where grey is rare.

    Dark and bright are the lowest and highest quarter of the levels that occur. A JPEG
    of quality 10 reaches 0.1 and a mask enlarged 8 times about 0.25 (at its outline),
    pictures and smooth maps of probabilities more than a half.

    >>> grey_share(np.array([[0, 0, 255, 255]], np.uint8))
    0.0
    >>> grey_share(np.array([[0, 100, 100, 255]], np.uint8))
    0.6666666666666666
    """
    darkest, brightest = int(levels.min()), int(levels.max())
    quarter = (brightest - darkest) / 4
    n_bright = np.count_nonzero(levels >= brightest - quarter)
    n_grey = np.count_nonzero(levels > darkest + quarter) - n_bright
    if quarter == 0 or n_grey <= MOST_GREY * levels.size:
        return 0.0
    return float(n_grey / (n_grey + n_bright))


def iou(some: Boxes, others: Boxes) -> float:
    """Return the intersection over union of the areas that boxes cover.

    >>> iou(((0, 0, 4, 4),), ((0, 0, 2, 4), (0, 0, 2, 2)))
    0.5
    """
    width, height = np.max([box[2:] for box in (*some, *others)], axis=0)
    areas = np.zeros((2, height, width), bool)
    for area, boxes in zip(areas, (some, others), strict=True):
        for x0, y0, x1, y1 in boxes:
            area[y0:y1, x0:x1] = True
    union = np.count_nonzero(areas.any(axis=0))
    return float(np.count_nonzero(areas.all(axis=0)) / union)
