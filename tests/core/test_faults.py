"""How faults and warnings are put into words."""

from pathlib import Path

import pytest

from thyroid_fl.faults import Fault, count, describe, describe_warnings

CSV, PARQUET = Path("data/m.csv"), Path("data/m.parquet")


@pytest.mark.parametrize(
    ("n", "expected"), [(0, "no faults"), (1, "1 fault"), (2, "2 faults")]
)
def test_a_number_is_put_into_words(n, expected):
    assert count([Fault(2, "", "x")] * n) == expected


def test_a_place_is_a_line_of_a_csv_and_a_row_of_parquet():
    assert describe(Fault(5, "age", "x"), CSV) == "m.csv line 5: x"
    assert describe(Fault(5, "age", "x"), PARQUET) == "m.parquet row 4: x"
    assert describe(Fault(1, "age", "x"), PARQUET) == "m.parquet columns: x"


def test_warnings_of_one_message_are_one_sentence_with_all_rows():
    rows = (9, 2, 4, 3, 7, 3)
    warnings = [*(Fault(row, "image", "text") for row in rows), Fault(3, "mask", "x")]

    assert describe_warnings(warnings, CSV) == [
        "m.csv line 2 and 4 more: warning: text (lines 2-4, 7, 9)",
        "m.csv line 3: warning: x",
    ]
    assert describe_warnings(warnings, PARQUET)[0] == (
        "m.parquet row 1 and 4 more: warning: text (rows 1-3, 6, 8)"
    )
    assert describe_warnings([], CSV) == []
