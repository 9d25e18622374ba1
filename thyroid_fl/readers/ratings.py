"""The table of ratings: one row per reader, arm and image, or patient.

reader      the reader's name                                          needed
experience  junior, senior, or any other word; the same for a reader   optional
arm         unaided, freestyle or rule_based                           needed
patient_id  the patient                                                needed
image_id    the image; in every row, or in none (rated by patient)     optional
malignant   0 or 1, pathology; the same for a patient                  needed
category    2, 3, 4a, 4b, 4c or 5                                      either this
score       any finite number, higher is more malignant                or this
ai_score    the AI's, for this image or patient; the same in all rows  optional

Every reader rates the same cases in the same arms. Without rows of rule_based, that
arm is made from unaided categories and the AI's calls.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from thyroid_fl.faults import Fault, refuse_faults
from thyroid_fl.manifest import read_table
from thyroid_fl.readers.categories import CODES

Arm = Literal["unaided", "freestyle", "rule_based"]
ARMS: tuple[Arm, ...] = ("unaided", "freestyle", "rule_based")
NEEDED = ("reader", "arm", "patient_id", "malignant")
TEXTS = ("reader", "experience", "arm", "patient_id", "image_id", "category")
NUMBERS = ("malignant", "score", "ai_score")
COLUMNS = (*TEXTS, *NUMBERS)
RESERVED = "AI"
"""The name of the AI in the tables, which no reader can have."""
_NUMBER = "a finite number"


def read_ratings(path: Path | str) -> pd.DataFrame:
    """Return the ratings of a CSV or Parquet file, checked; see the module.

    Returns:
        Columns `COLUMNS`, text as ``str`` and numbers as ``float64``, both NaN where
        missing; rows in the order of the file.

    Raises:
        ManifestError: the file cannot be read, or has faults; all are listed with line
            and column.
    """
    path = Path(path)
    table = read_table(path)
    refuse_faults(rating_faults(table), path)
    return as_ratings(table).reset_index(drop=True)


def rating_faults(table: pd.DataFrame) -> list[Fault]:
    """Return every fault of a table of ratings, by row; see `read_table`.

    Faults between rows are looked for where the cells are right.
    """
    faults = list(_header_faults(table))
    if faults:
        return sorted(faults)
    faults = list(_cell_faults(table))
    if not faults:
        ratings = as_ratings(table)
        faults = [*_contradictions(ratings), *_repeated(ratings)]
        faults = faults or [*_mixed(ratings), *_gaps(ratings)]
    return sorted(faults)


def as_ratings(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with every column, in fixed order and dtypes; index kept."""
    ratings = pd.DataFrame(index=table.index)
    for name in COLUMNS:
        column = table.get(name, pd.Series(np.nan, table.index))
        if name in NUMBERS:
            ratings[name] = pd.to_numeric(column, errors="coerce").astype("float64")
        else:
            ratings[name] = column.astype("str")
    return ratings


def case_column(ratings: pd.DataFrame) -> Literal["image_id", "patient_id"]:
    """Return what was rated: images, or patients."""
    return "image_id" if ratings["image_id"].notna().any() else "patient_id"


def _header_faults(table: pd.DataFrame) -> Iterator[Fault]:
    for name in NEEDED:
        if name not in table:
            yield Fault(1, name, f"the column {name} is missing; add it")
    if "category" not in table and "score" not in table:
        yield Fault(1, "category", "neither column category nor score; add one")
    for name in table.columns:
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            yield Fault(
                1,
                name,
                f"unknown column {name!r}; leave it out, or mean one of {known}",
            )
    for name in table.columns[table.columns.duplicated()].unique():
        yield Fault(1, name, f"the column {name} is there twice; leave one out")
    if not len(table):
        yield Fault(1, "", "no rows; expected one row per reader, arm and image")


def _cell_faults(table: pd.DataFrame) -> Iterator[Fault]:
    expected = {
        "reader": f"the reader's name, without blanks around it and not {RESERVED}",
        "patient_id": "the patient's pseudonym, without blanks around it",
        "arm": f"one of {', '.join(ARMS)}",
        "malignant": "0 (benign) or 1 (malignant)",
        "category": f"one of {', '.join(CODES)}",
        "score": _NUMBER,
        "ai_score": _NUMBER,
    }
    for name, what in expected.items():
        if name not in table:
            continue
        cells = table[name]
        if name in NEEDED:
            for row in table.index[cells.isna()]:
                yield Fault(int(row), name, f"{name} is empty; expected {what}")
        present = cells.dropna()
        for row, cell in present[~_is_valid(present, name)].items():
            yield Fault(int(str(row)), name, f"{name} is {cell!r}; expected {what}")
    blank = pd.Series(np.nan, table.index)
    has_category = table.get("category", blank).notna()
    has_score = table.get("score", blank).notna()
    for row in table.index[has_category == has_score]:
        both = "both category and score" if has_score[row] else "no category, no score"
        yield Fault(int(row), "category", f"{both}; expected one of the two")


def _is_valid(cells: "pd.Series[str]", name: str) -> "pd.Series[bool]":
    if name in NUMBERS:
        numbers = pd.to_numeric(cells, errors="coerce")
        finite = pd.Series(np.isfinite(numbers.to_numpy(dtype=float)), cells.index)
        return finite & numbers.isin([0, 1]) if name == "malignant" else finite
    text = cells.astype("str")
    allowed = {"arm": ARMS, "category": tuple(CODES)}
    if name in allowed:
        return text.isin(allowed[name])
    return (text == text.str.strip()) & (text != "") & (text != RESERVED)


def _contradictions(ratings: pd.DataFrame) -> Iterator[Fault]:
    """Yield the rows that say something else of a reader, patient or case before."""
    case = case_column(ratings)
    for owner, said in (
        ("reader", "experience"),
        ("patient_id", "malignant"),
        ("image_id", "patient_id"),
        (case, "ai_score"),
    ):
        known = ratings.dropna(subset=[owner, said])
        first = known.groupby(owner)[said].transform("first")
        odd = known[known[said] != first]
        for row, who, cell in zip(odd.index, odd[owner], odd[said], strict=True):
            shown = f"{cell:g}" if said in NUMBERS else repr(cell)
            yield Fault(
                int(row),
                said,
                f"{said} is {shown}, but {owner} {who!r} has another one in an "
                "earlier row; make them the same",
            )


def _repeated(ratings: pd.DataFrame) -> Iterator[Fault]:
    keys = ["reader", "arm", case_column(ratings)]
    for row in ratings.index[ratings.duplicated(keys)]:
        reader, arm, case = ratings.loc[row, keys]
        yield Fault(
            int(row),
            keys[-1],
            f"reader {reader!r} has rated {keys[-1]} {case!r} in arm {arm} before; "
            "keep one of the two",
        )


def _mixed(ratings: pd.DataFrame) -> Iterator[Fault]:
    """Yield columns that are filled in some rows only, where it must be all or none."""
    for name in ("image_id", "ai_score", "experience"):
        empty = ratings[name].isna()
        if empty.any() and not empty.all():
            yield Fault(
                int(ratings.index[empty][0]),
                name,
                f"{name} is empty in {int(empty.sum())} of {len(ratings)} rows; "
                "fill it in every row, or in none",
            )
    for (reader, arm), rows in ratings.groupby(["reader", "arm"], sort=False):
        kinds = rows["category"].isna()
        if kinds.any() and not kinds.all():
            yield Fault(
                int(rows.index[kinds][0]),
                "category",
                f"reader {reader!r} has categories and scores in arm {arm}; "
                "use one of the two within a reader and arm",
            )


def _gaps(ratings: pd.DataFrame) -> Iterator[Fault]:
    """Yield readers who did not rate what others did."""
    case = case_column(ratings)
    cases = ratings[case].nunique()
    arms = list(dict.fromkeys(ratings["arm"]))
    if "unaided" not in arms:
        yield Fault(1, "arm", "no row of arm unaided; all else is compared with it")
    rated = ratings.groupby(["reader", "arm"], sort=False)[case].nunique()
    for reader in dict.fromkeys(ratings["reader"]):
        for arm in arms:
            n = int(rated.get((reader, arm), 0))
            if n < cases:
                yield Fault(
                    1,
                    case,
                    f"reader {reader!r} has rated {n} of {cases} in arm {arm}; add "
                    f"what is missing, or leave that {case} out for all",
                )
