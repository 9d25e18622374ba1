"""`thyroid-client import` and `check`: exit codes, clear messages, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from thyroid_fl.client import cli
from thyroid_fl.client.cli import main


@pytest.fixture
def source(tmp_path):
    """Write a folder of four sound pictures with one CSV."""
    folder = tmp_path / "source"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in "abcd":
        noise = rng.integers(0, 255, (6, 8), np.uint8)
        Image.fromarray(noise).resize((80, 60)).save(folder / f"{name}.png")
    (folder / "manifest.csv").write_text(
        "image_id,patient_id,hospital,image,malignant,age,boxes\n"
        'a,p1,H1,a.png,1,44,"[[0, 0, 80, 60]]"\n'
        "b,p1,H1,b.png,1,44,\n"
        "c,p2,H2,c.png,0,,\n"
        "d,p3,H2,d.png,,51,\n"
    )
    return folder


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def edit(folder: Path, old: str, new: str) -> Path:
    path = folder / "manifest.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


BAD_TABLES = {
    "patient in two hospitals": (
        "c,p2,H2", "c,p1,H2", "line 4: hospital is 'H2', but an earlier row has 'H1'",
    ),
    "negative age": ("p3,H2,d.png,,51", "p3,H2,d.png,,-51", "line 5: age is '-51';"),
    "box outside": ("80, 60]]", "81, 60]]", "line 2: box [0, 0, 81, 60] reaches"),
    "missing column": ("malignant", "split_1", "line 1: the column malignant is miss"),
    "unknown column": ("age", "Age", "line 1: unknown column 'Age'; did you mean age?"),
    "absent picture": ("d.png", "e.png", "line 5: image 'e.png' is not in"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "expected"), BAD_TABLES.values(), ids=BAD_TABLES
)
def test_a_bad_table_is_named_and_nothing_is_written(
    source, tmp_path, old, new, expected
):
    path = edit(source, old, new)

    checked = call("check", path)
    imported = call("import", "folder", source, tmp_path / "out")

    assert checked.exit_code == 1
    assert f"manifest.csv {expected}" in checked.stdout
    assert imported.exit_code == 2
    assert f"manifest.csv {expected}" in imported.stderr
    assert imported.stderr.startswith("error: ")
    assert "Traceback" not in imported.output
    assert [one.name for one in tmp_path.iterdir()] == ["source"]


def test_an_unreadable_picture_is_named_and_nothing_is_written(source, tmp_path):
    whole = (source / "b.png").read_bytes()
    (source / "b.png").write_bytes(whole[: len(whole) // 2])

    checked = call("check", source / "manifest.csv")
    imported = call("import", "folder", source, tmp_path / "out")

    assert checked.exit_code == 1
    assert "line 3: picture 'b.png' cannot be read" in checked.stdout
    assert imported.exit_code == 2
    assert "line 3: picture 'b.png' cannot be read" in imported.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["source"]


def test_table_and_picture_faults_come_together(source):
    edit(source, "80, 60]]", "81, 60]]")
    (source / "c.png").write_text("")
    path = edit(source, "51", "151")

    checked = call("check", path)

    lines = [line for line in checked.stdout.splitlines() if ": warning:" not in line]
    assert [line.split(":")[0] for line in lines] == [
        "manifest.csv line 2", "manifest.csv line 4", "manifest.csv line 5",
        "manifest.csv",
    ]  # fmt: skip
    assert lines[-1].startswith(
        "manifest.csv: 3 faults, 3 warnings; 4 pictures of 3 pa"
    )


def test_a_clean_folder_is_imported_and_clean_again(source, tmp_path):
    imported = call("import", "folder", source, tmp_path / "out")
    checked = call("check", tmp_path / "out/manifest.csv")

    assert (imported.exit_code, checked.exit_code) == (0, 0)
    assert "4 pictures of 3 patients in 2 hospitals" in imported.stdout
    assert "manifest.csv: no faults, 3 warnings; 4 pictures" in checked.stdout


def test_one_picture_under_two_patients_is_a_fault(source):
    (source / "d.png").write_bytes((source / "a.png").read_bytes())

    checked = call("check", source / "manifest.csv")

    assert checked.exit_code == 1
    assert (
        "line 5: picture d of patient p3 is (nearly) the same as a of patient p1"
        in checked.stdout
    )


def test_alike_pictures_of_one_patient_are_no_fault(source):
    (source / "b.png").write_bytes((source / "a.png").read_bytes())

    checked = call("check", source / "manifest.csv")

    assert checked.exit_code == 0
    assert ", 1 (nearly) the same as another one of the patient" in checked.stdout


def test_warnings_are_printed_before_the_faults_and_are_none(source, tmp_path):
    mask = Image.new("1", (80, 60), 1)
    mask.save(source / "all.png")
    path = edit(source, "image,malignant,age,boxes", "image,malignant,age,mask")
    edit(source, '"[[0, 0, 80, 60]]"', "all.png")

    checked = call("check", path)
    imported = call("import", "folder", source, tmp_path / "out")

    assert (checked.exit_code, imported.exit_code) == (0, 0)
    assert (tmp_path / "out/masks/all.png").is_file()
    assert "line 2: warning: mask 'all.png' covers 100%" in checked.stdout
    edit(source, "51", "151")
    places = [line.split(":")[1] for line in call("check", path).stdout.splitlines()]
    assert places[:-2] == [" warning"] * 4
    assert places[-2].startswith(" age is '151'")
    assert places[-1].startswith(" 1 fault, 4 warnings; 4 pictures")


def test_the_page_is_written_with_faults_too(source, tmp_path):
    path = edit(source, "51", "151")

    checked = call("check", path, "--html", tmp_path / "page.html")

    assert checked.exit_code == 1
    assert "page.html: written; it shows patients" in checked.stdout
    assert "expected years from 0 to 120" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("name", ["manifest.csv", "page", "no/page.html"])
def test_a_page_of_another_name_or_place_is_refused_before_the_check(source, name):
    before = (source / "manifest.csv").read_text()

    checked = call("check", source / "manifest.csv", "--html", source / name)

    assert checked.exit_code == 2
    assert "name a file .html in a folder that exists" in checked.stderr
    assert checked.stdout == ""
    assert (source / "manifest.csv").read_text() == before


def test_the_option_hospital_names_the_only_hospital(source, tmp_path):
    path = source / "manifest.csv"
    rows = [line.split(",", 3) for line in path.read_text().splitlines()]
    path.write_text("\n".join(f"{a},{b},{d}" for a, b, _, d in rows))

    without = call("import", "folder", source, tmp_path / "out")
    named = call("import", "folder", source, tmp_path / "out", "--hospital", "H9")

    assert without.exit_code == 2
    assert "column hospital is missing" in without.stderr
    assert "--hospital NAME" in without.stderr
    assert named.exit_code == 0


def test_what_cannot_run_ends_with_two_and_a_remedy(source, tmp_path):
    (tmp_path / "there").mkdir()

    for arguments, expected in (
        (("import", "nifti", source, tmp_path / "o"), "known formats: auitd, "),
        (("import", "folder", source, tmp_path / "there"), "name a new folder"),
        (("import", "folder", tmp_path / "no", tmp_path / "o"), "is no folder"),
        (("check", tmp_path / "no.csv"), "No such file or directory; check the path"),
        (("check", "--unknown"), "No such option"),
        (("import", "folder"), "Missing argument"),
    ):
        ended = call(*arguments)
        assert ended.exit_code == 2, arguments
        assert expected in ended.stderr
        assert "Traceback" not in ended.output
    assert sorted(one.name for one in tmp_path.iterdir()) == ["source", "there"]


def test_the_unforeseen_is_one_line_and_debug_shows_where(source, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("a\nsurprise")

    monkeypatch.setattr(cli, "check_manifest", fail)
    plain = call("check", source / "manifest.csv")
    debug = call("check", source / "manifest.csv", "--debug")

    assert (plain.exit_code, debug.exit_code) == (2, 2)
    assert plain.stderr.startswith("error: RuntimeError: a surprise\n")
    assert "--debug" in plain.stderr
    assert "Traceback" not in plain.output
    assert "Traceback" in debug.stderr


def test_help_needs_no_torch():
    code = (
        "import sys, thyroid_fl.client.cli; "
        "sys.exit(bool({'torch', 'flwr', 'mlflow', 'ultralytics'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)

    assert done.returncode == 0


def test_the_help_names_the_formats(capsys):
    with pytest.raises(SystemExit):
        main(["import", "--help"])

    assert "busbra" in capsys.readouterr().out
