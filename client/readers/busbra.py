"""BUS-BRA: biopsy-proven breast ultrasound of four scanners (Gómez-Flores 2024).

As published: ``bus_data.csv``, ``5-fold-cv.csv``, ``Images/bus_NNNN-{l|r|s}.png`` and
``Masks/mask_NNNN-{l|r|s}.png``. One scanner is one hospital. BIRADS is no TI-RADS and
is not taken over.
"""

import json
from pathlib import Path

import pandas as pd
from PIL import Image

from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.columns import is_file
from thyroid_fl.errors import ManifestError
from thyroid_fl.manifest import read_table
from thyroid_fl.picture_check import UNREADABLE

N_FOLDS = 5


def read(source: Path) -> Import:
    """Return the pictures of BUS-BRA that lie in a folder.

    Raises:
        ManifestError: the published tables are missing or look different.
    """
    published = _table(
        source / "bus_data.csv",
        ["ID", "Case", "Pathology", "Device", "Width", "Height", "BBOX"],
    )
    rows = _rows(published)
    rows = rows.join(_official_folds(source), on="image_id")
    present = rows["image"].map(lambda path: is_file(source / str(path)))
    masked = rows["mask"].map(lambda path: is_file(source / str(path)))
    # Boxes come from the mask where there is one: BBOX spans all parts of a
    # nodule, and that of bus_0845-s is wrong.
    rows["boxes"] = published["BBOX"].map(_box, na_action="ignore").mask(masked)
    rows["mask"] = rows["mask"].where(masked)
    kept = rows[present]
    sizes = published.loc[present, ["Width", "Height"]].itertuples(index=False)
    resized = [
        _size_differs(source / path, *size)
        for path, size in zip(kept["image"], sizes, strict=True)
    ]
    return Import(
        rows=kept,
        table=source / "bus_data.csv",
        mended=(
            Note.of("Width or Height differs from the picture's", kept[resized]),
            Note.of("no mask; box taken from BBOX", rows[present & ~masked]),
        ),
        left_out=(Note.of("picture is not in Images", rows[~present]),),
        is_lenient=True,
    )


def _rows(published: pd.DataFrame) -> pd.DataFrame:
    # "GE Logiq 7 @10-14MHz": the probe's frequency is no part of the scanner's name.
    scanner = published["Device"].str.partition("@")[0].str.strip()
    number = published["ID"].str.removeprefix("bus_")
    return pd.DataFrame(
        {
            "image_id": published["ID"],
            "patient_id": published["Case"],
            "hospital": scanner,
            "image": "Images/bus_" + number + ".png",
            "mask": "Masks/mask_" + number + ".png",
            "malignant": published["Pathology"].replace(
                {"benign": "0", "malignant": "1"}
            ),
            "vendor": scanner.str.partition(" ")[0],
            "device": scanner,
        }
    )


def _official_folds(source: Path) -> pd.DataFrame:
    """Return split_1..split_5 by image: tested where kFold is k, else valid_k."""
    path = source / f"{N_FOLDS}-fold-cv.csv"
    in_training = [f"valid_{k}" for k in range(1, N_FOLDS + 1)]
    folds = _table(path, ["ID", "kFold", *in_training]).set_index("ID")
    twice = folds.index[folds.index.duplicated()]
    if len(twice):
        raise ManifestError(f"{path}: ID {twice[0]} has two lines; remove one")
    splits = {}
    for k in range(1, N_FOLDS + 1):
        train = folds[f"valid_{k}"].map({"1": "train", "0": "val"})
        splits[f"split_{k}"] = train.mask(folds["kFold"] == str(k), "test")
    return pd.DataFrame(splits)


def _table(path: Path, columns: list[str]) -> pd.DataFrame:
    table = read_table(path)
    missing = [name for name in columns if name not in table]
    if missing:
        raise ManifestError(
            f"{path}: no column {', '.join(missing)}; is this BUS-BRA as published?"
        )
    return table


def _box(text: str) -> str:
    """Return BBOX "[x,y,w,h]" as JSON boxes, or as it stands where it is malformed.

    MATLAB counts from 1, and the published w is the last pixel minus the first.

    >>> _box("[91,24,103,79]")
    '[[90, 23, 194, 103]]'
    """
    try:
        x, y, w, h = json.loads(text)
        return json.dumps([[x - 1, y - 1, x + w, y + h]])
    except (TypeError, ValueError):
        return text


def _size_differs(picture: Path, width: str, height: str) -> bool:
    try:
        with Image.open(picture) as opened:
            return (width, height) != tuple(map(str, opened.size))
    except UNREADABLE:
        return False  # the check of the pictures names it
