"""The import: a source becomes a folder with a manifest, its pictures and its masks."""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pandas as pd

from thyroid_fl.client.readers.result import Import
from thyroid_fl.columns import as_cases
from thyroid_fl.errors import ConfigError
from thyroid_fl.faults import Fault, manifest_faults, refuse_faults
from thyroid_fl.manifest import write_manifest
from thyroid_fl.picture_check import boxes_of_mask, picture_faults, read_mask


def import_pictures(
    read: Callable[[Path], Import],
    source: Path,
    out: Path,
    *,
    hospital: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Import:
    """Write the source's pictures as ``out/manifest.csv``, ``images/`` and ``masks/``.

    Everything is checked before anything is written, and `out` appears complete or not
    at all. Files are hard-linked where the disk allows it, else copied.

    Args:
        read: a reader.
        source: the source's folder.
        out: a folder that does not exist yet.
        hospital: name of the hospital where the source names none.
        progress: called with pictures checked and all.

    Returns:
        What was read, with the rows as they were written.

    Raises:
        ConfigError: the source is not there, `out` is, or `hospital` is not wanted.
        ManifestError: the source has faults; all are listed.
    """
    if not source.is_dir():
        raise ConfigError(f"source {source} is no folder; name the one to import")
    if out.exists():
        raise ConfigError(f"{out} exists; name a new folder, or remove it first")
    found = read(source)
    table = _with_hospital(found.rows, hospital)
    cases = as_cases(table).set_index(table.index)
    faults = manifest_faults(table, source) + picture_faults(cases, source, progress)
    refuse_faults(sorted(map(_with_remedy, faults)), found.table)
    boxes = [
        known or (boxes_of_mask(read_mask(source / mask)) if pd.notna(mask) else ())
        for known, mask in zip(cases["boxes"], cases["mask"], strict=True)
    ]
    cases["boxes"] = pd.Series(boxes, cases.index, dtype=object)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".importing-") as scratch:
        unfinished = Path(scratch) / "import"
        for name, folder in (("image", "images"), ("mask", "masks")):
            cases[name] = _link_all(cases[name], source, unfinished, folder)
        write_manifest(cases, unfinished / "manifest.csv")
        unfinished.rename(out)
    return Import(cases, found.table, found.mended, found.left_out)


def _with_hospital(table: pd.DataFrame, hospital: str | None) -> pd.DataFrame:
    if hospital is None:
        return table
    if "hospital" in table:
        raise ConfigError(
            "--hospital: the source names its hospitals itself; leave the option out"
        )
    return table.assign(hospital=hospital)


def _with_remedy(fault: Fault) -> Fault:
    """Say what an import can do about a missing column hospital."""
    if (fault.row, fault.column) != (1, "hospital"):
        return fault
    remedy = "add it, or name one hospital for all pictures with --hospital NAME"
    return replace(fault, message=f"{fault.message}; {remedy}")


def _link_all(
    paths: "pd.Series[str]", source: Path, out: Path, folder: str
) -> "pd.Series[str]":
    """Link the files into `out/folder`; return their paths relative to `out`."""
    present = [PurePosixPath(path) for path in paths.dropna()]
    if not present:
        return paths
    shared = os.path.commonpath([path.parent for path in present])
    new = {str(path): str(folder / path.relative_to(shared)) for path in present}
    for old, target in new.items():
        destination = out / target
        destination.parent.mkdir(parents=True, exist_ok=True)
        _link(source / old, destination)
    return paths.map(lambda path: new[str(PurePosixPath(path))], na_action="ignore")


def _link(file: Path, destination: Path) -> None:
    try:
        destination.hardlink_to(file.resolve())
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, destination)
