"""The paper's Table 6, in its shape and words."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from thyroid_fl.readers.performance import PAPER_COMPARISONS
from thyroid_fl.readers.ratings import RESERVED as AI

Intervals = Literal["clustered", "naive"]
FIRST = "Scoring and Experience Level"
AI_MODEL = "AI Model"
ARM_COLUMNS = {
    "unaided": "Diagnosis without AI Assistance",
    "freestyle": "Diagnosis with Freestyle AI Assistance",
    "rule_based": "Diagnosis with Rule-based AI Assistance",
}
P_COLUMNS = ("P Value 1", "P Value 2", "P Value 3")
COLUMNS = (FIRST, AI_MODEL, *ARM_COLUMNS.values(), *P_COLUMNS)
ABSENT = "NA"

Row = dict[str, str]


def table_6(
    aucs: pd.DataFrame, comparisons: pd.DataFrame, intervals: Intervals = "clustered"
) -> pd.DataFrame:
    """Return AUCs and P values by level, experience and reader, as text.

    P values are not adjusted, as in the paper; ``p_holm`` of the comparisons is.

    Args:
        aucs: see `auc_table`.
        comparisons: see `comparison_table`.
        intervals: clustered by patient, or naive as the paper's at image level.

    Returns:
        Columns `COLUMNS`; headings are rows with empty cells; NA where an arm or the
        AI is absent.
    """
    rows: list[Row] = []
    for unit in dict.fromkeys(aucs["unit"]):
        of_unit = aucs[aucs["unit"] == unit]
        rows.append({FIRST: f"{str(unit).capitalize()}-level scoring"})
        rows.append(_ai_row(of_unit, intervals))
        readers = of_unit[of_unit["reader"] != AI].drop_duplicates("reader")
        for experience, group in readers.groupby("experience", sort=False):
            rows.append({FIRST: f"{experience} radiologists".strip().capitalize()})
            for reader in group["reader"]:
                mine = comparisons[
                    (comparisons["unit"] == unit) & (comparisons["reader"] == reader)
                ]
                rows.append(_reader_row(str(reader), of_unit, mine, intervals))
    return pd.DataFrame(rows, columns=list(COLUMNS)).fillna("")


def p_text(p_value: float) -> str:
    """Return a p value as Radiology prints it.

    >>> p_text(0.0004), p_text(0.0051), p_text(0.0481), p_text(0.38), p_text(0.999)
    ('<.001', '.005', '.048', '.38', '>.99')
    """
    if np.isnan(p_value):
        return ABSENT
    if p_value < 0.001:
        return "<.001"
    if p_value > 0.99:
        return ">.99"
    # Three digits where two would be .00 or hide on which side of .05 it is.
    digits = 3 if p_value < 0.0095 or 0.045 <= p_value < 0.055 else 2
    return f"{p_value:.{digits}f}"[1:]


def _ai_row(aucs: pd.DataFrame, intervals: Intervals) -> Row:
    cells = dict.fromkeys(COLUMNS[2:], ABSENT)
    found = _auc_text(aucs[aucs["reader"] == AI], intervals)
    return {FIRST: "AI model", AI_MODEL: found, **cells}


def _reader_row(
    reader: str, aucs: pd.DataFrame, comparisons: pd.DataFrame, intervals: Intervals
) -> Row:
    of_reader = aucs[aucs["reader"] == reader]
    cells = {
        column: _auc_text(of_reader[of_reader["arm"] == arm], intervals)
        for arm, column in ARM_COLUMNS.items()
    }
    p_values = dict(zip(P_COLUMNS, _p_texts(comparisons, intervals), strict=True))
    return {FIRST: reader, **cells, **p_values}


def _p_texts(comparisons: pd.DataFrame, intervals: Intervals) -> Iterator[str]:
    column = "p_naive" if intervals == "naive" else "p_value"
    for name in PAPER_COMPARISONS:
        found = comparisons.loc[comparisons["comparison"] == name, column]
        yield p_text(float(found.iloc[0])) if len(found) else ABSENT


def _auc_text(rows: pd.DataFrame, intervals: Intervals) -> str:
    if not len(rows):
        return ABSENT
    names: Sequence[str] = ("low", "high")
    if intervals == "naive":
        names = ("low_naive", "high_naive")
    row = rows.iloc[0]
    value, low, high = (float(row[name]) for name in ("auc", *names))
    if np.isnan(value):
        return ABSENT
    return f"{value:.2f} ({low:.2f}, {high:.2f})"
