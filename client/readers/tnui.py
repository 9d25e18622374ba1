"""TNUI-2021: thyroid nodules with masks and labels, of unknown patients.

As published: ``{train,val,test}/images/ID.png``, ``{train,val,test}/masks/ID.png`` and
``{train,val,test}_img_labels.csv`` with the header ``ID,Labels``.
"""

from pathlib import Path

from thyroid_fl.client.readers.published import (
    Row,
    find_folders,
    own_patient,
    paths_by_stem,
    patients_unknown,
    read_labels,
    relative,
    rows_of,
    without,
    without_picture,
)
from thyroid_fl.client.readers.result import Import
from thyroid_fl.columns import SPLITS


def read(source: Path) -> Import:
    """Return the pictures of TNUI-2021 that lie in a folder.

    Raises:
        ManifestError: there is none, or a list of labels cannot be read.
    """
    rows: list[Row] = []
    masks: list[str] = []
    for side in SPLITS:
        for folder in find_folders(source, side):
            rows += _rows(folder, source)
            masks += paths_by_stem(folder / "masks", source).values()
    table = rows_of(rows, source, "TNUI-2021", "train/images, val/images, test/images")
    return Import(
        rows=table,
        table=source,
        mended=(
            patients_unknown(table),
            without(table, "mask", "there is no mask"),
            without(table, "malignant", "there is no label"),
        ),
        left_out=(without_picture(masks, table),),
        is_lenient=True,
    )


def _rows(folder: Path, source: Path) -> list[Row]:
    """Return a row for every picture of one side, and for every label."""
    path = folder.with_name(f"{folder.name}_img_labels.csv")
    labels = read_labels(path) if path.exists() else {}
    images = paths_by_stem(folder / "images", source)
    masks = paths_by_stem(folder / "masks", source)
    images |= {
        name: relative(folder / "images" / f"{name}.png", source)
        for name in labels.keys() - images
    }
    return [
        own_patient(
            f"{folder.name}-{name}",
            image,
            mask=masks.get(name),
            malignant=labels.get(name),
            split=folder.name,
        )
        for name, image in sorted(images.items())
    ]
