"""TN3K: thyroid nodules with masks, of unknown patients (Gong 2021).

As published: ``trainval-image/0000.jpg`` and ``test-image/0000.jpg``, their masks (JPEG
too) in ``trainval-mask`` and ``test-mask``; ``label4trainval.csv`` and
``label4test.csv`` where the labels were handed out. Names restart in the test set. The
published folds are not taken over: they were drawn by picture.
"""

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
from thyroid_fl.client.readers.result import Import

SIDES = {"trainval": "train", "test": "test"}


def read(source: Path) -> Import:
    """Return the pictures of TN3K that lie in a folder.

    Raises:
        ManifestError: there is none, or a list of labels cannot be read.
    """
    rows: list[Row] = []
    outlined: list[str] = []
    for side, split in SIDES.items():
        labels: dict[str, str] = {}
        for path in files_in(source, f"**/label4{side}.csv"):
            labels |= read_labels(path)
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
    gland = [
        picture
        for name in ("thyroid-image", "thyroid-mask")
        for folder in find_folders(source, name)
        for picture in pictures_in(folder)
    ]
    table = rows_of(rows, source, "TN3K", "trainval-image and test-image")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(table, "mask", "there is no mask"),
            without(table, "malignant", "there is no label"),
        ),
        left_out=(
            without_picture(outlined, table),
            of_files("TG3K outlines the gland, not a nodule", gland, source),
        ),
        is_published=True,
    )
