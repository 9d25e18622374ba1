"""The check of a whole manifest: pairs of pictures, labels, hospitals."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.client.checking import Checked, check_manifest

PICTURES = np.random.default_rng(1).integers(0, 255, (9, 6, 8), np.uint8)


@pytest.fixture
def checked(tmp_path):
    """Check rows that show pictures by number; a column is one letter a row."""

    def check(shown: str, **columns: str) -> Checked:
        for number in set(shown):
            picture = Image.fromarray(PICTURES[int(number)]).resize((80, 60))
            picture.save(tmp_path / f"{number}.png")
        cells = {
            name: [None if letter == "-" else letter for letter in letters]
            for name, letters in columns.items()
        }
        n = len(shown)
        table = pd.DataFrame(
            {"image_id": [f"i{k}" for k in range(n)], "hospital": ["H"] * n,
             "image": [f"{number}.png" for number in shown], "malignant": None} | cells
        )  # fmt: skip
        table.to_csv(tmp_path / "manifest.csv", index=False)
        return check_manifest(tmp_path / "manifest.csv", lambda done, total: None)

    return check


def found(done: Checked) -> list[tuple[int, str]]:
    return [(fault.row, fault.column) for fault in done.faults]


def test_one_picture_under_two_patients_is_named_once(checked):
    done = checked("0100", patient_id="uvwx")

    assert found(done) == [(4, "image"), (5, "image")]
    for fault, who in zip(
        done.faults, ("i2 of patient w", "i3 of patient x"), strict=True
    ):
        assert f"picture {who} is (nearly) the same as i0 of patient u" in fault.message


def test_alike_pictures_of_a_patient_are_counted_and_no_fault(checked):
    done = checked("00012", patient_id="uuuuv")

    assert found(done) == []
    assert done.n_alike == 2


def test_one_picture_with_two_labels_is_a_fault_even_of_one_patient(checked):
    done = checked("0001", patient_id="uuuv", malignant="-010")

    assert found(done) == [(4, "malignant")]
    assert "malignant is 1 for picture i2, but 0 for i1" in done.faults[0].message


def test_two_nodules_of_a_patient_may_share_a_picture(checked):
    two = checked("00", patient_id="uu", malignant="01", nodule_id="ab")
    one = checked("00", patient_id="uu", malignant="01", nodule_id="a-")
    other = checked("00", patient_id="uv", malignant="01", nodule_id="ab")

    assert found(two) == []
    assert found(one) == [(3, "malignant")]
    assert found(other) == [(3, "image"), (3, "malignant")]


def test_pictures_of_one_level_are_not_alike(checked, tmp_path):
    checked("01", patient_id="uv")
    for name in "01":
        Image.new("L", (80, 60), 200).save(tmp_path / f"{name}.png")

    done = check_manifest(tmp_path / "manifest.csv", lambda done, total: None)

    assert found(done) == []
    assert [one.row for one in done.warnings if "is empty" in one.message] == [2, 3]


def test_hospitals_of_one_class_or_few_patients_are_warned_of(checked):
    done = checked(
        "012345678", patient_id="abcdefghi", hospital="XXYYZZWWV", malignant="0011--01-"
    )

    assert found(done) == []
    texts = [one.message.split(":")[0] for one in done.warnings]
    assert texts == [
        "fewer than 10 patients in V, W, X, Y, Z",
        "no malignant patient in X",
        "no benign patient in Y",
        "no patient with pathology in V, Z",
    ]
    assert [one.row for one in done.warnings] == [2, 2, 4, 6]


def test_a_patient_is_malignant_where_a_picture_is(checked):
    done = checked("0123", patient_id="aabb", malignant="010-")

    messages = " ".join(one.message for one in done.warnings)
    assert "no benign" not in messages
    assert "no malignant" not in messages


def test_at_most_ten_hospitals_are_listed(tmp_path):
    Image.fromarray(PICTURES[0]).save(tmp_path / "0.png")
    rows = {
        "image_id": [f"i{k}" for k in range(13)],
        "patient_id": ["p"] * 13,
        "hospital": [f"H{k:02}" for k in range(13)],
        "image": "0.png",
        "malignant": 1,
    }
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)

    done = check_manifest(tmp_path / "m.csv", lambda done, total: None)

    assert (
        "H09 and 3 more hospitals: such a hospital can train"
        in done.warnings[-1].message
    )
