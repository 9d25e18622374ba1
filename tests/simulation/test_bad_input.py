"""Bad input, end to end: a clear message, exit code 2, and nothing half-written."""

import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from thyroid_fl.client.cli import main as client
from thyroid_fl.simulation.cli import main as sim


@pytest.fixture
def manifest(small_manifest, tmp_path):
    """Copy the small federation, to be spoilt."""
    folder = tmp_path / "hospitals"
    shutil.copytree(
        small_manifest.parent, folder, ignore=shutil.ignore_patterns("pixels")
    )
    return folder / "manifest.csv"


def edit(manifest, line, **cells):
    """Change cells of the row on this line of the file."""
    table = pd.read_csv(manifest, dtype="str")
    for name, cell in cells.items():
        if name not in table:
            table[name] = None
        table.loc[line - 2, name] = cell
    table.to_csv(manifest, index=False)


def truncate(manifest):
    picture = manifest.parent / "images" / "7-1.png"
    picture.write_bytes(picture.read_bytes()[:200])


def drop(manifest, column):
    pd.read_csv(manifest, dtype="str").drop(columns=column).to_csv(
        manifest, index=False
    )


def divide(manifest):
    """Give every patient a side."""
    table = pd.read_csv(manifest, dtype="str")
    number = table["patient_id"].str[1:].astype(int)
    table["split"] = (number % 3).map({0: "train", 1: "val", 2: "test"})
    table.to_csv(manifest, index=False)


def leak(manifest):
    """Put a patient on two sides."""
    divide(manifest)
    edit(manifest, 15, split="test")  # p6 has lines 14 and 15


def copy(manifest):
    """Give a picture to a second patient, on another side."""
    divide(manifest)
    images = manifest.parent / "images"
    shutil.copyfile(images / "7-0.png", images / "8-1.png")


FAULTS = {
    "unreadable picture": (
        truncate, "7-1.png", "line 17: picture 'images/7-1.png' cannot be read",
    ),
    "patient in two hospitals": (
        lambda path: edit(path, 3, hospital="H3"),
        "line 3: hospital is 'H3', but an earlier row has 'H0' for patient_id 'p0'; "
        "a patient belongs to one hospital",
    ),
    "negative age": (
        lambda path: edit(path, 4, age="-3"),
        "line 4: age is '-3'; expected years from 0 to 120",
    ),
    "box outside the picture": (
        lambda path: edit(path, 5, boxes="[[15, 10, 51, 30]]"),
        "box [15, 10, 51, 30] reaches outside the picture of 50 x 40 pixels",
    ),
    "missing column": (
        lambda path: drop(path, "malignant"),
        "line 1: the column malignant is missing; expected 0 (benign), 1 (malignant)",
    ),
    "leaking split": (
        leak,
        "line 15: split is 'test', but an earlier row has 'train' for patient_id 'p6'; "
        "what is known from training cannot be tested",
    ),
    "picture on two sides": (
        copy,
        "picture: 7-0 is in val, 8-1 in test",
        "line 19: picture 8-1 of patient p8 is (nearly) the same as 7-0 of patient p7",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "in_compare", "in_check"),
    [(fault[0], fault[1], fault[-1]) for fault in FAULTS.values()],
    ids=FAULTS,
)
def test_a_spoilt_manifest_is_refused_by_name_and_leaves_nothing(
    manifest, tmp_path, spoil, in_compare, in_check
):
    spoil(manifest)
    out = tmp_path / "out"
    command = ["compare", "--data", str(manifest), "--image-px", "32", "--threads", "1"]
    command += ["--split", "manifest"] if spoil in (leak, copy) else []

    compared = CliRunner().invoke(sim, [*command, "--out", str(out)])
    checked = CliRunner().invoke(client, ["check", str(manifest)])

    assert compared.exit_code == 2
    assert "\nerror: " in f"\n{compared.stderr}"
    assert in_compare in " ".join(compared.stderr.split())
    assert "Traceback" not in compared.output
    assert not out.exists()
    assert not list(manifest.parent.glob("pixels/.*"))
    assert checked.exit_code == 1
    assert in_check in checked.stdout
    assert "Traceback" not in checked.output


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        (["test"], "has no picture to train with; choose another split"),
        (["train", "val"], "has no picture to test with; choose another split"),
        (["train", "test"], "no hospital's validation reports; use 'last'"),
    ],
)
def test_a_side_without_pictures_is_refused(manifest, tmp_path, sides, message):
    table = pd.read_csv(manifest, dtype="str")
    number = table["patient_id"].str[1:].astype(int)
    table["split"] = [sides[k % len(sides)] for k in number]
    table.to_csv(manifest, index=False)
    command = ["compare", "--data", str(manifest), "--image-px", "32", "--threads", "1"]
    command += ["--rounds", "1", "--singles", "0", "--tuned", "0", "--jobs", "1"]

    done = CliRunner().invoke(
        sim, [*command, "--split", "manifest", "--out", str(tmp_path / "out")]
    )

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
