"""TN3K: thyroid nodules with masks, of unknown patients (Gong 2021).

As published: ``trainval-image/0000.jpg`` and ``test-image/0000.jpg``, their masks (JPEG
too) in ``trainval-mask`` and ``test-mask``; ``label4trainval.csv`` and
``label4test.csv`` where the labels were handed out. Names restart in the test set.
``tn3k-trainval-fold0.json`` to ``4`` divide the pictures of trainval by number; they
were drawn by picture, not by patient.
"""

import json
from pathlib import Path

from thyroid_fl.client.readers.published import (
    Row,
    files_in,
    find_folders,
    of_files,
    own_patient,
    paths_by_stem,
    patients_unknown,
    pictures_in,
    read_labels,
    relative,
    rows_of,
    without,
    without_picture,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.errors import ManifestError

N_FOLDS = 5
SIDES = {"trainval": "train", "test": "test"}


def read(source: Path) -> Import:
    """Return the pictures of TN3K that lie in a folder.

    Raises:
        ManifestError: there is none, or a list of labels or a fold cannot be read.
    """
    rows: list[Row] = []
    outlined: list[str] = []
    listed: set[str] = set()
    for side, split in SIDES.items():
        labels: dict[str, str] = {}
        for path in files_in(source, f"**/label4{side}.csv"):
            labels |= read_labels(path)
        listed |= {f"{side}-{name}" for name in labels}
        for folder in find_folders(source, f"{side}-image"):
            masks = paths_by_stem(folder.with_name(f"{side}-mask"), source)
            for image in pictures_in(folder):
                rows.append(
                    own_patient(
                        f"{side}-{image.stem}",
                        relative(image, source),
                        mask=masks.get(image.stem),
                        malignant=labels.get(image.stem),
                        split=split,
                    )
                )
            outlined += masks.values()
    table = rows_of(rows, source, "TN3K", "trainval-image and test-image")
    folds = _folds(source)
    table = table.assign(**{k: table["image_id"].map(folds[k]) for k in folds})
    is_in_all = table[list(folds)].notna().all(axis=1) | (table["split"] != "train")
    absent = listed.union(*folds.values()) - set(table["image_id"])
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(table, "mask", "there is no mask"),
            without(table, "malignant", "there is no label"),
            Note.of(
                "a fold does not list it; it is on no side there", table[~is_in_all]
            ),
        ),
        left_out=(
            Note("a list names it, but it is not there", tuple(sorted(absent))),
            without_picture(outlined, table),
            of_files("TG3K outlines the gland, not a nodule", _gland(source), source),
        ),
        is_lenient=True,
    )


def _gland(source: Path) -> list[Path]:
    """Return the pictures and masks of TG3K, which comes with TN3K."""
    names = ("thyroid-image", "thyroid-mask")
    folders = [folder for name in names for folder in find_folders(source, name)]
    return [path for folder in folders for path in pictures_in(folder)]


def _folds(source: Path) -> dict[str, dict[str, str]]:
    """Return split_1..split_5, as far as they are there: the side by image_id.

    The official test set is on no side, for it is the same in all of them: folds that
    were tested on the same pictures would look like independent ones.

    Raises:
        ManifestError: a fold cannot be read.
    """
    folds: dict[str, dict[str, str]] = {}
    for k in range(N_FOLDS):
        for path in files_in(source, f"**/tn3k-trainval-fold{k}.json"):
            sides = folds.setdefault(f"split_{k + 1}", {})
            try:
                lists = json.loads(path.read_text(encoding="utf-8-sig"))
                # val comes last: what stands in both lists is held out.
                for side in ("train", "val"):
                    # Numbers are places in the sorted list, from 0; so are the names.
                    sides |= {f"trainval-{n:04d}": side for n in lists[side]}
            except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
                raise ManifestError(f"{path}: cannot read the fold: {error}") from error
    return folds
