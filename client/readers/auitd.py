"""AUITD: thyroid ultrasound sorted into folders by label, of unknown patients.

As published: ``{train,test}/{benign,malignant,normal thyroid}/**.jpg``, the case of the
names and the depth of the folders differing between the sides.
"""

import re
from pathlib import Path

from thyroid_fl.client.readers.published import (
    Row,
    find_folders,
    own_patient,
    patients_unknown,
    pictures_in,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import, Note

LABELS = {"benign": "0", "malignant": "1", "normal thyroid": None}
COPY = re.compile(r"[\s_-]*copy.*", re.IGNORECASE)


def read(source: Path) -> Import:
    """Return the pictures of AUITD that lie in a folder.

    Raises:
        ManifestError: there is none.
    """
    rows: list[Row] = []
    copies: list[str] = []
    unsorted: list[str] = []
    for side in ("train", "test"):
        for folder in find_folders(source, side):
            images = pictures_in(folder)
            originals = {image.with_suffix("") for image in images}
            for image in images:
                kind = image.relative_to(folder).parts[0].strip().lower()
                name = relative(image.with_suffix(""), folder.parent)
                if _original(image) in originals:
                    copies.append(name)
                elif kind not in LABELS:
                    unsorted.append(name)
                else:
                    path = relative(image, source)
                    label = LABELS[kind]
                    rows.append(own_patient(name, path, malignant=label, split=side))
    table = rows_of(rows, source, "AUITD", "train/benign, train/malignant, ...")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(
                table, "malignant", "a normal thyroid has neither nodule nor label"
            ),
        ),
        left_out=(
            Note("a copy of the picture beside it", tuple(copies)),
            Note("in no folder of a label", tuple(unsorted)),
        ),
        is_published=True,
    )


def _original(image: Path) -> Path | None:
    """Return what "x - Copy (2).jpg" was copied from, x; None for other names."""
    name = COPY.sub("", image.stem)
    return image.with_name(name) if name not in ("", image.stem) else None
