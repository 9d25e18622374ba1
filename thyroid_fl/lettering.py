"""Text burnt into a picture: a guess from the shape of letters, no reading.

A letter is a bright spot as high as a letter that stands out from what is around it;
text is a letter with another one of its height on the same line at either side. Names
and dates identify a patient, and a written grade gives the label away.

The limits were chosen on pictures of BUS-BRA; `benchmarks/lettering.py` prints what
they find on others. Missed are words of two letters, letters that touch one another or
bright tissue, script, text that is turned, and dark text on a bright ground.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Boxes = NDArray[np.int64]
"""(N, 4): top, bottom, left, right in pixels, half-open."""

LARGEST_PX = 1200
"""A larger picture is halved, or more, before letters are looked for."""
INKS = (128, 178, 230)
"""Levels of 255 above which spots are looked for: letters are grey to white."""
LEAST_HEIGHT_PX = 5
MOST_HEIGHT = 0.07
"""Of the picture's height; 12 pixels are always allowed."""
FILLS = (0.15, 0.92)
"""Share of its box that a letter fills; a thin stroke, as of an I, may fill it."""
MOST_GROUND = 0.7
"""Mean level around a letter, as a share of the letter's."""
MOST_LETTERS = 2000
"""More spots than these are speckle."""
LEAST_IN_ROWS = 0.01
"""Share of the spots that must have neighbours: below, they stand so by chance."""


def has_lettering(picture: Image.Image) -> bool:
    """Return whether a picture in 8-bit grey seems to hold burnt-in text."""
    factor = -(-max(picture.size) // LARGEST_PX)
    levels = np.asarray(picture.reduce(factor) if factor > 1 else picture)
    return any(_has_row(*_letters(levels, ink)) for ink in INKS)


def _letters(levels: NDArray[np.uint8], ink: int) -> tuple[Boxes, NDArray[np.bool_]]:
    """Return the boxes of spots like letters, and which of them are mere strokes."""
    is_bright = levels >= ink
    spots, n = ndimage.label(is_bright, structure=np.ones((3, 3)))
    boxes = np.array(
        [
            (down.start, down.stop, across.start, across.stop)
            for down, across in ndimage.find_objects(spots)
        ],
        np.int64,
    ).reshape(-1, 4)
    top, bottom, left, right = boxes.T
    height, width = bottom - top, right - left
    most = max(12, MOST_HEIGHT * len(levels))
    fits = (height >= LEAST_HEIGHT_PX) & (height <= most) & (width <= 1.6 * height)
    if not 3 <= np.count_nonzero(fits) <= MOST_LETTERS:
        return boxes[:0], np.zeros(0, bool)
    inked = np.flatnonzero(is_bright)
    spot = spots.ravel()[inked]
    area = np.bincount(spot, minlength=n + 1)[1:]
    light = np.bincount(spot, levels.ravel()[inked], minlength=n + 1)[1:]
    fill, is_thin = area / (height * width), width <= 0.35 * height
    is_stroke = fill > FILLS[1]
    fits &= (fill >= FILLS[0]) & (~is_stroke | is_thin)
    letters = np.flatnonzero(fits)
    ground = _ground(levels, boxes[letters], area[letters], light[letters])
    letters = letters[ground <= MOST_GROUND * light[letters] / area[letters]]
    return boxes[letters], is_stroke[letters]


def _ground(levels: NDArray[np.uint8], boxes: Boxes, area: Any, light: Any) -> Any:
    """Return the mean level around letters: in their boxes, 2 pixels wider, (N,)."""
    windows = [
        levels[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2]
        for top, bottom, left, right in boxes
    ]
    total = np.array([window.sum() for window in windows], np.float64)
    around_px = np.array([window.size for window in windows]) - area
    return (total - light) / np.maximum(around_px, 1)


def _has_row(letters: Boxes, is_stroke: NDArray[np.bool_]) -> bool:
    """Return whether letters, no mere strokes, have like ones at either side.

    A ruler is a row of strokes.
    """
    if len(letters) < 3:
        return False
    top, bottom, left, right = letters.T
    height = bottom - top
    gap = left - right[:, None]  # (N, N): from the end of one to the start of another
    follows = (gap >= -1) & (gap <= height)
    follows &= np.abs(bottom[:, None] - bottom) <= 1
    follows &= np.abs(height[:, None] - height) <= 1 + 0.1 * height
    np.fill_diagonal(follows, False)
    is_within = follows.any(axis=0) & follows.any(axis=1) & ~is_stroke
    return bool(np.count_nonzero(is_within) > LEAST_IN_ROWS * len(letters))
