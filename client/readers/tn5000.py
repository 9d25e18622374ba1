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
    LABELS,
    Row,
    find_folders,
    patients_unknown,
    pictures_in,
    read_names,
    read_xml,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.columns import SPLITS
from thyroid_fl.picture_check import UNREADABLE


def read(source: Path) -> Import:
    """Return the pictures of TN5000 that lie in a folder.

    Raises:
        ManifestError: there is none, or a list of the official split cannot be read.
    """
    rows: list[Row] = []
    unlisted: list[str] = []
    for folder in find_folders(source, "jpegimages"):
        sides = _sides(folder.with_name("ImageSets") / "Main")
        annotations = folder.with_name("Annotations")
        images = {image.stem: image for image in pictures_in(folder)}
        images |= {name: folder / f"{name}.jpg" for name in sides.keys() - images}
        unlisted += [name for name in images if sides and name not in sides]
        for name in sorted(images.keys() - set(unlisted)):
            row: Row = {
                "image_id": name,
                "patient_id": name,
                "image": relative(images[name], source),
                **_annotation(annotations / f"{name}.xml", images[name]),
            }
            rows.append(row | {"split": sides[name]} if sides else row)
    table = rows_of(rows, source, "TN5000", "JPEGImages beside Annotations")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(table, "malignant", "no annotation with a label can be read"),
            without(table, "boxes", "no annotation with a sound box can be read"),
        ),
        left_out=(Note("the picture is in no list of the split", tuple(unlisted)),),
        is_published=True,
    )


def _sides(folder: Path) -> dict[str, str]:
    """Return the official side of every picture; empty where no list is there."""
    sides: dict[str, str] = {}
    for side in SPLITS:
        path = folder / f"{side}.txt"
        if path.is_file():
            sides |= dict.fromkeys(read_names(path), side)
    return sides


def _annotation(path: Path, image: Path) -> Row:
    """Return the cells boxes and malignant; a picture is malignant if one nodule is."""
    try:
        objects = read_xml(path).findall("object")
        with Image.open(image) as opened:
            size = opened.size
    except UNREADABLE:
        return {"boxes": None, "malignant": None}
    names = [(nodule.findtext("name") or "").strip() for nodule in objects]
    boxes = [box for nodule in objects if (box := _box(nodule, size))]
    return {
        "boxes": json.dumps(boxes) if boxes else None,
        "malignant": max((name for name in names if name in LABELS), default=None),
    }


def _box(nodule: ElementTree.Element, size: tuple[int, int]) -> list[int] | None:
    """Return [x0, y0, x1, y1] within the picture of (width, height), if it is sound.

    Pascal VOC counts from 1, its last pixel included.
    """
    try:
        x0, y0, x1, y1 = (
            round(float(nodule.findtext(f"bndbox/{name}") or ""))
            for name in ("xmin", "ymin", "xmax", "ymax")
        )
    except (ValueError, OverflowError):
        return None
    x0, y0, x1, y1 = max(0, x0 - 1), max(0, y0 - 1), min(x1, size[0]), min(y1, size[1])
    return [x0, y0, x1, y1] if x0 < x1 and y0 < y1 else None
