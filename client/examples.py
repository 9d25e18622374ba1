"""Pictures for the hospital's own page: small, with the nodule drawn into them."""

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from scipy import ndimage

from thyroid_fl.masks import read_mask
from thyroid_fl.picture_check import UNREADABLE, grey

HEIGHT_PX = 240
WIDTH_PX = 320
BOX_COLOUR = (230, 159, 0)
MASK_COLOUR = (86, 180, 233)
"""Of Okabe and Ito (2008), told apart by the colour-blind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A picture as the page shows it."""

    uri: str
    """JPEG as a data URI; it needs no other file."""
    width_px: int
    height_px: int
    line: int
    caption: str
    alt: str


def choose(cases: pd.DataFrame, n: int) -> list[int]:
    """Return the lines of up to n pictures, spread over hospitals, classes, patients.

    Each hospital and class gives its first patients in turn; the choice is the same
    whenever it is made.
    """
    first = cases.drop_duplicates(["hospital", "patient_id"])
    groups = first.groupby(["malignant", "hospital"], dropna=False).groups.values()
    turns = chain.from_iterable(zip_longest(*map(list, groups)))
    return list(islice((line for line in turns if line is not None), n))


def examples(cases: pd.DataFrame, folder: Path) -> list[Example]:
    """Return the pictures of these rows, drawn; those that cannot be read are left out.

    Args:
        cases: rows with all columns of a manifest, indexed by line.
        folder: where their paths start.
    """
    rows: Iterable[Any] = cases.reset_index(names="line").itertuples()
    with ThreadPoolExecutor() as pool:
        drawn = pool.map(lambda row: _example(row, folder), rows)
        return [example for example in drawn if example]


def _example(row: Any, folder: Path) -> Example | None:
    try:
        with Image.open(folder / row.image) as opened:
            picture = grey(opened)
    except UNREADABLE:
        return None
    scale = min(WIDTH_PX / picture.width, HEIGHT_PX / picture.height)
    size = [max(1, round(scale * side)) for side in picture.size]
    small = picture.resize(size).convert("RGB")
    shown = ["mask"] if _draw_mask(small, row.mask, folder) else []
    for box in row.boxes:
        within = [
            min(edge, side) for edge, side in zip(box, picture.size * 2, strict=True)
        ]
        _draw_box(small, [round(scale * edge) for edge in within])
    shown += ["box"] if row.boxes else []
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80, subsampling=0)  # lines are thin
    label = {0.0: "benign", 1.0: "malignant"}.get(row.malignant, "no pathology")
    return Example(
        uri="data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(),
        width_px=small.width,
        height_px=small.height,
        line=row.line,
        caption=f"{row.image_id}, {label}",
        alt=f"Picture {row.image_id}, {label}, "
        f"with {' and '.join(shown) or 'no mask or box'}",
    )


def _draw_box(small: Image.Image, box: list[int]) -> None:
    x0, y0, x1, y1 = box
    corners = (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1))
    ImageDraw.Draw(small).rectangle(corners, outline=BOX_COLOUR, width=2)


def _draw_mask(small: Image.Image, name: Any, folder: Path) -> bool:
    """Draw a mask's outline; return whether there is one that can be read."""
    if pd.isna(name):
        return False
    try:
        mask = Image.fromarray(read_mask(folder / name)).resize(small.size)
    except UNREADABLE:
        return False
    inside = np.asarray(mask)
    outline = inside & ~ndimage.binary_erosion(inside, iterations=2)
    small.paste(MASK_COLOUR, mask=Image.fromarray(outline))
    return True
