"""The counts of the hospital's page, by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.client.checking import Checked
from thyroid_fl.client.page_charts import (
    Chart,
    counts,
    patient_charts,
    patients_of,
    picture_charts,
)
from thyroid_fl.columns import LINE, as_cases
from thyroid_fl.picture_check import Inspection

ROWS = [
    # patient hospital malignant sex age tirads vendor boxes
    ("u", "X", 0, "F", 40, "4a", "GE", [[0, 0, 10, 10]]),
    ("u", "X", 1, None, 40, "4a", "GE", [[0, 0, 20, 20], [0, 0, 5, 5]]),
    ("v", "X", 0, "F", 49, "2", "GE", []),
    ("w", "X", None, None, None, None, "Mindray", [[0, 0, 40, 50]]),
    ("u", "Y", 0, "M", 61, "5", None, [[0, 0, 4, 2]]),
]
SIZES = [(100, 80), (100, 80), (0, 0), (40, 50), (100, 80)]


@pytest.fixture
def checked():
    names = ["patient_id", "hospital", "malignant", "sex", "age", "tirads", "vendor"]
    table = pd.DataFrame(ROWS, columns=[*names, "boxes"])
    table["image_id"] = table["image"] = [f"i{k}" for k in range(len(table))]
    table["pixel_mm"] = [0.5, 0.5, 0.5, None, 1]
    cases = as_cases(table).set_index(pd.Index(range(2, 7), name=LINE))
    seen = Inspection(
        faults=[],
        warnings=[],
        thumbnails=np.zeros((5, 64, 64), np.uint8),
        sizes_px=np.array(SIZES),
        boxes=list(cases["boxes"]),
    )
    return Checked(
        path=Path("m.csv"), cases=cases, faults=[], warnings=[], seen=seen, n_alike=2
    )


def told(chart: Chart) -> dict[str, tuple[int, int, int]]:
    return {
        row.name: (row.n_benign, row.n_malignant, row.n_unknown) for row in chart.rows
    }


def test_pictures_and_patients_are_counted(checked):
    assert dict(counts(checked)) == {
        "hospitals": 2, "patients": 4, "benign": 2, "malignant": 1, "pictures": 5,
        "with a mask": 0, "with a box": 4, "like another one of the patient": 2,
    }  # fmt: skip


def test_a_patient_of_two_hospitals_is_two_and_malignant_if_a_picture_is(checked):
    patients = patients_of(checked.cases).set_index(["hospital", "patient_id"])

    assert patients["malignant"].fillna(-1).to_dict() == {
        ("X", "u"): 1, ("X", "v"): 0, ("X", "w"): -1, ("Y", "u"): 0,
    }  # fmt: skip
    assert patients.loc[("X", "u"), ["sex", "n_pictures"]].to_list() == ["F", 2]


def test_patients_are_charted_by_class(checked):
    charts = {chart.title: chart for chart in patient_charts(checked.cases)}

    assert {title: told(chart) for title, chart in charts.items()} == {
        "Hospital": {"X": (1, 1, 1), "Y": (1, 0, 0)},
        "Sex": {"female": (1, 1, 0), "male": (1, 0, 0), "not given": (0, 0, 1)},
        "Age, years": {
            "40\u201349": (1, 1, 0), "50\u201359": (0, 0, 0), "60\u201369": (1, 0, 0),
            "not given": (0, 0, 1),
        },
        "Pictures of a patient": {"1": (2, 0, 1), "2": (0, 1, 0)},
    }  # fmt: skip
    # of 40, 49 and 61
    assert charts["Age, years"].note == "median 49, quartiles 44.5 to 55"
    assert charts["Hospital"].most == 3


def test_pictures_are_charted_by_class(checked):
    charts = {chart.title: chart for chart in picture_charts(checked)}

    assert list(charts) == [
        "Vendor", "TI-RADS", "Size, pixels", "Largest box in the picture",
        "Longer side of that box",
    ]  # fmt: skip
    assert told(charts["Vendor"]) == {
        "GE": (2, 1, 0), "Mindray": (0, 0, 1), "not given": (1, 0, 0)
    }  # fmt: skip
    assert list(told(charts["TI-RADS"])) == [
        "2", "3", "4a", "4b", "4c", "5", "not given"
    ]  # fmt: skip
    assert told(charts["Size, pixels"]) == {
        "100 \u00d7 80": (2, 1, 0), "40 \u00d7 50": (0, 0, 1), "not given": (1, 0, 0)
    }  # fmt: skip
    # 100, 400, 2000 and 8 pixels of 8000, 8000, 2000 and 8000
    assert told(charts["Largest box in the picture"]) == {
        "0\u20131 %": (1, 0, 0), "1\u20132 %": (1, 0, 0), "2\u20135 %": (0, 1, 0),
        "5\u201310 %": (0, 0, 0), "10\u201320 %": (0, 0, 0), "20\u201350 %": (0, 0, 0),
        "50\u2013100 %": (0, 0, 1), "not given": (1, 0, 0),
    }  # fmt: skip
    # 10 and 20 pixels of 0.5 mm, 4 of 1 mm
    assert told(charts["Longer side of that box"]) == {
        "0\u20135 mm": (2, 0, 0), "5\u201310 mm": (0, 1, 0), "not given": (1, 0, 1)
    }  # fmt: skip
    assert charts["Longer side of that box"].note.startswith("median 5 mm")


def test_rare_values_are_summed_and_many_sizes_are_spans(checked):
    many = pd.concat([checked.cases] * 5, ignore_index=True)
    many["vendor"] = [f"V{k:02}" for k in range(25)]
    sizes = np.array([(100 + 10 * k, 90) for k in range(25)])
    seen = Inspection(
        faults=[],
        warnings=[],
        thumbnails=checked.seen.thumbnails,
        sizes_px=sizes,
        boxes=list(many["boxes"]),
    )
    done = Checked(
        path=checked.path, cases=many, faults=[], warnings=[], seen=seen, n_alike=0
    )

    charts = {chart.title: told(chart) for chart in picture_charts(done)}

    assert len(charts["Vendor"]) == 16
    assert sum(charts["Vendor"]["10 others"]) == 10
    assert {name: sum(row) for name, row in charts["Size, pixels"].items()} == {
        "0\u2013128 the longer side": 3, "128\u2013256 the longer side": 13,
        "256\u2013512 the longer side": 9,
    }  # fmt: skip
