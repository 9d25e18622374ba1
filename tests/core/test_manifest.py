"""The manifest: every fault is named with its place; what is read is always alike."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from thyroid_fl.columns import COLUMNS, as_cases
from thyroid_fl.errors import ManifestError
from thyroid_fl.manifest import (
    manifest_faults,
    read_manifest,
    read_table,
    write_manifest,
)
from thyroid_fl.picture_check import inspect_pictures

GOOD = {
    "image_id": ["a", "b", "c"],
    "patient_id": ["001", "001", "2"],
    "hospital": ["H1", "H1", "H2"],
    "image": ["a.png", "b.png", "c.png"],
    "malignant": ["1", "1", ""],
}


@pytest.fixture
def folder(tmp_path):
    for name in "abc":
        Image.new("L", (30, 20), 100).save(tmp_path / f"{name}.png")
    return tmp_path


def write_csv(folder: Path, **columns: list[str]) -> Path:
    path = folder / "manifest.csv"
    pd.DataFrame({**GOOD, **columns}).to_csv(path, index=False)
    return path


def messages(path: Path) -> list[str]:
    with pytest.raises(ManifestError) as error:
        read_manifest(path)
    return str(error.value).splitlines()[1:]


def test_optional_columns_are_filled_with_fixed_dtypes(folder):
    cases = read_manifest(
        write_csv(folder, boxes=["[[1, 2, 3, 4]]", "", "[]"], age=["46", "", ""])
    )

    assert list(cases) == list(COLUMNS)
    assert cases["patient_id"].tolist() == ["001", "001", "2"]
    assert cases["boxes"].tolist() == [((1, 2, 3, 4),), (), ()]
    np.testing.assert_equal(cases["malignant"].to_numpy(), [1.0, 1.0, np.nan])
    assert cases["vendor"].isna().all()
    assert cases["age"].dtype == cases["frame"].dtype == np.float64
    assert cases["sex"].dtype == cases["split"].dtype == cases["image_id"].dtype


@pytest.mark.parametrize("name", ["again.csv", "again.parquet"])
def test_what_is_written_is_read_again(folder, name):
    cases = read_manifest(
        write_csv(
            folder,
            boxes=["[[1, 2, 3, 4], [0, 0, 9, 9]]", "", ""],
            age=["46", "0", ""],
            tirads=["4a", "5", ""],
            split=["train", "train", "test"],
            split_1=["train", "train", ""],
            split_2=["test", "test", "val"],
            pixel_mm=["0.0712345678901", "", ""],
        )
    )

    write_manifest(cases, folder / name)

    pd.testing.assert_frame_equal(read_manifest(folder / name), cases)


def test_a_failed_write_leaves_the_old_file(folder, monkeypatch):
    path = write_csv(folder)
    cases = read_manifest(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(cases, path)

    assert path.read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == [
        "a.png", "b.png", "c.png", "manifest.csv"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        (
            "split",
            ["train", "Train", "val"],
            "line 3: split is 'Train'; expected one of train, val, test",
        ),
        ("age", ["-3", "", "44"], "line 2: age is '-3'; expected years from 0 to 120"),
        ("age", ["", "old", ""], "line 3: age is 'old'; expected years from 0 to 120"),
        ("malignant", ["1", "1", "2"], "line 4: malignant is '2'; expected 0 (benign)"),
        ("tirads", ["4d", "", ""], "line 2: tirads is '4d'; expected one of 2, 3, 4a"),
        ("sex", ["", "f", ""], "line 3: sex is 'f'; expected one of F, M"),
        ("view", ["", "", "sagittal"], "line 4: view is 'sagittal'; expected one of"),
        ("region", ["west", "", ""], "line 2: region is 'west'; expected one of east"),
        ("frame", ["", "", "1.5"], "line 4: frame is '1.5'; expected a frame number"),
        ("pixel_mm", ["0", "", ""], "line 2: pixel_mm is '0'; expected millimetres"),
        ("image_id", ["a", "b", "a"], "line 4: image_id is 'a'; expected a name that"),
        ("image_id", ["a", "b", ""], "line 4: image_id is empty; expected a name that"),
        ("hospital", ["H1 ", "H1 ", ""], "line 4: hospital is empty; expected the"),
        ("patient_id", ["1", "1", " 2"], "line 4: patient_id is ' 2'; expected the"),
        ("image", ["a.png", "b.png", "d.png"], "line 4: image 'd.png' is not in"),
        ("image", ["a.png", "/b.png", "c.png"], "line 3: image is '/b.png'; expected"),
        ("mask", ["../a.png", "", ""], "line 2: mask is '../a.png'; expected the path"),
        ("split_2", ["", "x", ""], "line 3: split_2 is 'x'; expected one of train"),
        (
            "split",
            ["train", "test", "val"],
            "line 3: split is 'test', but an earlier row has 'train' for patient_id",
        ),
        (
            "split_1",
            ["train", "val", ""],
            "line 3: split_1 is 'val', but an earlier row has 'train' for patient_id",
        ),
        ("boxes", ["", "[[3, 0, 1, 1]]", ""], "line 3: boxes is '[[3, 0, 1, 1]]'"),
        ("boxes", ["[[-1, 0, 1, 1]]", "", ""], "line 2: boxes is '[[-1, 0, 1, 1]]'"),
        ("boxes", ["[[0, 0, 1]]", "", ""], "line 2: boxes is '[[0, 0, 1]]'; expected"),
        ("boxes", ["[[0, 0, 1.5, 2]]", "", ""], "line 2: boxes is '[[0, 0, 1.5, 2]]'"),
        ("boxes", ["", "", "1 2 3 4"], "line 4: boxes is '1 2 3 4'; expected a JSON"),
        ("split", ["train", "", "val"], "line 3: split is empty, but other rows have"),
        ("Age", ["44", "", ""], "line 1: unknown column 'Age'; did you mean age?"),
        ("zzz", ["", "", ""], "line 1: unknown column 'zzz'; Rename or remove it"),
    ],
)
def test_a_bad_cell_is_named_with_line_column_and_remedy(
    folder, column, cells, expected
):
    found = messages(write_csv(folder, **{column: cells}))

    assert any(line.startswith(f"manifest.csv {expected}") for line in found)


def test_a_patient_in_two_hospitals_is_a_fault(folder):
    found = messages(write_csv(folder, hospital=["H1", "H2", "H2"]))

    assert found == [
        "manifest.csv line 3: hospital is 'H2', but an earlier row has 'H1' for "
        "patient_id '001'; a patient belongs to one hospital: give each its own "
        "patient_id"
    ]


def test_contradictory_pathology_is_a_fault_only_within_one_nodule(folder):
    labels = ["0", "1", ""]
    read_manifest(write_csv(folder, malignant=labels, nodule_id=["n1", "n2", "n1"]))

    found = messages(write_csv(folder, malignant=labels, nodule_id=["n", "n", "n"]))

    assert len(found) == 1
    assert found[0].startswith(
        "manifest.csv line 3: malignant is 1, but an earlier row has 0 for "
        "patient_id '001', nodule_id 'n'"
    )


def test_all_faults_come_at_once_in_the_order_of_lines(folder):
    path = write_csv(folder, age=["-1", "", "130"], sex=["", "x", ""])
    table = pd.read_csv(path, dtype="str").drop(columns="patient_id")
    table.to_csv(path, index=False)

    found = messages(path)

    assert [line.split(";")[0] for line in found] == [
        "manifest.csv line 1: the column patient_id is missing",
        "manifest.csv line 2: age is '-1'",
        "manifest.csv line 3: sex is 'x'",
        "manifest.csv line 4: age is '130'",
    ]


def test_blank_lines_and_quoted_breaks_do_not_shift_line_numbers(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_text('image_id,device\n\na,"two\nlines"\n\nb,x\n', encoding="utf-8-sig")

    table = read_table(path)

    assert table.index.tolist() == [4, 6]
    assert table["device"].tolist() == ["two\nlines", "x"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"image_id,age\na,1,2\n", "line 2: 3 cells, but the header has 2"),
        ("image_id\nä\n".encode("latin-1"), "not UTF-8"),
        (b"image_id,image_id\n", "image_id stands twice"),
        (b"image_id\n", "no rows"),
    ],
)
def test_a_file_that_is_no_table_is_a_clear_error(tmp_path, content, expected):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)

    with pytest.raises(ManifestError, match=expected):
        read_manifest(path)


def test_parquet_keeps_real_lists_and_numbers(folder):
    table = pd.DataFrame({**GOOD, "malignant": [1, 1, None], "tirads": ["2", "5", "3"]})
    table["boxes"] = [[[0, 0, 5, 6]], None, []]
    table["patient_id"] = [7, 7, 8]
    table.to_parquet(folder / "m.parquet")

    cases = read_manifest(folder / "m.parquet")

    assert cases["boxes"].tolist() == [((0, 0, 5, 6),), (), ()]
    assert cases["patient_id"].tolist() == ["7", "7", "8"]


def test_parquet_text_may_be_stored_as_bytes(folder):
    text = ["Ä".encode(), None, b"GE"]
    table = pd.DataFrame(GOOD).assign(vendor=text, malignant=[1, 1, None])
    table.to_parquet(folder / "m.parquet")

    cases = read_manifest(folder / "m.parquet")

    assert cases["vendor"].fillna("-").tolist() == ["Ä", "-", "GE"]


@pytest.mark.parametrize("name", ["image_id", "image", "malignant", "boxes", "age"])
@pytest.mark.parametrize(
    "cells",
    [
        [[1, 2], [3], None],
        [[["a"]], [], [["b"]]],
        [{"a": 1}, {"a": 2}, None],
        pd.to_timedelta([1, 2, 3], "D"),
        pd.to_datetime(["2024-05-01"] * 3),
        [np.inf, -np.inf, np.nan],
        ["\0", "..", "x" * 5000],
    ],
    ids=["lists", "nested", "dicts", "times", "dates", "infinite", "odd"],
)
def test_any_cell_of_parquet_is_checked(folder, name, cells):
    path = folder / "m.parquet"
    good = pd.DataFrame(GOOD).assign(malignant=[1, 1, None])
    good.assign(**{name: cells}).to_parquet(path)

    table = read_table(path)
    faults = manifest_faults(table, folder)
    inspect_pictures(as_cases(table), folder)

    assert {fault.column for fault in faults} <= {name}


def test_columns_of_parquet_may_be_called_by_number(folder):
    table = pd.DataFrame({0: ["a"], 1: ["b"]})
    table.to_parquet(folder / "m.parquet")

    assert "m.parquet columns: unknown column '0'; Rename" in "\n".join(
        messages(folder / "m.parquet")
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"PAR1", b"PAR2", "cannot read the table"),
        ("ä".encode(), b"\xff\xff", "not UTF-8 text"),
    ],
)
def test_a_damaged_parquet_is_a_clear_error(folder, old, new, expected):
    table = pd.DataFrame(GOOD).assign(vendor=["ä".encode()] * 3)
    table.to_parquet(folder / "m.parquet", compression=None)
    content = (folder / "m.parquet").read_bytes()
    (folder / "m.parquet").write_bytes(content.replace(old, new))

    with pytest.raises(ManifestError, match=expected):
        read_manifest(folder / "m.parquet")


@pytest.mark.parametrize("words", ["{}", "[]", '{"columns": 1}', "\0"])
def test_a_parquet_with_wrong_words_about_itself_is_a_clear_error(folder, words):
    table = pa.Table.from_pandas(pd.DataFrame(GOOD))
    table = table.replace_schema_metadata({"pandas": words})
    pq.write_table(table, folder / "m.parquet")

    with pytest.raises(ManifestError, match="cannot read the table"):
        read_manifest(folder / "m.parquet")


def test_a_typed_frame_is_checked_like_a_file(folder):
    cases = read_manifest(write_csv(folder))
    cases.loc[1, "age"] = -2.0

    faults = manifest_faults(cases, folder)

    assert [(fault.row, fault.column) for fault in faults] == [(3, "age")]
    assert faults[0].message.startswith("age is -2; expected years")


def test_pictures_that_cannot_serve_are_named(folder):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) - 30])
    (folder / "c.png").write_text("no picture")
    Image.new("L", (30, 21), 255).save(folder / "larger.png")
    Image.new("L", (30, 20), 0).save(folder / "empty.png")
    cases = read_manifest(
        write_csv(folder, boxes=["[[0, 0, 31, 20]]", "", ""], mask=["empty.png"] * 3)
    )
    larger = cases.iloc[:1].assign(mask="larger.png", boxes=[()])
    cases = pd.concat([cases, larger], ignore_index=True)
    told = []

    faults = inspect_pictures(
        cases, folder, lambda done, total: told.append(done)
    ).faults

    assert [(fault.row, fault.column) for fault in faults] == [
        (2, "boxes"), (2, "mask"), (3, "image"), (4, "image"), (5, "mask")
    ]  # fmt: skip
    texts = [fault.message for fault in faults]
    assert "outside the picture of 30 x 20 pixels" in texts[0]
    assert "no pixel above 127" in texts[1]
    assert "cannot be read" in texts[2]
    assert "cannot be read" in texts[3]
    assert "30 x 21 pixels, but its picture 30 x 20" in texts[4]
    assert told == [1, 2, 3, 4]
