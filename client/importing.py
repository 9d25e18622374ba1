"""The import: a source becomes a folder with a manifest, its pictures and its masks."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from PIL import Image

from thyroid_fl.client.mending import mend
from thyroid_fl.client.readers.published import of_files, pictures_in, relative
from thyroid_fl.client.readers.result import Import
from thyroid_fl.columns import as_cases, is_inside
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.faults import Fault, manifest_faults, refuse_faults
from thyroid_fl.manifest import write_manifest
from thyroid_fl.masks import boxes_of_mask, read_mask
from thyroid_fl.picture_check import UNREADABLE, inspect_pictures

Progress = Callable[[int, int], None]


def import_pictures(
    read: Callable[[Path], Import],
    source: Path,
    out: Path,
    *,
    hospital: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Import:
    """Write the source's pictures as ``out/manifest.csv``, ``images/`` and ``masks/``.

    `out` appears checked and complete, or not at all. Files are hard-linked where the
    disk allows it, else copied.

    Args:
        read: a reader.
        source: the source's folder.
        out: a folder that does not exist yet.
        hospital: name of the hospital where the source names none.
        progress: called with pictures drawn and checked, and all.

    Returns:
        What was read, with the rows as they were written.

    Raises:
        ConfigError: the source is not there, `out` is, or `hospital` is not wanted,
            or is wanted and missing.
        ManifestError: the source has faults; all are listed.
    """
    if not source.is_dir():
        raise ConfigError(f"source {source} is no folder; name the one to import")
    if out.exists():
        raise ConfigError(f"{out} exists; name a new folder, or remove it first")
    found = _with_the_rest(read(source), source)
    found = replace(found, rows=_with_hospital(found, hospital))
    beside = next(parent for parent in out.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(dir=beside, prefix=".importing-") as scratch:
        total = len(found.drawn) + len(found.rows)
        drawn = _draw_all(
            found.drawn, Path(scratch) / "drawn", lambda done: progress(done, total)
        )
        done, files = _checked(
            found, source, drawn, lambda n, _: progress(len(drawn) + n, total)
        )
        cases = as_cases(done.rows).set_index(done.rows.index)
        cases["boxes"] = _boxes(cases["boxes"], files["mask"])
        unfinished = Path(scratch) / "import"
        for name, folder in (("image", "images"), ("mask", "masks")):
            cases[name] = _link_all(cases[name], files[name], unfinished, folder)
        write_manifest(cases, unfinished / "manifest.csv")
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(out)
    return replace(done, rows=cases)


def _with_the_rest(found: Import, source: Path) -> Import:
    """Add to what is left out every picture file that the reader does not name."""
    columns = found.rows.columns.intersection(["image", "mask"])
    named = {str(path) for name in columns for path in found.rows[name].dropna()}
    for note in found.mended + found.left_out:
        named |= set(note.image_ids if note.unit == "file" else ())
    known = {PurePosixPath(path) for path in named}
    rest = [
        path
        for path in pictures_in(source)
        if PurePosixPath(relative(path, source)) not in known
    ]
    if not rest:
        return found
    note = of_files("nothing in the source says what it shows", rest, source)
    return replace(found, left_out=(*found.left_out, note))


def _with_hospital(found: Import, hospital: str | None) -> pd.DataFrame:
    is_named = "hospital" in found.rows
    if hospital is not None and is_named:
        raise ConfigError(
            "--hospital: the source names its hospitals itself; leave the option out"
        )
    if hospital is None and not is_named and found.is_lenient:
        raise ConfigError(
            "--hospital: the source names no hospital; name the one that all pictures "
            "come from with --hospital NAME"
        )
    return found.rows if hospital is None else found.rows.assign(hospital=hospital)


def _draw_all(
    drawings: Mapping[str, Callable[[], Image.Image]],
    folder: Path,
    progress: Callable[[int], None],
) -> dict[str, Path]:
    """Save what no file of the source shows; return where, whether it worked or not."""

    def save(path: str) -> None:
        try:
            picture = drawings[path]() if is_inside(path) else None
        except UNREADABLE:
            picture = None
        if not picture:
            return  # the check does not find it
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / path)

    # PNG is packed outside the interpreter's lock.
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # what cannot be drawn is listed, and no more
        for i, _ in enumerate(pool.map(save, drawings)):
            progress(i + 1)
    return {path: folder / path for path in drawings}


def _checked(
    found: Import, source: Path, drawn: Mapping[str, Path], progress: Progress
) -> tuple[Import, pd.DataFrame]:
    """Return what may be imported, and the files of its columns image and mask.

    Raises:
        ManifestError: what was read has faults; all are listed.
    """
    cases = as_cases(found.rows).set_index(found.rows.index)
    located = cases[["image", "mask"]].map(
        lambda path: str(drawn.get(path, path)), na_action="ignore"
    )
    seen = inspect_pictures(cases.assign(**located), source, progress)
    files = located.map(lambda path: source / path, na_action="ignore")
    faults = seen.faults
    if found.is_lenient:
        found, faults = mend(found, files, seen), []
        _refuse_nothing(found)
    faults = manifest_faults(found.rows, source, drawn) + faults
    refuse_faults(sorted(map(_with_remedy, faults)), found.table)
    files = files.loc[found.rows.index]
    has_mask = as_cases(found.rows)["mask"].notna().to_numpy()
    return found, files.assign(mask=files["mask"].where(has_mask))


def _refuse_nothing(found: Import) -> None:
    if found.rows.empty:
        reasons = "; ".join(note.reason for note in found.left_out if note.image_ids)
        raise ManifestError(f"{found.table}: no picture is left, because {reasons}")


def _with_remedy(fault: Fault) -> Fault:
    """Say what an import can do about a missing column hospital."""
    if (fault.row, fault.column) != (1, "hospital"):
        return fault
    remedy = "add it, or name one hospital for all pictures with --hospital NAME"
    return replace(fault, message=f"{fault.message}; {remedy}")


def _boxes(known: "pd.Series[Any]", masks: "pd.Series[Any]") -> "pd.Series[Any]":
    boxes = [
        boxes or (boxes_of_mask(read_mask(mask)) if isinstance(mask, Path) else ())
        for boxes, mask in zip(known, masks, strict=True)
    ]
    return pd.Series(boxes, known.index, dtype=object)


def _link_all(
    paths: "pd.Series[str]", files: "pd.Series[Any]", out: Path, folder: str
) -> "pd.Series[str]":
    """Link the files into `out/folder`; return their paths relative to `out`."""
    present = [PurePosixPath(path) for path in paths.dropna()]
    if not present:
        return paths
    shared = os.path.commonpath([path.parent for path in present])
    targets = paths.map(
        lambda path: str(folder / PurePosixPath(path).relative_to(shared)),
        na_action="ignore",
    )
    for file, target in zip(files.dropna(), targets.dropna(), strict=True):
        if not (out / target).exists():  # two rows may name one file
            (out / target).parent.mkdir(parents=True, exist_ok=True)
            _link(file, out / target)
    return targets


def _link(file: Path, destination: Path) -> None:
    try:
        destination.hardlink_to(file.resolve())
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, destination)
