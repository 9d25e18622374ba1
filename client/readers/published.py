"""What the readers of published data sets share: finding, parsing and listing."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thyroid_fl.client.readers.result import Note
from thyroid_fl.columns import LINE
from thyroid_fl.errors import ManifestError
from thyroid_fl.masks import box_of_mask

Row = dict[str, str | None]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
LABELS = {"0": "0", "1": "1"}
"""Benign and malignant, as most publish them."""
TIRADS = ("2", "3", "4a", "4b", "4c", "5")
"""The grades that a manifest has; 4 without a letter is of another scale."""


def rows_of(
    rows: Iterable[Row], source: Path, hospital: str, expected: str
) -> pd.DataFrame:
    """Return rows as a table, all of one hospital.

    Args:
        rows: cells of the manifest by column; the first has the key malignant.
        source: the folder that they were found in.
        hospital: the data set's name, where it tells no hospital.
        expected: what should lie in the folder.

    Raises:
        ManifestError: there is no row, or a cell is no Unicode.
    """
    rows = list(rows)
    if not rows:
        raise ManifestError(f"{source}: no picture of {hospital}; expected {expected}")
    for cell in (cell for row in rows for cell in row.values() if cell):
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise ManifestError(
                f"{source}: {cell!a} is no Unicode; rename the file or mend the list"
            ) from error
    table = pd.DataFrame(rows, dtype="str")
    table.index = pd.RangeIndex(2, len(table) + 2, name=LINE)
    return table.assign(hospital=hospital)


def own_patient(name: str, image: str, **cells: str | None) -> Row:
    """Return the row of a picture that, of an unknown patient, counts as its own."""
    return {"image_id": name, "patient_id": name, "image": image, **cells}


def patients_unknown(rows: pd.DataFrame, unit: str = "picture") -> Note:
    """Return the account of pictures whose patients are not published."""
    reason = f"patients are not published: each {unit} counts as its own patient"
    return Note.of(reason, rows)


def without(rows: pd.DataFrame, column: str, reason: str) -> Note:
    """Return the account of pictures that lack a value."""
    return Note.of(reason, rows[rows[column].isna()])


def of_files(reason: str, files: Iterable[Path], source: Path) -> Note:
    """Return the account of files that are no pictures of the manifest."""
    return Note(reason, tuple(relative(path, source) for path in files), "file")


def without_picture(masks: Iterable[str], rows: pd.DataFrame) -> Note:
    """Return the account of masks, by path, that no row has."""
    used = set(rows["mask"].dropna())
    rest = tuple(path for path in masks if path not in used)
    return Note("a mask without a picture", rest, "file")


def as_notes(ids_by_reason: Mapping[str, Iterable[str]]) -> tuple[Note, ...]:
    """Return an account in the order in which its reasons arose."""
    return tuple(Note(reason, tuple(ids)) for reason, ids in ids_by_reason.items())


def as_boxes(masks: Iterable[NDArray[np.bool_]]) -> str | None:
    """Return the cell boxes: one around each mask (H, W) that is not empty."""
    boxes = [box_of_mask(mask) for mask in masks if mask.any()]
    return json.dumps(boxes) if boxes else None


def as_age(text: str) -> str | None:
    """Return an age in whole years, if it is one."""
    age = text.strip().removesuffix(".0")
    return age if age.isdecimal() and len(age) <= 3 and int(age) <= 120 else None


def find_folders(source: Path, name: str) -> list[Path]:
    """Return the folders of this name, in any case, at or below the source.

    Of folders within each other the innermost counts: a zip may unpack ``train`` into
    ``train``, and the source itself may have any name.
    """
    below = (path for path in source.rglob("*") if path.is_dir())
    found = sorted(path for path in (source, *below) if path.name.lower() == name)
    outer = {parent for path in found for parent in path.parents}
    return [path for path in found if path not in outer]


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files at any depth of a folder, by path; no hidden ones."""
    return [path for path in files_in(folder) if path.suffix.lower() in SUFFIXES]


def files_in(folder: Path, pattern: str = "**/*") -> list[Path]:
    """Return the files in a folder that a pattern describes, by path.

    Hidden ones are passed over: ``._1.jpg`` is what a Mac's zip leaves behind.
    """
    found = (path for path in folder.glob(pattern) if path.name[0] != ".")
    return sorted(path for path in found if path.is_file())


def relative(path: Path, source: Path) -> str:
    """Return a file's path as the manifest has it."""
    return path.relative_to(source).as_posix()


def paths_by_stem(folder: Path, source: Path) -> dict[str, str]:
    """Return the paths of a folder's pictures as the manifest has them, by stem."""
    return {path.stem: relative(path, source) for path in pictures_in(folder)}


def read_cells(path: Path) -> list[list[str]]:
    """Return the cells of a CSV without blanks around them, empty lines left out.

    Raises:
        ManifestError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except (OSError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot read the table: {error}") from error
    return [row for row in rows if any(row)]


def read_names(path: Path) -> dict[str, str | None]:
    """Return the second cell (of one or more in a line) by the file that it names.

    Raises:
        ManifestError: the file cannot be read, or a name can be no file's.
    """
    second = {}
    for first, *others in read_cells(path):
        if not is_name(first):
            raise ManifestError(
                f"{path}: {first[:40]!a} can be no file's name; mend it"
            )
        second[Path(first).stem] = others[0] if others else None
    return second


def read_labels(path: Path) -> dict[str, str]:
    """Return "0" or "1" by file name, from the lines of a CSV that have both.

    Raises:
        ManifestError: as `read_names`.
    """
    names = read_names(path).items()
    return {name: label for name, label in names if label in LABELS and label}


def is_name(text: str) -> bool:
    """Return whether a file may have this name, in any folder."""
    is_short = 0 < len(text.encode(errors="replace")) < 200
    return is_short and text.isprintable() and "/" not in text and text[0] != "."


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is malformed, or has a document type: no data set needs one,
            and it is how a small file grows without end.
    """
    parser = ElementTree.XMLParser(target=_WithoutDoctype())
    try:
        return ElementTree.parse(path, parser).getroot()
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"{path.name}: {error}") from error


class _WithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ValueError("a document type is not allowed")
