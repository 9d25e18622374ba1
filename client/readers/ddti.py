"""DDTI: thyroid ultrasound with outlines and TI-RADS of a reader (Pedraza 2015).

As published: ``N.xml`` for every case, and beside it its pictures ``N_k.jpg``. TI-RADS
is no pathology, so ``malignant`` stays empty. A case is an examination; who the
patients are is not published.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from thyroid_fl.client.readers.published import (
    TIRADS,
    Row,
    as_age,
    as_boxes,
    as_notes,
    files_in,
    patients_unknown,
    read_xml,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import
from thyroid_fl.picture_check import UNREADABLE

Mask = NDArray[np.bool_]
Outline = list[tuple[float, float]]

FEWEST_PX = 100
"""An outline around fewer pixels is a slip of the hand."""
SAME_NODULE = 0.5
"""Intersection over union above which two outlines show one nodule twice."""
FARTHEST_PX = 10_000
"""No point of an outline lies farther from the picture's corner."""


def read(source: Path) -> Import:
    """Return the pictures of DDTI that lie in a folder.

    Raises:
        ManifestError: there is none.
    """
    rows: list[Row] = []
    drawn = {}
    mended, left_out = defaultdict(list), defaultdict(list)
    for path in sorted(files_in(source, "**/*.xml"), key=_number):
        try:
            case = read_xml(path)
        except (OSError, ValueError):
            left_out["the XML of the case cannot be read"].append(path.stem)
            continue
        for mark in case.iter("mark"):
            if not _text(mark, "image").isdecimal():
                left_out["a mark names no picture"].append(path.stem)
                continue
            image = path.with_name(f"{path.stem}_{_text(mark, 'image')}.jpg")
            row = _row(case, path.stem, relative(image, source), image.stem)
            rows.append(row)
            outlines, problem = _outlines(_text(mark, "svg"))
            masks = _masks(image, outlines)
            if masks:
                row["boxes"] = as_boxes(masks)
                name = relative(image.with_suffix(".png"), source)
                row["mask"] = name
                drawn[name] = partial(_draw, image, outlines)
                for remark in _remarks(outlines, masks):
                    mended[remark].append(image.stem)
            else:
                mended[problem].append(image.stem)
    table = rows_of(rows, source, "DDTI", "N.xml beside N_1.jpg")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table, "case"),
            without(table, "malignant", "TI-RADS is a grade, no pathology; no label"),
            *as_notes(mended),
        ),
        left_out=as_notes(left_out),
        drawn=drawn,
        is_lenient=True,
    )


def _number(path: Path) -> tuple[str, int, str]:
    """Sort 2.xml before 10.xml."""
    return str(path.parent), int(path.stem) if path.stem.isdecimal() else 0, path.stem


def _row(case: ElementTree.Element, number: str, image: str, name: str) -> Row:
    sex, age, tirads = (_text(case, key) for key in ("sex", "age", "tirads"))
    return {
        "image_id": name,
        "patient_id": number,
        "image": image,
        "mask": None,
        "boxes": None,
        "malignant": None,
        "tirads": tirads if tirads in TIRADS else None,
        "sex": sex if sex in ("F", "M") else None,
        "age": as_age(age),
    }


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _outlines(svg: str) -> tuple[list[Outline], str]:
    """Return the points of every region, and why no nodule may be outlined.

    A text cut off at 2500 characters is not salvaged: half of
    a contour, or one nodule of two, would teach that the rest is no nodule.
    """
    nothing = "no nodule is outlined, which does not mean that there is none"
    if not svg:
        return [], nothing
    try:
        regions = [_points(region["points"]) for region in json.loads(svg)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return [], "the outlines are cut off or malformed; kept without"
    return regions, nothing


def _points(points: list[dict[str, float]]) -> Outline:
    outline = [(point["x"], point["y"]) for point in points]
    if not all(abs(edge) < FARTHEST_PX for point in outline for edge in point):
        raise ValueError("a point lies nowhere near the picture")
    return outline


def _masks(image: Path, outlines: list[Outline]) -> list[Mask]:
    """Return the mask (H, W) of each nodule, its part outside the picture cut off."""
    try:
        with Image.open(image) as opened:
            size = opened.size
    except UNREADABLE:
        return []  # the import leaves the picture out
    masks: list[Mask] = []
    for outline in filter(_is_closed, outlines):
        canvas = Image.new("1", size)
        ImageDraw.Draw(canvas).polygon(outline, fill=1)
        mask = np.asarray(canvas)
        if mask.sum() >= FEWEST_PX:
            masks = _added(masks, mask)
    return masks


def _is_closed(outline: Outline) -> bool:
    """Return whether it is an outline, not an arrow of two points."""
    return len(outline) > 2


def _remarks(outlines: list[Outline], masks: list[Mask]) -> Iterator[str]:
    closed = list(filter(_is_closed, outlines))
    height, width = masks[0].shape
    if len(closed) < len(outlines):
        yield "an arrow is ignored"
    if len(masks) < len(closed):
        yield "outlines of one nodule are united, those of a few pixels ignored"
    if not all(
        0 <= x <= width and 0 <= y <= height for outline in closed for x, y in outline
    ):
        yield "an outline is cut at the edge of the picture"


def _added(masks: list[Mask], mask: Mask) -> list[Mask]:
    """Return the masks and one more, united with those of the same nodule."""
    others = []
    for other in masks:
        if (other & mask).sum() > SAME_NODULE * (other | mask).sum():
            mask = mask | other
        else:
            others.append(other)
    return [*others, mask]


def _draw(image: Path, outlines: list[Outline]) -> Image.Image:
    return Image.fromarray(np.any(_masks(image, outlines), axis=0))
