"""The columns of a manifest: what each may hold, and the dtypes that code sees.

Text is ``str``, numbers are ``float64`` (both NaN where missing), boxes a tuple of
``(x0, y0, x1, y1)`` in pixels of the stored picture, 0-based and half-open (empty
where unknown). Columns ``split_1`` .. ``split_K`` hold a data set's official folds.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

Box = tuple[int, int, int, int]
Boxes = tuple[Box, ...]
SPLITS = ("train", "val", "test")
LINE = "line"
"""Name of an index that holds line numbers of the file that a table came from."""


@dataclass(frozen=True, slots=True)
class Column:
    """What one column of the manifest may hold."""

    kind: Literal["text", "number", "boxes"]
    expected: str
    """Completes the sentence "age is -3; expected ..."."""
    is_valid: Callable[["pd.Series[Any]"], "pd.Series[bool]"]
    presence: Literal["required", "column", "optional"] = "optional"
    """Whether every row needs a value, the table needs the column, or neither."""


def _one_of(*allowed: str) -> Column:
    return Column("text", f"one of {', '.join(allowed)}", lambda s: s.isin(allowed))


def _text(expected: str, presence: Literal["required", "optional"]) -> Column:
    return Column(
        "text",
        f"{expected}, without blanks around it",
        lambda s: (s == s.str.strip()) & (s != ""),
        presence,
    )


def _path(of_what: str, presence: Literal["required", "optional"]) -> Column:
    expected = f"the path of {of_what}, relative to the manifest and inside its folder"
    return Column("text", expected, lambda s: s.map(is_inside), presence)


COLUMNS = {
    "image_id": Column(
        "text",
        "a name that no earlier row has",
        lambda s: ~s.duplicated() & (s == s.str.strip()),
        "required",
    ),
    "patient_id": _text("the patient's pseudonym", "required"),
    "hospital": _text("the hospital's name", "required"),
    "image": _path("the picture", "required"),
    "mask": _path("the nodule's mask", "optional"),
    "boxes": Column(
        "boxes",
        "a JSON list of [x0, y0, x1, y1] in pixels, whole numbers from 0, "
        "x0 < x1 and y0 < y1",
        lambda s: s.map(lambda text: parse_boxes(text) is not None),
    ),
    "malignant": Column(
        "number",
        "0 (benign), 1 (malignant), or empty",
        lambda s: s.isin([0, 1]),
        "column",
    ),
    "tirads": _one_of("2", "3", "4a", "4b", "4c", "5"),
    "vendor": _text("the scanner's vendor", "optional"),
    "device": _text("the scanner's model", "optional"),
    "province": _text("a province", "optional"),
    "region": _one_of("east_coast", "inland"),
    "sex": _one_of("F", "M"),
    "age": Column("number", "years from 0 to 120", lambda s: s.between(0, 120)),
    "view": _one_of("longitudinal", "transverse"),
    "nodule_id": _text("the nodule's name", "optional"),
    "frame": Column(
        "number", "a frame number from 0", lambda s: (s >= 0) & (s % 1 == 0)
    ),
    "pixel_mm": Column(
        "number", "millimetres above 0", lambda s: s.between(0, 10, inclusive="right")
    ),
    "split": _one_of(*SPLITS),
}


def as_cases(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every column of the manifest, in fixed order and dtypes.

    What cannot be understood becomes missing, so check the table before.
    """
    table = table.loc[:, ~table.columns.duplicated()]
    folds = sorted(filter(is_fold, table.columns), key=lambda name: int(name[6:]))
    cases = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for name in (*COLUMNS, *folds):
        column = table[name] if name in table else pd.Series(np.nan, table.index)
        column = column.reset_index(drop=True)
        match column_of(name).kind:
            case "text":
                cases[name] = column.astype("str")
            case "number":
                numbers = pd.to_numeric(column, errors="coerce")
                cases[name] = numbers.astype("float64")
            case "boxes":
                boxes = [parse_boxes(value) or () for value in column]
                cases[name] = pd.Series(boxes, cases.index, dtype=object)
    return cases


def column_of(name: str) -> Column:
    """Return what a column of the manifest, or an official fold, may hold."""
    return COLUMNS["split"] if is_fold(name) else COLUMNS[name]


def is_fold(name: str) -> bool:
    """Return whether a column holds an official fold."""
    return re.fullmatch(r"split_[1-9]\d*", name) is not None


def parse_boxes(value: object) -> Boxes | None:
    """Return boxes from JSON text or nested sequences; None where they are malformed.

    >>> parse_boxes("[[0, 0, 4, 2]]")
    ((0, 0, 4, 2),)
    """
    try:
        rows = json.loads(value) if isinstance(value, str) else list(value)  # type: ignore[call-overload]
        boxes = tuple(tuple(row) for row in rows)
    except (TypeError, ValueError, RecursionError):  # the last: [[[[[[ ...
        return None
    for box in boxes:
        whole = all(
            isinstance(edge, int | np.integer) and not isinstance(edge, bool)
            for edge in box
        )
        if not (whole and len(box) == 4):
            return None
        x0, y0, x1, y1 = box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            return None
    return tuple((int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in boxes)


def is_inside(path: str) -> bool:
    """Return whether a path is relative and never leaves its folder."""
    parts = PurePosixPath(path).parts
    return bool(parts) and ".." not in parts and not path.startswith("/")


def is_file(path: Path) -> bool:
    """Return whether there is such a file; no error for a name that none can have."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib raises where it is too long
