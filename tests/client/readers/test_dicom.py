"""`thyroid-client import dicom`: what crosses is named, what is left out is listed."""

import os
import stat
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGBaseline8Bit
from typer.testing import CliRunner

from thyroid_fl.client.cli import main
from thyroid_fl.manifest import read_manifest

SECRETS = {
    "PatientID": "HOSP-0815",
    "IssuerOfPatientID": "Elsewhere Registry",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19610203",
    "PatientAddress": "1 Main Street",
    "InstitutionName": "St Elsewhere",
    "AccessionNumber": "ACC4711",
    "ReferringPhysicianName": "Who^Doctor",
    "OperatorsName": "Scan^Ner",
    "StudyDate": "20240517",
    "StudyTime": "081547",
    "StudyDescription": "left lobe of the mayor",
    "PatientComments": "neighbour",
    "DeviceSerialNumber": "SN99887",
    "StationName": "ROOM-7",
    "StudyInstanceUID": "1.2.826.0.1.4711",
    "SOPInstanceUID": "1.2.826.0.1.4712",
}
"""What a file says, and nothing that is written may."""


@pytest.fixture
def run(tmp_path):
    """Import `tmp_path/source` into a new folder; return the result."""

    def call(out="out", hospital=("--hospital", "H")):
        paths = str(tmp_path / "source"), str(tmp_path / out)
        return CliRunner().invoke(main, ["import", "dicom", *paths, *hospital])

    return call


@pytest.fixture
def add(write_dicom, dicom_picture, tmp_path):
    """Write a file into `tmp_path/source`."""

    def write(name, seed=0, pixels=None, **stored):
        pixels = dicom_picture(seed) if pixels is None else pixels
        return write_dicom(tmp_path / "source" / name, pixels, **stored)

    return write


@pytest.fixture
def cases(tmp_path):
    """Read what an import wrote."""
    return lambda out="out": read_manifest(tmp_path / out / "manifest.csv")


def png_chunks(content):
    """Yield the type of every chunk of a PNG."""
    place = 8
    while place < len(content):
        (length,) = struct.unpack(">L", content[place : place + 4])
        yield content[place + 4 : place + 8].decode()
        place += length + 12


def test_a_picture_is_cut_to_the_scan_and_described(
    add, run, cases, tmp_path, dicom_picture, dicom_region
):
    screen = np.stack([dicom_picture(1)] * 3, axis=-1)
    screen[:12] = 255  # the patient's name stands here
    add("IM_0001", pixels=screen, regions=(dicom_region(10, 12, 69, 59),))

    done = run()
    row = cases().iloc[0]

    assert done.exit_code == 0
    assert "1 pictures of 1 patients in 1 hospital" in done.stdout
    assert "warning" not in done.stdout
    assert (row["hospital"], row["vendor"]) == ("H", "GE Healthcare")
    assert (row["device"], row["sex"], row["age"]) == ("LOGIQ E9", "F", 45)
    assert row["pixel_mm"] == 0.1
    assert row[["malignant", "frame", "nodule_id", "view"]].isna().all()
    with Image.open(tmp_path / "out" / row["image"]) as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(picture, dicom_picture(1)[12:60, 10:70])


def test_nothing_but_pixels_and_named_values_crosses(add, run, tmp_path, dicom_region):
    content = b""
    for number, regions in enumerate([(dicom_region(10, 12, 69, 59),), ()]):
        instance = {"SOPInstanceUID": f"1.2.826.0.1.4712.{number}"}
        name = f"Doe_Jane/19610203-{number}.dcm"
        path = add(name, number, regions=regions, **SECRETS | instance)
        content += path.read_bytes()
    (tmp_path / "source/labels.csv").write_text("patient_id,malignant\nHOSP-0815,1\n")

    done = run()

    assert done.exit_code == 0
    for secret in SECRETS.values():
        assert secret.encode() in content
    hidden = [*SECRETS.values(), "Jane", "Doe", "IM_0001", "dcm"]
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == 3
    for path in written:
        searched = path.read_bytes() + str(path.relative_to(tmp_path)).encode()
        assert not [secret for secret in hidden if secret.encode() in searched]
        if path.suffix == ".png":
            assert set(png_chunks(path.read_bytes())) == {"IHDR", "IDAT", "IEND"}


def test_private_tags_and_nested_names_do_not_cross(add, run, tmp_path):
    item = Dataset()
    item.PatientName = "Doe^Jane"
    path = add("one", OtherPatientIDsSequence=[item])
    tags = dcmread(path)
    tags.private_block(0x0009, "VENDOR 1.0", create=True).add_new(1, "LO", "Doe")
    tags.save_as(path)

    assert path.read_bytes().count(b"Doe") == 2
    assert run().exit_code == 0
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"Doe" not in path.read_bytes()


def test_one_patient_has_one_pseudonym_with_one_key(add, run, cases, tmp_path):
    add("a/1", 1, PatientID="007")
    add("a/2", 2, PatientID="007 ")
    add("b/1", 3, PatientID="008")
    add("b/2", 4, PatientID="007", IssuerOfPatientID="Another clinic")

    first = run("first")
    second = run("second")
    key = tmp_path / "config/thyroid-fl/pseudonym.key"
    mode = stat.S_IMODE(key.stat().st_mode)
    key.unlink()
    run("third")

    patients = cases("first")["patient_id"]
    assert sorted(patients.value_counts()) == [1, 1, 2]
    assert patients.str.fullmatch("P[0-9a-f]{16}").all()
    assert mode == 0o600
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert (
        cases("second")
        .drop(columns="image")
        .equals(cases("first").drop(columns="image"))
    )
    assert not set(cases("third")["patient_id"]) & set(patients)
    assert not set(cases("third")["image_id"]) & set(cases("first")["image_id"])


def test_without_a_patient_id_a_study_is_a_patient(add, run, cases):
    add("1", 1, PatientID="", StudyInstanceUID="1.2.3")
    add("2", 2, PatientID=None, StudyInstanceUID="1.2.3")
    add("3", 3, PatientID="", StudyInstanceUID="1.2.4")

    done = run()

    assert cases()["patient_id"].nunique() == 2
    assert "mended: 3 pictures, because there is no Patient ID" in done.stdout


def test_a_key_that_others_may_read_ends_the_import(add, run, tmp_path):
    add("1")
    run("first")
    (tmp_path / "config/thyroid-fl/pseudonym.key").chmod(0o644)

    done = run()

    assert done.exit_code == 2
    assert "chmod 600" in done.stderr
    assert not (tmp_path / "out").exists()


def test_of_a_clip_one_frame_a_second_is_taken(
    add, run, cases, dicom_picture, tmp_path
):
    clip = np.stack([dicom_picture(seed) for seed in range(7)])
    add("1", pixels=clip, FrameTime=330)
    add("2", pixels=clip[::-1], CineRate=1)
    add("3", pixels=clip[3:])

    done = run()
    frames = cases().groupby(cases()["image_id"].str[:17])["frame"].agg(list)

    assert sorted(frames) == [[0], [0, 1, 2, 3, 4, 5, 6], [0, 3, 6]]
    assert "left out: 7 frames, because of a clip, one frame a second" in done.stdout
    third = cases()[cases()["frame"] == 3].iloc[0]
    with Image.open(tmp_path / "out" / third["image"]) as picture:
        np.testing.assert_array_equal(picture, clip[3])


def test_every_file_is_taken_or_listed(add, run, cases, tmp_path, dicom_picture):
    path = add("no suffix", 1, SOPInstanceUID="1.2.3")
    (tmp_path / "source/sub").mkdir()
    (tmp_path / "source/sub/copy.dcm").write_bytes(path.read_bytes())
    (tmp_path / "source/cut.dcm").write_bytes(path.read_bytes()[:-9])
    (tmp_path / "source/read\x1bme.txt").write_text("hello")
    os.mkfifo(tmp_path / "source/fifo")
    add("ct", 2, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    Image.fromarray(dicom_picture(3)).save(tmp_path / "one", "JPEG")
    jpeg = (tmp_path / "one").read_bytes()
    broken = jpeg[:300] + bytes(len(jpeg) - 300)
    add("jpeg", 3, syntax=JPEGBaseline8Bit, frames=[jpeg])
    add("broken", 4, syntax=JPEGBaseline8Bit, frames=[broken[:400]])

    done = run()

    assert done.exit_code == 0
    assert len(cases()) == 2
    for line in (
        "1 file, because it is a copy: an earlier file has its SOP Instance UID: sub",
        "1 file, because its pixel data is cut off: cut.dcm",
        "1 file, because it is no DICOM file: read?me.txt",
        "1 file, because it is no ultrasound, but CT Image Storage: ct",
        "1 picture, because the picture is not there or cannot be drawn: I",
        "2 pictures, because the region of the scan is not known: text at the",
    ):
        assert line in done.stdout


def test_doubts_about_burnt_in_text_are_named(add, run, dicom_region):
    scan = dicom_region(10, 12, 69, 59)
    flow = dicom_region(20, 20, 40, 40, content=2)
    add("1", 1, BurnedInAnnotation="NO")
    add("2", 2, BurnedInAnnotation="YES")
    add("3", 3, BurnedInAnnotation="YES", regions=(scan,))
    add("4", 4, BurnedInAnnotation="NO", regions=(scan, flow))
    add("5", 5, regions=(dicom_region(0, 0, 79, 63),))
    add("6", 6, regions=(dicom_region(0, 0, 79, 50),))

    lines = [line for line in run().stdout.splitlines() if line.startswith("warning")]

    assert [line.split(": I")[0] for line in lines] == [
        "warning: 1 picture, because the region of the scan is not known; by the file, "
        "no text is burnt in",
        "warning: 2 pictures, because the region of the scan is not known: text at the "
        "margin may remain",
        "warning: 1 picture, because the file says that text is burnt in: it may lie "
        "within the scan, too",
        "warning: 1 picture, because colour Doppler is drawn over the scan; here it is "
        "grey",
        "warning: 1 picture, because the region of the scan reaches the upper edge, "
        "where names often stand",
    ]


def test_labels_hold_for_all_pictures_of_a_patient(add, run, cases, tmp_path):
    for number, patient in enumerate(["01", "01", "02", "03", "04"]):
        add(str(number), number, PatientID=patient)
    path = tmp_path / "source/labels.csv"
    path.write_text("patient_id,malignant,tirads\n01 ,1,4a\n02,0,\n03,,3\n4,1,5\n")

    done = run()
    known = cases()[["malignant", "tirads"]].astype(object).fillna("-").value_counts()

    assert known.to_dict() == {(1, "4a"): 2, (0, "-"): 1, ("-", "3"): 1, ("-", "-"): 1}
    assert "mended: 2 pictures, because labels.csv tells no pathology" in done.stdout
    nobodys = "no picture is of the patient that labels.csv names: 5"
    assert f"warning: 1 line, because {nobodys}" in done.stdout
    assert "labels.csv\n" not in done.stdout


BAD_LABELS = {
    "no column": ("patient_id,tirads\n01,5\n", "line 1: the column malignant is miss"),
    "unknown": ("patient_id,malignant,age\n01,1,4\n", "line 1: unknown column 'age'"),
    "twice": ("patient_id,malignant\n01,1\n01,0\n", "line 3: an earlier line names"),
    "value": ("patient_id,malignant\n01,yes\n", "line 2: malignant is 'yes'; expected"),
    "grade": (
        "patient_id,malignant,tirads\n01,1,4\n", "line 2: tirads is '4'; expected one",
    ),
    "nobody": ("patient_id,malignant\n ,1\n", "line 2: patient_id is empty"),
    "no text": ("", "the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_wrong_labels_are_named_and_nothing_is_written(
    add, run, tmp_path, text, expected
):
    add("1", PatientID="01")
    (tmp_path / "source/labels.csv").write_text(text)

    done = run()

    assert done.exit_code == 2
    assert expected in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_hospital_is_named_by_option_alone(add, run, cases):
    add("1", InstitutionName="St Elsewhere")

    without = run(hospital=())

    assert without.exit_code == 2
    assert "--hospital NAME" in without.stderr


def test_a_folder_without_ultrasound_is_refused_with_reasons(run, tmp_path):
    (tmp_path / "source").mkdir()
    empty = run()
    (tmp_path / "source/letter.txt").write_text("hello")
    full = run()

    assert (empty.exit_code, full.exit_code) == (2, 2)
    assert "expected DICOM files; left out: no file" in empty.stderr
    assert "left out: 1 because it is no DICOM file" in full.stderr
    assert not (tmp_path / "config").exists()


def test_what_was_imported_is_clean(add, run, tmp_path, dicom_picture, dicom_region):
    scan = (dicom_region(10, 12, 69, 59),)
    for number in range(4):
        add(f"{number}", number, PatientID=f"{number // 2}", regions=scan)
    add("5", 0, PatientID="5", regions=scan)  # the first patient's picture again
    add("clip", pixels=np.stack([dicom_picture(9)] * 3), FrameTime=1000)

    imported = run()
    checked = CliRunner().invoke(main, ["check", str(tmp_path / "out/manifest.csv")])

    assert "the picture is (nearly) that of an earlier patient" in imported.stdout
    assert (imported.exit_code, checked.exit_code) == (0, 0), checked.output
    assert "no faults, " in checked.stdout
    assert "8 pictures of 3 patients in 1 hospital" in checked.stdout


def test_damage_ends_without_a_traceback(add, run, cases, tmp_path, dicom_region):
    rng = np.random.default_rng(1)
    content = add("whole", 1, regions=(dicom_region(10, 12, 69, 59),)).read_bytes()
    for number in range(40):
        damaged = bytearray(content)
        for place in rng.integers(132, 1500, 4):
            damaged[place] = rng.integers(256)
        cut = len(content) if number % 4 else rng.integers(len(content))
        (tmp_path / f"source/{number:02}").write_bytes(damaged[:cut])

    done = run()

    assert done.exit_code == 0
    assert not done.stderr
    assert len(cases()) >= 1
