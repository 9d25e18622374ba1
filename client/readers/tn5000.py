"""TN5000: thyroid nodules with boxes and pathology, of unknown patients.

As published, in the layout of Pascal VOC: ``JPEGImages/000001.jpg``,
``Annotations/000001.xml`` and ``ImageSets/Main/{train,val,test}.txt``. The name of an
object is its pathology: "0" benign, "1" malignant.
"""

import json
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from thyroid_fl.client.readers.published import (
    Row,
    files_in,
    find_folders,
    of_files,
    own_patient,
    patients_unknown,
    pictures_in,
    read_names,
    read_xml,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.columns import SPLITS, Box
from thyroid_fl.picture_check import UNREADABLE


def read(source: Path) -> Import:
    """Return the pictures of TN5000 that lie in a folder.

    Raises:
        ManifestError: there is none, or a list of the official split cannot be read.
    """
    rows: list[Row] = []
    cut: list[str] = []
    unlisted: list[Path] = []
    orphans: list[Path] = []
    for folder in find_folders(source, "jpegimages"):
        sides = _sides(folder.with_name("ImageSets") / "Main")
        annotations = folder.with_name("Annotations")
        images = {image.stem: image for image in pictures_in(folder)}
        images |= {name: folder / f"{name}.jpg" for name in sides.keys() - images}
        orphans += [
            path for path in files_in(annotations, "*.xml") if path.stem not in images
        ]
        if sides:
            unlisted += [images.pop(name) for name in sorted(images.keys() - sides)]
        for name in sorted(images):
            cells, is_cut = _annotation(annotations / f"{name}.xml", images[name])
            row = own_patient(name, relative(images[name], source), **cells)
            cut += [name] * is_cut
            rows.append(row | {"split": sides[name]} if sides else row)
    table = rows_of(rows, source, "TN5000", "JPEGImages beside Annotations")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(table, "malignant", "no annotation with a label can be read"),
            Note("a box is cut at the edge of the picture", tuple(cut)),
            without(table, "boxes", "no annotation with sound boxes can be read"),
        ),
        left_out=(
            of_files("the picture is in no list of the split", unlisted, source),
            of_files("an annotation without a picture", orphans, source),
        ),
        is_lenient=True,
    )


def _sides(folder: Path) -> dict[str, str]:
    """Return the official side of every picture; empty where no list is there."""
    sides: dict[str, str] = {}
    for side in SPLITS:
        path = folder / f"{side}.txt"
        if path.is_file():
            sides |= dict.fromkeys(read_names(path), side)
    return sides


def _annotation(path: Path, image: Path) -> tuple[Row, bool]:
    """Return the cells boxes and malignant, and whether a box was cut.

    A picture is malignant if one nodule is. Boxes are all or none: one nodule of two
    would teach that the other is none.
    """
    try:
        objects = read_xml(path).findall("object")
        with Image.open(image) as opened:
            size = opened.size
    except UNREADABLE:
        return {"boxes": None, "malignant": None}, False
    names = {(nodule.findtext("name") or "").strip() for nodule in objects}
    published = [_box(nodule) for nodule in objects]
    boxes = [_within(box, size) for box in published]
    is_sound = bool(boxes) and all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in boxes)
    return {
        "boxes": json.dumps(boxes) if is_sound else None,
        "malignant": "1" if "1" in names else "0" if names == {"0"} else None,
    }, is_sound and boxes != published


def _box(nodule: ElementTree.Element) -> Box:
    """Return x0, y0, x1, y1; all 0 if they cannot be read.

    Pascal VOC counts from 1, its last pixel included.
    """
    try:
        x0, y0, x1, y1 = (
            round(float(nodule.findtext(f"bndbox/{name}") or ""))
            for name in ("xmin", "ymin", "xmax", "ymax")
        )
    except (ValueError, OverflowError):
        return 0, 0, 0, 0
    return x0 - 1, y0 - 1, x1, y1


def _within(box: Box, size: tuple[int, int]) -> Box:
    """Return the part of a box within a picture of (width, height)."""
    x0, y0, x1, y1 = box
    return max(0, x0), max(0, y0), min(x1, size[0]), min(y1, size[1])
