"""BreastMNIST: BUSI in small, with normal pictures among the benign (Yang 2023).

As published: ``breastmnist.npz`` (or ``_64``, ``_128``, ``_224``) with ``train_images``
(N, H, W) uint8, ``train_labels`` (N, 1), and the same of val and test. **Label 0 is
malignant**, 1 is normal or benign. There are no masks.
"""

import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from thyroid_fl.client.readers.published import (
    Row,
    files_in,
    own_patient,
    patients_unknown,
    rows_of,
)
from thyroid_fl.client.readers.result import Import
from thyroid_fl.columns import SPLITS
from thyroid_fl.errors import ManifestError

MALIGNANT = {0: "1", 1: "0"}
BROKEN = (
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy raises for a file that is broken or another one."""


def read(source: Path) -> Import:
    """Return the pictures of the BreastMNIST that lies in a folder.

    Raises:
        ManifestError: there is none, or more than one, or it looks different.
    """
    found = files_in(source, "breastmnist*.npz")
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ManifestError(f"{source}: expected one breastmnist*.npz; found {names}")
    rows: list[Row] = []
    drawn = {}
    for side, (images, labels) in _arrays(found[0]).items():
        for i, label in enumerate(labels):
            name = f"{side}-{i:04}"
            path, malignant = f"{name}.png", MALIGNANT.get(int(label))
            drawn[path] = partial(Image.fromarray, images[i])
            rows.append(own_patient(name, path, malignant=malignant, split=side))
    table = rows_of(rows, source, "BreastMNIST", "pictures in it")
    return Import(
        rows=table,
        table=found[0],
        mended=(patients_unknown(table),),
        drawn=drawn,
        is_lenient=True,
    )


def _arrays(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return images (N, H, W) and labels (N,) of each side."""
    try:
        # numpy leaves a broken file open.
        with path.open("rb") as opened, np.load(opened) as file:
            sides = {
                side: (file[f"{side}_images"], file[f"{side}_labels"].ravel())
                for side in SPLITS
            }
    except BROKEN as error:
        raise ManifestError(f"{path}: cannot read the pictures: {error}") from error
    for images, labels in sides.values():
        is_grey = images.ndim == 3 and images.dtype == np.uint8 and images.size > 0
        if not is_grey or labels.dtype != np.uint8 or len(images) != len(labels):
            raise ManifestError(
                f"{path}: {images.dtype} images of shape {images.shape} for "
                f"{len(labels)} {labels.dtype} labels; is this the file as published?"
            )
    return sides
