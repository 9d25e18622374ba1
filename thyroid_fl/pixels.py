"""Pictures decoded once: cropped, letterboxed, uint8, memory-mapped.

A `PixelStore` is made once from a manifest and read in every epoch, round and arm.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from thyroid_fl.errors import ManifestError
from thyroid_fl.leaks import thumbnail
from thyroid_fl.masks import mask_problems, nodule_of, read_levels
from thyroid_fl.picture_check import UNREADABLE, box_problems, grey

Picture = NDArray[np.uint8]
Crop = tuple[int, int, int, int]
Transform = tuple[Crop, float, int, int, str | None]
"""Crop, scale, left, top and mask_fault, as `PixelStore` has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What of a picture the model sees."""

    region: str
    margin: float
    image_px: int
    masks: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelStore:
    """Usable pictures of a manifest at the study's size.

    Attributes:
        cases: one row per usable picture, the manifest's columns, and the transform
            ``crop`` [x0, y0, x1, y1] (pixels of the file), ``scale`` (store pixels a
            file pixel), ``left``, ``top`` (letterbox offset in the store). A mask that
            was wanted and cannot be used is missing, and ``mask_fault`` says why.
        pixels: (N, H, W) uint8, memory-mapped; 0 outside the picture.
        masks: (N, H, W) uint8, memory-mapped; 1 in a nodule, 0 where there is none or
            no mask. None unless asked for.
        thumbnails: (N, 64, 64) uint8, the whole picture, for the leak gate.
        left_out: columns image_id, reason, is_fault: registered pictures that are not
            here, because the region does not allow it or (a fault) their files.
    """

    cases: pd.DataFrame
    pixels: Picture
    masks: Picture | None
    thumbnails: Picture
    left_out: pd.DataFrame


def open_store(
    cases: pd.DataFrame,
    pictures: Path,
    cache: Path,
    *,
    region: str,
    margin: float,
    image_px: int,
    masks: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PixelStore:
    """Return the store of these cases, made in ``cache`` if it is not there yet.

    Args:
        cases: manifest rows; their ``image`` is relative to ``pictures``.
        pictures: the manifest's folder.
        cache: folder of stores; one sub-folder each, named by what decides its content.
        region: ``whole`` picture or ``nodule``: the boxes' union with a margin.
        margin: margin on each side, as a fraction of that side.
        image_px: side of the store's square pictures, in pixels.
        masks: whether the masks are wanted too.
        progress: called with pictures done and all.

    Raises:
        ManifestError: a picture is not there, or none is usable.
    """
    view = View(region=region, margin=margin, image_px=image_px, masks=masks)
    folder = cache / f"{region}-{image_px}-{_fingerprint(cases, pictures, view)}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
        try:
            _build(cases, pictures, building, view, progress)
            with suppress(OSError):  # another process was faster
                building.rename(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return PixelStore(
        cases=pd.read_parquet(folder / "cases.parquet"),
        # Copy-on-write: torch wants writable memory; nothing is read or written.
        pixels=np.load(folder / "pixels.npy", mmap_mode="c"),
        masks=np.load(folder / "masks.npy", mmap_mode="c") if masks else None,
        thumbnails=np.load(folder / "thumbnails.npy", mmap_mode="r"),
        left_out=pd.read_parquet(folder / "left_out.parquet"),
    )


def letterbox(picture: Image.Image, px: int) -> tuple[Picture, float, int, int]:
    """Return the picture in a black square of ``px`` pixels, aspect kept.

    Returns:
        The square (px, px) uint8, the scale (square pixels a picture pixel), and the
        picture's left and top offset in the square, in pixels.
    """
    scale = px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    left, top = (px - width) // 2, (px - height) // 2
    square = np.zeros((px, px), np.uint8)
    square[top : top + height, left : left + width] = np.asarray(
        picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3)
    )
    return square, scale, left, top


def nodule_crop(boxes: tuple[Crop, ...], margin: float, size: tuple[int, int]) -> Crop:
    """Return the union of the boxes with a margin, within a picture of (width, height).

    >>> nodule_crop(((10, 20, 30, 40),), 0.25, (100, 42))
    (5, 15, 35, 42)
    """
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[2] for box in boxes), max(box[3] for box in boxes)
    dx, dy = round(margin * (x1 - x0)), round(margin * (y1 - y0))
    width, height = size
    return max(0, x0 - dx), max(0, y0 - dy), min(width, x1 + dx), min(height, y1 + dy)


def _fingerprint(cases: pd.DataFrame, pictures: Path, view: View) -> str:
    """Return a hash of what decides the store: view, rows, and the pictures' files."""
    digest = hashlib.sha256(repr(view).encode())
    digest.update(cases.to_json().encode())  # kept in the store, the split among them
    for name in cases["image"]:
        try:
            status = (pictures / name).stat()
        except OSError as error:
            raise ManifestError(
                f"picture {name}: cannot be found in {pictures}; "
                "run thyroid-client check on the manifest"
            ) from error
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    masks = list(cases["mask"].dropna()) if view.masks else []
    for path in (pictures / name for name in masks):
        status = path.stat() if path.exists() else os.stat_result((0,) * 10)
        digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def _build(
    cases: pd.DataFrame,
    pictures: Path,
    folder: Path,
    view: View,
    progress: Callable[[int, int], None],
) -> None:
    usable, left_out = _usable(cases, view.region)
    if usable.empty:
        _refuse(view.region, left_out)
    n, px = len(usable), view.image_px
    sides = {"pixels": px, "thumbnails": 64} | ({"masks": px} if view.masks else {})
    stores = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.uint8, (n, side, side)
        )
        for name, side in sides.items()
    }
    prepared: list[Transform | str] = []
    jobs = usable.reindex(columns=["image", "mask", "boxes"]).itertuples()
    with ThreadPoolExecutor() as pool:  # PIL decodes outside the interpreter's lock
        results = pool.map(lambda job: _prepare(job, pictures, view), jobs)
        for k, found in enumerate(results):
            if isinstance(found, str):
                prepared.append(found)
            else:
                transform, squares = found
                prepared.append(transform)
                for name, square in squares.items():
                    stores[name][k] = square
            progress(k + 1, n)
    is_unreadable = np.array([isinstance(found, str) for found in prepared])
    reasons = [found for found in prepared if isinstance(found, str)]
    unreadable = usable.loc[is_unreadable, ["image_id"]]
    unreadable = unreadable.assign(reason=reasons, is_fault=True)
    if is_unreadable.all():
        _refuse(view.region, unreadable)
    for name, store in stores.items():
        store.flush()
        if is_unreadable.any():
            np.save(folder / f"{name}.npy", store[~is_unreadable])
    usable = usable[~is_unreadable].reset_index(drop=True)
    transforms = [found for found in prepared if not isinstance(found, str)]
    columns = ["crop", "scale", "left", "top", "mask_fault"]
    usable[columns] = pd.DataFrame(transforms, columns=columns, index=usable.index)
    if view.masks:
        usable["mask"] = usable["mask"].mask(usable["mask_fault"].notna())
    usable.to_parquet(folder / "cases.parquet")
    left_out = pd.concat([left_out, unreadable], ignore_index=True)
    left_out.to_parquet(folder / "left_out.parquet")


def _refuse(region: str, left_out: pd.DataFrame) -> None:
    listed = "; ".join(left_out["reason"].unique()[:5])
    raise ManifestError(
        f"no usable picture for region {region!r}: {len(left_out)} left out, because "
        f"{listed}; run thyroid-client check on the manifest"
    )


def _usable(cases: pd.DataFrame, region: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the cases into those that the region allows and those it does not."""
    without = pd.Series(False, index=cases.index)
    if region == "nodule":
        without = cases["boxes"].map(lambda boxes: not _has_boxes(boxes))
    left_out = cases.loc[without, ["image_id"]]
    left_out = left_out.assign(reason="no box of the nodule", is_fault=False)
    return cases[~without].reset_index(drop=True), left_out


def _has_boxes(boxes: object) -> bool:
    return isinstance(boxes, (tuple, list, np.ndarray)) and len(boxes) > 0


def _prepare(
    case: Any, pictures: Path, view: View
) -> tuple[Transform, dict[str, Picture]] | str:
    """Decode one picture; return the transform and its squares, or why it cannot be."""
    try:
        with Image.open(pictures / case.image) as opened:
            picture = grey(opened)
    except UNREADABLE as error:
        return f"picture {case.image!r} cannot be read ({error})"
    found = tuple(map(tuple, case.boxes)) if _has_boxes(case.boxes) else ()
    if problem := next(box_problems(found, picture.size), None):
        return f"picture {case.image!r}: {problem}"
    crop: Crop = (0, 0, *picture.size)
    if view.region == "nodule":
        crop = nodule_crop(found, view.margin, picture.size)
    square, scale, left, top = letterbox(picture.crop(crop), view.image_px)
    squares = {"pixels": square, "thumbnails": thumbnail(picture)}
    fault = None
    if view.masks and pd.notna(case.mask):
        mask, fault = _mask(pictures / case.mask, picture.size)
        square, *_ = letterbox(mask.crop(crop), view.image_px)
        squares["masks"] = (square > 127).astype(np.uint8)
    return (crop, scale, left, top, fault), squares


def _mask(path: Path, size: tuple[int, int]) -> tuple[Image.Image, str | None]:
    """Return a mask, 255 in the nodule; an empty one where it cannot be used, and why.

    The picture stays: other tasks need no mask, and a patient's side of the split must
    not depend on one.
    """
    empty = Image.new("L", size)
    try:
        levels = read_levels(path)
    except UNREADABLE as error:
        return empty, f"mask {path.name!r} cannot be read ({error})"
    if problem := next(mask_problems(path.name, levels, size), None):
        return empty, problem
    return Image.fromarray(nodule_of(levels).astype(np.uint8) * 255), None
