"""The check of a manifest's table: every fault, each with its place and remedy."""

import json
from collections.abc import Callable, Container, Iterator, Sized
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa

from thyroid_fl.columns import (
    COLUMNS,
    LINE,
    Column,
    as_cases,
    column_of,
    is_file,
    is_fold,
    is_inside,
    parse_boxes,
)
from thyroid_fl.errors import ManifestError


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One thing to mend in a manifest or, in a list of warnings, to look at.

    `row` is the 1-based line in the CSV, the header being line 1.
    """

    row: int
    column: str
    message: str


def manifest_faults(
    table: pd.DataFrame, folder: Path, elsewhere: Container[str] = ()
) -> list[Fault]:
    """Return every fault of a table, by row; its paths start at `folder`.

    The pictures need only exist, those of `elsewhere` not even that;
    `inspect_pictures` opens them.
    """
    checkable = _checkable(table)
    faults = [*_header_faults(table), *_cell_faults(checkable)]
    if not len(table):
        faults.append(Fault(1, "", "no rows; expected one row per picture"))
    for name in ("image", "mask"):
        faults += _absent_file_faults(checkable, name, folder, elsewhere)
    faults += _mixed_split_faults(checkable)
    cases = as_cases(checkable).set_index(checkable.index)
    remedy = "a patient belongs to one hospital: give each its own patient_id"
    faults += _contradiction_faults(cases, ["patient_id"], "hospital", remedy)
    remedy = "what is known from training cannot be tested: give a patient one side"
    for name in ("split", *filter(is_fold, map(str, cases))):
        faults += _contradiction_faults(cases, ["patient_id"], name, remedy)
    remedy = "a nodule has one pathology: mend it, or give each its own nodule_id"
    nodule = ["patient_id", "nodule_id"]
    return sorted([*faults, *_contradiction_faults(cases, nodule, "malignant", remedy)])


def refuse_faults(faults: list[Fault], path: Path) -> None:
    """Raise a ManifestError that lists the faults of the file, if there are any."""
    if faults:
        listed = "\n".join(describe(fault, path) for fault in faults)
        raise ManifestError(f"{path}: {count(faults)} to mend\n{listed}")


def count(found: Sized, word: str = "fault") -> str:
    """Return their number in words, as in "3 faults"."""
    return {0: f"no {word}s", 1: f"1 {word}"}.get(len(found), f"{len(found)} {word}s")


def describe(fault: Fault, path: Path) -> str:
    """Return a fault as one sentence that starts with its place in the file."""
    word, shift = _counted_as(path)
    place = f"{word} {fault.row - shift}" if fault.row > shift else "columns"
    return f"{path.name} {place}: {fault.message}"


def describe_warnings(warnings: list[Fault], path: Path) -> list[str]:
    """Return warnings as sentences, by row.

    Those of one message are one sentence, which ends with all its rows.
    """
    rows: dict[str, set[int]] = {}
    for warning in sorted(warnings):
        rows.setdefault(warning.message, set()).add(warning.row)
    word, shift = _counted_as(path)
    sentences = []
    for message, found in rows.items():
        place = f"{word} {min(found) - shift}"
        if len(found) > 1:
            place += f" and {len(found) - 1} more"
            message += f" ({word}s {_ranges({row - shift for row in found})})"
        sentences.append(f"{path.name} {place}: warning: {message}")
    return sentences


def _counted_as(path: Path) -> tuple[str, int]:
    """Return what a user calls a row, and the number of rows before the first."""
    return ("row", 1) if path.suffix == ".parquet" else ("line", 0)


def _ranges(numbers: set[int]) -> str:
    """Return numbers as in "2-5, 9"."""
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    ends = sorted(number for number in numbers if number + 1 not in numbers)
    return ", ".join(
        f"{start}-{end}" if end > start else f"{start}"
        for start, end in zip(starts, ends, strict=True)
    )


def _header_faults(table: pd.DataFrame) -> Iterator[Fault]:
    for name, column in COLUMNS.items():
        if column.presence != "optional" and name not in table:
            yield Fault(
                1, name, f"the column {name} is missing; expected {column.expected}"
            )
    for name in table.columns[table.columns.duplicated()]:
        yield Fault(1, name, f"the column {name} stands twice; remove one")
    for name in table.columns:
        if name not in COLUMNS and not is_fold(name):
            close = get_close_matches(str(name).lower(), COLUMNS, n=1)
            guess = f"did you mean {close[0]}? " if close else ""
            remedy = f"{guess}Rename or remove it; known: {', '.join(COLUMNS)}"
            yield Fault(1, name, f"unknown column {name!r}; {remedy}")


def _checkable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the known columns, one of each name, text as text; index = line."""
    known = [name for name in table.columns if name in COLUMNS or is_fold(name)]
    table = table.loc[:, ~table.columns.duplicated()][list(dict.fromkeys(known))].copy()
    if table.index.name != LINE:
        table.index = pd.RangeIndex(2, len(table) + 2, name=LINE)
    for name in table.columns:
        if column_of(name).kind == "text":
            table[name] = table[name].astype("str")
        elif column_of(name).kind == "boxes":
            table[name] = [_boxes_text(value) for value in table[name]]
    return table


def _boxes_text(value: Any) -> str | None:
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else str(value)
    boxes = parse_boxes(value)
    return json.dumps(boxes) if boxes is not None else str(value)


def _cell_faults(table: pd.DataFrame) -> Iterator[Fault]:
    """Check every cell by itself, with pandera, all at once."""
    columns = {}
    for name in table.columns:
        column = column_of(name)
        columns[name] = pa.Column(
            checks=pa.Check(_check(column), error=column.expected),
            nullable=column.presence != "required",
        )
    try:
        pa.DataFrameSchema(columns).validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        failures = error.failure_cases
        for line, name, value in zip(
            failures["index"],
            failures["column"],
            failures["failure_case"],
            strict=True,
        ):
            if pd.api.types.is_scalar(line) and pd.isna(line):
                # The check itself failed, as on dates or bytes.
                found, line = f"holds {table[name].dtype}", 1
            else:
                is_empty = pd.api.types.is_scalar(value) and pd.isna(value)
                found = "is " + ("empty" if is_empty else _shown(value))
            message = f"{name} {found}; expected {column_of(name).expected}"
            yield Fault(int(line), name, message)


def _check(column: Column) -> Callable[["pd.Series[Any]"], "pd.Series[bool]"]:
    if column.kind != "number":
        return column.is_valid
    return lambda s: column.is_valid(pd.to_numeric(s, errors="coerce"))


def _shown(value: object) -> str:
    """Return a cell's value as a message has it; Parquet may hold anything."""
    if isinstance(value, Real):
        return f"{value:g}"
    return f"'{value}'" if isinstance(value, str) else " ".join(f"{value!r}".split())


def _absent_file_faults(
    table: pd.DataFrame, name: str, folder: Path, elsewhere: Container[str]
) -> Iterator[Fault]:
    paths = table[name].dropna() if name in table else pd.Series(dtype="str")
    for line, path in zip(paths.index, paths, strict=True):
        if path in elsewhere or not is_inside(path):
            continue
        if not is_file(folder / path):
            message = (
                f"{name} {path!r} is not in {folder}; put it there or mend the path"
            )
            yield Fault(int(line), name, message)


def _contradiction_faults(
    cases: pd.DataFrame, keys: list[str], name: str, remedy: str
) -> Iterator[Fault]:
    """Find rows that say something else than the first row with the same keys."""
    known = cases[[*keys, name]].dropna()
    first = known.groupby(keys)[name].transform("first")
    odd = known.assign(first=first)[known[name] != first]
    for line, row in zip(odd.index, odd.to_dict("records"), strict=True):
        who = ", ".join(f"{key} '{row[key]}'" for key in keys)
        message = (
            f"{name} is {_shown(row[name])}, but an earlier row has "
            f"{_shown(row['first'])} for {who}; {remedy}"
        )
        yield Fault(int(line), name, message)


def _mixed_split_faults(table: pd.DataFrame) -> Iterator[Fault]:
    if "split" in table and table["split"].notna().any():
        for line in table.index[table["split"].isna()]:
            yield Fault(
                int(line),
                "split",
                "split is empty, but other rows have one; fill all rows or none",
            )
