"""Stanford AIMI: ultrasound cine clips of biopsied thyroid nodules (Yamashita 2022).

As published: ``dataset.hdf5`` with the frames, ``image`` and ``mask`` (N, H, W) uint8,
``annot_id`` (b"12_": the nodule) and ``frame_num``, and ``metadata.csv``, one line a
nodule. Patients are not published. The ACR TI-RADS level is not taken over: it is
another scale than the manifest's.
"""

from functools import partial
from pathlib import Path
from typing import Any

import h5py
from PIL import Image

from thyroid_fl.client.readers.published import (
    LABELS,
    Row,
    as_age,
    patients_unknown,
    read_cells,
    rows_of,
    without,
)
from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.errors import ManifestError

PIXELS = ("image", "mask")
BROKEN = (
    AttributeError,
    KeyError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What h5py raises for a file that is broken or another one."""


def read(source: Path) -> Import:
    """Return the frames of the clips that lie in a folder.

    Raises:
        ManifestError: one of the two files is missing or looks different.
    """
    path = source / "dataset.hdf5"
    nodules = _nodules(source / "metadata.csv")
    rows: list[Row] = []
    drawn = {}
    for i, (nodule, frame) in enumerate(_frames(path)):
        image, mask = f"image/{i:05}.png", f"mask/{i:05}.png"
        drawn[image] = partial(_frame, path, "image", i)
        drawn[mask] = partial(_frame, path, "mask", i)
        rows.append(
            {
                "image_id": f"{nodule}-{i:05}",
                "patient_id": nodule,
                "nodule_id": nodule,
                "frame": frame if frame.isdecimal() else None,
                "image": image,
                "mask": mask,
                "malignant": None,
                **nodules.get(nodule, {}),
            }
        )
    table = rows_of(rows, source, "Stanford", "frames in dataset.hdf5")
    frameless = sorted(nodules.keys() - set(table["nodule_id"]))
    return Import(
        rows=table,
        table=path,
        mended=(
            patients_unknown(table, "nodule"),
            without(table, "malignant", "metadata.csv has no diagnosis"),
        ),
        left_out=(
            Note("metadata.csv names it, but no frame", tuple(frameless), "nodule"),
        ),
        drawn=drawn,
        is_lenient=True,
    )


def _nodules(path: Path) -> dict[str, Row]:
    """Return the cells of the manifest that a nodule's line fills, by its name."""
    header, *lines = read_cells(path) or [[]]
    if "histopath_diagnosis" not in header:
        raise ManifestError(
            f"{path}: no column histopath_diagnosis; is this the file as published?"
        )
    nodules = {}
    for line in lines:
        cells = dict(zip(header, line, strict=False))
        diagnosis = cells.get("histopath_diagnosis", "")
        sex = cells.get("sex", "")[:1].upper()
        nodules[line[0].strip("_")] = {
            "malignant": LABELS.get(diagnosis.removesuffix(".0")),
            "sex": sex if sex in ("F", "M") else None,
            "age": as_age(cells.get("age", "")),
        }
    return nodules


def _frames(path: Path) -> list[tuple[str, str]]:
    """Return nodule and frame number of every frame."""
    try:
        with h5py.File(path) as file:
            kinds = {(file[name].shape, str(file[name].dtype)) for name in PIXELS}
            nodules, frames = (
                [_text(value) for value in file[name][:]]
                for name in ("annot_id", "frame_num")
            )
    except BROKEN as error:
        raise ManifestError(f"{path}: cannot read the frames: {error}") from error
    shape, dtype = min(kinds, key=str)
    is_clip = len(kinds) == 1 and len(shape or ()) == 3 and dtype == "uint8"
    if not is_clip or 0 in shape or not len(nodules) == len(frames) == shape[0]:
        raise ManifestError(
            f"{path}: {len(nodules)} annot_id and {len(frames)} frame_num, but image "
            f"and mask are {kinds}; is this the file as published?"
        )
    return list(zip((name.strip("_") for name in nodules), frames, strict=True))


def _text(value: Any) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip()


def _frame(path: Path, name: str, i: int) -> Image.Image:
    """Draw one frame; the file as a whole is larger than most memories."""
    try:
        with h5py.File(path) as file:
            pixels = file[name][i]
    except BROKEN as error:
        raise OSError(f"{name} {i} cannot be read: {error}") from error
    return Image.fromarray(pixels > 127 if name == "mask" else pixels)
