"""AUITD: thyroid ultrasound sorted into folders by label, of unknown patients.

As published: ``{train,test}/{benign,malignant,normal thyroid}/**.jpg``, the case of the
names and the depth of the folders differing between the sides.
"""

import re
from pathlib import Path

from thyroid_fl.client.readers.published import (
    Row,
    find_folders,
    of_files,
    own_patient,
    patients_unknown,
    pictures_in,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import

LABELS = {"benign": "0", "malignant": "1", "normal thyroid": None}
COPY = re.compile(r"[\s_-]*copy.*", re.IGNORECASE)


def read(source: Path) -> Import:
    """Return the pictures of AUITD that lie in a folder.

    Raises:
        ManifestError: there is none.
    """
    rows: list[Row] = []
    copies: list[Path] = []
    for side in ("train", "test"):
        for folder in find_folders(source, side):
            images = pictures_in(folder)
            originals = {image.with_suffix("") for image in images}
            for image in images:
                kind = image.relative_to(folder).parts[0].strip().lower()
                if _original(image) in originals:
                    copies.append(image)
                elif kind in LABELS:
                    path = relative(image, source)
                    name = relative(image.with_suffix(""), folder.parent)
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
        left_out=(of_files("a copy of the picture beside it", copies, source),),
        is_lenient=True,
    )


def _original(image: Path) -> Path | None:
    """Return what "x - Copy (2).jpg" was copied from, x; None for other names."""
    name = COPY.sub("", image.stem)
    return image.with_name(name) if name not in ("", image.stem) else None
