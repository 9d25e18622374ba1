"""BUSI: breast ultrasound, benign, malignant and normal (Al-Dhabyani 2020).

As published: ``{benign,malignant,normal}/benign (1).png`` and its masks
``benign (1)_mask.png``, ``benign (1)_mask_1.png``, ...; also with the pictures in
``images`` and the masks in ``mask`` of each class, and without any mask.
"""

import re
from collections import defaultdict
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from thyroid_fl.client.readers.published import (
    Row,
    as_boxes,
    find_folders,
    of_files,
    own_patient,
    patients_unknown,
    pictures_in,
    relative,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.masks import read_mask
from thyroid_fl.picture_check import UNREADABLE

LABELS = {"benign": "0", "malignant": "1", "normal": None}
MASK = re.compile(r"(.*)_mask(_\d+)?")


def read(source: Path) -> Import:
    """Return the pictures of BUSI that lie in a folder.

    Raises:
        ManifestError: there is none.
    """
    rows: list[Row] = []
    drawn = {}
    united: list[Path] = []
    of_normal: list[Path] = []
    orphans: list[Path] = []
    for kind, label in LABELS.items():
        for folder in find_folders(source, kind):
            images, masks = _sorted_out(folder)
            for name, image in images.items():
                row = own_patient(
                    name,
                    relative(image, source),
                    mask=None,
                    boxes=None,
                    malignant=label,
                )
                rows.append(row)
                its_masks = masks.pop(name, [])
                if not label:
                    of_normal += its_masks
                elif its_masks:
                    row["mask"] = relative(its_masks[0], source)
                    if len(its_masks) > 1:
                        drawn[str(row["mask"])] = partial(_union, its_masks)
                        row["boxes"] = _boxes(its_masks)
                        united += its_masks
            orphans += chain.from_iterable(masks.values())
    table = rows_of(rows, source, "BUSI", "benign, malignant and normal")
    normal = table["malignant"].isna()
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            Note.of("a normal picture has neither nodule nor label", table[normal]),
            without(table[~normal], "mask", "there is no mask"),
            of_files("several masks of one picture, united", united, source),
        ),
        left_out=(
            of_files("a normal picture has no nodule to outline", of_normal, source),
            of_files("a mask without a picture", orphans, source),
        ),
        drawn=drawn,
        is_lenient=True,
    )


def _sorted_out(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]]]:
    """Return the pictures and the masks of one class, by the picture's name."""
    images: dict[str, Path] = {}
    masks: dict[str, list[Path]] = defaultdict(list)
    for path in pictures_in(folder):
        if named := MASK.fullmatch(path.stem):
            masks[named[1]].append(path)
        elif path.parent.name.lower() in ("mask", "masks"):
            masks[path.stem].append(path)
        else:
            images[path.stem] = path
    return images, masks


def _stack(paths: list[Path]) -> NDArray[np.bool_]:
    """Return the masks of one picture, (N, H, W); numpy refuses different sizes."""
    return np.stack([read_mask(path) for path in paths])


def _union(paths: list[Path]) -> Image.Image:
    return Image.fromarray(_stack(paths).any(axis=0))


def _boxes(paths: list[Path]) -> str | None:
    """Return a box for each mask: what touches in the union is apart here."""
    try:
        return as_boxes(_stack(paths))
    except UNREADABLE:
        return None  # the import leaves the masks out
