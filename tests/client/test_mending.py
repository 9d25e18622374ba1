"""What an import mends of a published set: patients, labels, sides."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from thyroid_fl.client.mending import mend
from thyroid_fl.client.readers.result import Import
from thyroid_fl.columns import LINE
from thyroid_fl.faults import Fault
from thyroid_fl.picture_check import Inspection

PICTURES = np.random.default_rng(1).integers(0, 255, (6, 64, 64), np.uint8)


def seen(thumbnails: np.ndarray) -> Inspection:
    """Say that pictures look like this and have no faults."""
    n = len(thumbnails)
    return Inspection(
        faults=[],
        warnings=[],
        thumbnails=thumbnails,
        sizes_px=np.zeros((n, 2), np.int64),
        boxes=[()] * n,
    )


def mended(shown: str, **columns: str) -> Import:
    """Mend rows that show these pictures; a column is one letter a row, - missing."""
    cells = {
        name: [None if letter == "-" else letter for letter in letters]
        for name, letters in columns.items()
    }
    n = len(shown)
    defaults = {"image_id": list("abcdef"[:n]), "patient_id": list("uvwxyz"[:n])}
    constant = {"hospital": ["H"] * n, "malignant": [None] * n}
    lines = pd.RangeIndex(2, n + 2, name=LINE)
    rows = pd.DataFrame(defaults | constant | cells, lines, dtype="str")
    sides = {"T": "train", "V": "val", "E": "test"}
    for name in rows.columns[rows.columns.str.startswith("split")]:
        rows[name] = rows[name].map(sides)
    files = pd.DataFrame({"image": [Path(__file__)] * n, "mask": None}, lines)
    thumbnails = PICTURES[[int(one) for one in shown]]
    found = Import(rows, Path("source"), is_lenient=True)
    return mend(found, files, seen(thumbnails))


def test_duplicates_join_patients_in_chains():
    done = mended("012122", patient_id="uvwxvz")

    assert "".join(done.rows["patient_id"]) == "uvvvvv"
    assert done.mended[-1].image_ids == ("c", "d", "f")


def test_patients_of_two_hospitals_or_without_a_name_are_not_joined():
    done = mended("0000", hospital="HGHG", patient_id="uv--")

    assert done.rows["patient_id"].fillna("-").tolist() == ["u", "v", "-", "-"]


def test_identical_pictures_with_two_labels_leave_one_without():
    done = mended("0011", malignant="0110", split="TTTE")

    assert done.rows["image_id"].tolist() == ["a", "d"]
    assert done.rows["malignant"].isna().all()


def test_the_side_that_is_held_out_keeps_what_two_sides_share():
    done = mended("001122", split="TETVVT")

    assert done.rows["image_id"].tolist() == ["b", "d", "e"]
    assert done.left_out[-1].image_ids == ("a", "c", "f")


def test_a_fold_keeps_a_patient_whole_outside_the_test():
    done = mended("012", patient_id="uuv", split_1="TVV", split_2="EEV")

    assert done.rows["split_1"].tolist() == ["train", "train", "val"]
    assert done.rows["split_2"].tolist() == ["test", "test", "val"]


def test_warnings_leave_nothing_out_and_change_nothing():
    lines = pd.RangeIndex(2, 5, name=LINE)
    rows = pd.DataFrame(
        {
            "image_id": [*"abc"],
            "patient_id": [*"uvw"],
            "hospital": "H",
            "malignant": "0",
        },
        lines,
    )
    files = pd.DataFrame({"image": [Path(__file__)] * 3, "mask": None}, lines)
    warnings = [Fault(2, "image", "text"), Fault(3, "mask", "x"), Fault(4, "boxes", "")]

    done = mend(
        Import(rows, Path("source"), is_lenient=True),
        files,
        replace(seen(PICTURES[:3]), warnings=warnings),
    )

    assert done.rows.equals(rows)
    assert done.left_out == done.mended == ()


def test_black_pictures_are_no_duplicates():
    rows = mended("0").rows
    black = pd.concat([rows.assign(image_id="a"), rows.assign(image_id="b")])
    black.index = pd.RangeIndex(2, 4, name=LINE)
    black["patient_id"] = ["u", "v"]
    files = pd.DataFrame({"image": [Path(__file__)] * 2, "mask": None}, black.index)

    done = mend(
        Import(black, Path("source"), is_lenient=True),
        files,
        seen(np.zeros((2, 64, 64), np.uint8)),
    )

    assert done.rows["patient_id"].tolist() == ["u", "v"]
