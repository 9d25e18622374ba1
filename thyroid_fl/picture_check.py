"""The picture-level check of a manifest: every file is opened once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from thyroid_fl.columns import LINE, Box, Boxes, is_file
from thyroid_fl.faults import Fault
from thyroid_fl.leaks import THUMBNAIL_PX, Thumbnails, thumbnail

UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is broken or no picture."""
SPECK = 0.01
"""A part of a mask below this share of its largest part is no nodule."""


class Inspection(NamedTuple):
    """What the pictures show.

    `thumbnails` is (N, 64, 64) uint8, black where the picture cannot be read.
    """

    faults: list[Fault]
    thumbnails: Thumbnails


def inspect_pictures(
    cases: pd.DataFrame,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Open every picture and mask; return their faults and thumbnails.

    Files that do not exist are skipped: `manifest_faults` names them.

    Args:
        cases: rows in the dtypes of `read_manifest`, one for each line of the file
            from line 2, or indexed by line.
        folder: where their paths start.
        progress: called with pictures done and all.
    """
    lines = cases.index if cases.index.name == LINE else range(2, len(cases) + 2)
    rows = cases[["image", "mask", "boxes"]].itertuples(index=False)
    faults: list[Fault] = []
    thumbnails = np.zeros((len(cases), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        found = pool.map(lambda row: _inspect(row, folder), rows)
        for i, (line, (small, problems)) in enumerate(zip(lines, found, strict=True)):
            thumbnails[i] = small
            faults += [Fault(int(line), name, text) for name, text in problems]
            if progress:
                progress(i + 1, len(cases))
    return Inspection(faults, thumbnails)


def grey(picture: Image.Image) -> Image.Image:
    """Return the picture in 8-bit grey.

    Raises:
        ValueError: it has more than 8 bits a channel: Pillow would cut them off, and
            how they were meant to be shown is not known.
    """
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"mode {picture.mode}: expected 8 bits a channel")
    return picture.convert("L")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Return a mask (H, W); true where the file is brighter than 127 of 255.

    A threshold in the middle forgives the noise of masks stored as JPEG.
    """
    with Image.open(path) as opened:
        return np.asarray(opened.convert("L")) > 127


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
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes_px = np.bincount(parts.ravel())[1:]
    return tuple(
        (across.start, down.start, across.stop, down.stop)
        for (down, across), size_px in zip(
            ndimage.find_objects(parts), sizes_px, strict=True
        )
        if size_px >= SPECK * sizes_px.max()
    )


def box_problems(boxes: Boxes, size: tuple[int, int]) -> Iterator[str]:
    """Yield a message for each box outside a picture of (width, height)."""
    width, height = size
    for box in boxes:
        if box[2] > width or box[3] > height:
            yield (
                f"box {list(box)} reaches outside the picture of {width} x {height} "
                "pixels; boxes are [x0, y0, x1, y1], 0-based, x1 and y1 not included"
            )


def _inspect(row: Any, folder: Path) -> tuple[Thumbnails, list[tuple[str, str]]]:
    """Return the picture's thumbnail, and (column, message) for each fault."""
    blank = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    if pd.isna(row.image) or not is_file(folder / row.image):
        return blank, []
    try:
        with Image.open(folder / row.image) as picture:
            size, small = picture.size, thumbnail(grey(picture))
    except UNREADABLE as error:
        text = f"picture {row.image!r} cannot be read ({error}); export it again"
        return blank, [("image", text)]
    problems = [("boxes", text) for text in box_problems(row.boxes, size)]
    if pd.notna(row.mask) and is_file(folder / row.mask):
        problems += [("mask", text) for text in _mask_problems(row.mask, folder, size)]
    return small, problems


def _mask_problems(name: str, folder: Path, size: tuple[int, int]) -> Iterator[str]:
    try:
        mask = read_mask(folder / name)
    except UNREADABLE as error:
        yield f"mask {name!r} cannot be read ({error}); export it again"
        return
    height, width = mask.shape
    if (width, height) != size:
        yield (
            f"mask {name!r} has {width} x {height} pixels, but its picture "
            f"{size[0]} x {size[1]}; export the mask in the picture's size"
        )
    elif not mask.any():
        yield (
            f"mask {name!r} has no pixel above 127 of 255; draw the nodule in white, "
            "or leave the cell empty"
        )
