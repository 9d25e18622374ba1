"""The manifest: one row per picture, the only door into the system.

A manifest is a CSV or Parquet file. Reading checks it and fills the optional columns,
so that all later code sees one fixed set of columns and dtypes (`thyroid_fl.columns`).
"""

import csv
import json
import os
import tempfile
from pathlib import Path
from typing import TextIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from thyroid_fl.columns import LINE, as_cases, column_of
from thyroid_fl.errors import ManifestError
from thyroid_fl.faults import Fault, manifest_faults, refuse_faults

__all__ = ["Fault", "manifest_faults", "read_manifest", "read_table", "write_manifest"]


BROKEN_PARQUET = (
    pa.lib.ArrowException,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    TypeError,
)
"""What pandas and pyarrow raise for a broken file, besides OSError and ValueError."""


def read_manifest(path: Path | str) -> pd.DataFrame:
    """Return the cases of a CSV or Parquet manifest, one row per picture.

    The table and the existence of its files are checked; `inspect_pictures` opens them.

    Raises:
        ManifestError: the file cannot be read, or has faults; all are listed.
    """
    path = Path(path)
    table = read_table(path)
    refuse_faults(manifest_faults(table, path.parent), path)
    return as_cases(table)


def read_table(path: Path) -> pd.DataFrame:
    """Return the file's columns as they stand, unchecked; CSV cells as text.

    The index holds the line numbers that `Fault` speaks of.

    Raises:
        ManifestError: the file cannot be read as a table.
    """
    try:
        if path.suffix == ".parquet":
            return _parquet_table(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            return _csv_table(file, path)
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: not UTF-8 text; save it as 'CSV UTF-8' (or as .parquet of text)"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise ManifestError(
            f"{path}: cannot read the table: {reason}; check the path"
        ) from error
    except (ValueError, csv.Error, *BROKEN_PARQUET) as error:
        raise ManifestError(f"{path}: cannot read the table: {error}") from error


def write_manifest(cases: pd.DataFrame, path: Path | str) -> None:
    """Write cases as CSV or, by the suffix, Parquet; never half a file.

    Optional columns without any value are left out.
    """
    path = Path(path)
    table = as_cases(cases)
    for name in ("malignant", "frame"):
        table[name] = table[name].astype("Int64")  # "1", not "1.0"
    texts = [json.dumps(boxes) if boxes else None for boxes in table["boxes"]]
    table["boxes"] = pd.Series(texts, table.index, dtype="str")
    for name in table.columns:
        if column_of(name).presence == "optional" and table[name].isna().all():
            del table[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        unfinished = Path(scratch) / path.name
        if path.suffix == ".parquet":
            table.to_parquet(unfinished, index=False)
        else:
            table.to_csv(unfinished, index=False, lineterminator="\n")
        os.replace(unfinished, path)  # noqa: PTH105 - the one atomic call


def _parquet_table(path: Path) -> pd.DataFrame:
    """Return the columns of a Parquet file, indexed as a CSV would be."""
    parquet.read_table(path).validate(full=True)  # damaged text is read lazily
    table = pd.read_parquet(path)
    table.columns = table.columns.map(str)
    for place in range(table.shape[1]):
        cells = table.iloc[:, place].tolist()
        if any(isinstance(cell, bytes) for cell in cells):
            # Some programs do not mark text as text.
            table.isetitem(place, [_decoded(cell) for cell in cells])
    table.index = pd.RangeIndex(2, len(table) + 2, name=LINE)
    return table


def _decoded(cell: object) -> object:
    return cell.decode() if isinstance(cell, bytes) else cell


def _csv_table(file: TextIO, path: Path) -> pd.DataFrame:
    """Return the text of a CSV, a blank cell as missing, indexed by line number."""
    rows = csv.reader(file, strict=True)
    header = next(rows, [])
    if not header:
        raise ManifestError(f"{path}: the file is empty; expected a header line")
    cells, lines = [], []
    for row in rows:
        if len(row) not in (0, len(header)):
            raise ManifestError(
                f"{path.name} line {rows.line_num}: {len(row)} cells, but the header "
                f'has {len(header)}; put cells that hold a comma in "double quotes"'
            )
        if any(row):
            cells.append([cell or None for cell in row])
            lines.append(rows.line_num)
    index = pd.Index(lines, dtype="int64", name=LINE)
    return pd.DataFrame(cells, index=index, columns=header, dtype="str")
