"""The picture-level check of a manifest: every file is opened once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from thyroid_fl.columns import LINE, Boxes, is_file
from thyroid_fl.faults import Fault
from thyroid_fl.leaks import THUMBNAIL_PX, Thumbnails, thumbnail
from thyroid_fl.lettering import has_lettering
from thyroid_fl.masks import (
    boxes_of_mask,
    mask_doubts,
    mask_problems,
    nodule_of,
    read_levels,
)

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    Image.DecompressionBombError,
    RuntimeError,  # a damaged AVIF or DDS
    TypeError,  # a damaged TIFF
)
"""What Pillow raises for a file that is broken, cut off or no picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What N pictures and their masks show."""

    faults: list[Fault]
    warnings: list[Fault]
    """What looks wrong and may be right."""
    thumbnails: Thumbnails
    """(N, 64, 64), black where the picture cannot be read."""
    sizes_px: NDArray[np.int64]
    """(N, 2): width and height, 0 where the picture cannot be read."""
    boxes: list[Boxes]
    """Those of the row, if they fit the picture; where it has none, of its mask."""


def inspect_pictures(
    cases: pd.DataFrame,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Open every picture and mask; return what they show, with their faults.

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
    warnings: list[Fault] = []
    thumbnails = np.zeros((len(cases), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    sizes_px = np.zeros((len(cases), 2), np.int64)
    boxes: list[Boxes] = []
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter's lock
        found = pool.map(lambda row: _inspect(row, folder), rows)
        for i, (line, seen) in enumerate(zip(lines, found, strict=True)):
            sizes_px[i] = seen.size
            if seen.thumbnail is not None:
                thumbnails[i] = seen.thumbnail
            boxes.append(seen.boxes)
            faults += [Fault(int(line), *problem) for problem in seen.problems]
            warnings += [Fault(int(line), *doubt) for doubt in seen.doubts]
            if progress:
                progress(i + 1, len(cases))
    return Inspection(
        faults=faults,
        warnings=warnings,
        thumbnails=thumbnails,
        sizes_px=sizes_px,
        boxes=boxes,
    )


def grey(picture: Image.Image) -> Image.Image:
    """Return the picture in 8-bit grey.

    Raises:
        ValueError: it has more than 8 bits a channel: Pillow would cut them off, and
            how they were meant to be shown is not known.
    """
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"mode {picture.mode}: expected 8 bits a channel")
    return picture.convert("L")


def box_problems(boxes: Boxes, size: tuple[int, int]) -> Iterator[str]:
    """Yield a message for each box outside a picture of (width, height)."""
    width, height = size
    for box in boxes:
        if box[2] > width or box[3] > height:
            yield (
                f"box {list(box)} reaches outside the picture of {width} x {height} "
                "pixels; boxes are [x0, y0, x1, y1], 0-based, x1 and y1 not included"
            )


@dataclass(slots=True)
class _Seen:
    """What one row's files show; problems and doubts are (column, message)."""

    size: tuple[int, int] = (0, 0)
    thumbnail: Thumbnails | None = None
    boxes: Boxes = ()
    problems: list[tuple[str, str]] = field(default_factory=list)
    doubts: list[tuple[str, str]] = field(default_factory=list)


def _inspect(row: Any, folder: Path) -> _Seen:
    seen = _Seen()
    if pd.isna(row.image) or not is_file(folder / row.image):
        return seen
    try:
        _verify(folder / row.image)
        with Image.open(folder / row.image) as opened:
            n_frames = getattr(opened, "n_frames", 1)
            picture = grey(opened)
    except UNREADABLE as error:
        text = f"picture {row.image!r} cannot be read ({error}); export it again"
        seen.problems.append(("image", text))
        return seen
    seen.size, seen.thumbnail = picture.size, thumbnail(picture)
    seen.problems += [("boxes", text) for text in box_problems(row.boxes, seen.size)]
    if not seen.problems:
        seen.boxes = row.boxes
    seen.doubts += [("image", text) for text in _picture_doubts(picture, n_frames)]
    if pd.notna(row.mask) and is_file(folder / row.mask):
        _inspect_mask(row.mask, folder, seen)
    return seen


def _verify(path: Path) -> None:
    """Check the sums of a PNG, which decoding does not: damage may decode to noise."""
    with Image.open(path) as opened:
        if opened.format == "PNG":
            opened.verify()


def _picture_doubts(picture: Image.Image, n_frames: int) -> Iterator[str]:
    darkest, brightest = picture.getextrema()
    if darkest == brightest:
        yield "the picture is empty: all its pixels are alike; export it again"
    if n_frames > 1:
        yield (
            "the file holds several pictures, and only the first is read; export each "
            "as a file of its own"
        )
    if has_lettering(picture):
        yield (
            "the picture seems to hold burnt-in text, a guess from the shape of "
            "letters; a name or a date identifies the patient, and a grade gives the "
            "label away: look, and crop it or paint it over"
        )


def _inspect_mask(name: str, folder: Path, seen: _Seen) -> None:
    try:
        _verify(folder / name)
        levels = read_levels(folder / name)
    except UNREADABLE as error:
        text = f"mask {name!r} cannot be read ({error}); export it again"
        seen.problems.append(("mask", text))
        return
    problems = [("mask", text) for text in mask_problems(name, levels, seen.size)]
    seen.problems += problems
    if problems:
        return
    mask = nodule_of(levels)
    seen.doubts += [("mask", text) for text in mask_doubts(name, mask, seen.boxes)]
    seen.boxes = seen.boxes or boxes_of_mask(mask)
