"""What a file tells; and every file that cannot be used says why."""

import numpy as np
import pytest
from PIL import Image
from pydicom.fileset import FileSet
from pydicom.uid import (
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from thyroid_fl.client.dicom.frame import read_frame
from thyroid_fl.client.dicom.scan import Scan, read_scan

pytestmark = pytest.mark.filterwarnings("ignore")  # pydicom's, about damage
JPEG = bytes.fromhex("ffd8ffe0") + bytes(200)


@pytest.fixture
def told(write_dicom, dicom_picture, tmp_path):
    """Write a file with these tags, and return what it tells."""

    def run(pixels=None, **stored):
        pixels = dicom_picture(1) if pixels is None else pixels
        return read_scan(write_dicom(tmp_path / "file", pixels, **stored))

    return run


def test_a_file_tells_the_values_of_the_manifest(told, dicom_region):
    scan = told(
        regions=(dicom_region(10, 12, 69, 59),),
        Manufacturer=" GE  Healthcare ",
        IssuerOfPatientID="St A",
        SOPInstanceUID="1.2.3",
    )

    assert scan == Scan(
        patient="HOSP-0815",
        issuer="St A",
        study="1.2.826.0.1.77",
        instance="1.2.3",
        vendor="GE Healthcare",
        device="LOGIQ E9",
        sex="F",
        age=45,
        n_frames=1,
        frame_ms=None,
        box=(10, 12, 70, 60),
        pixel_mm=0.1,
        is_burnt_in=None,
        has_colour=False,
        decoder="",
    )


@pytest.mark.parametrize(
    ("age", "years"),
    [("045Y", 45), ("006M", 0), ("103Y", 90), ("45", None), ("999Y", None), ("", None)],
)
def test_ages_are_whole_years_up_to_90(told, age, years):
    assert told(PatientAge=age).age == years


@pytest.mark.parametrize(("sex", "known"), [("M", "M"), ("O", None), (None, None)])
def test_other_sexes_stay_empty(told, sex, known):
    assert told(PatientSex=sex).sex == known


@pytest.mark.parametrize(
    ("clock", "frame_ms"),
    [
        ({"FrameTime": 40}, 40),
        ({"CineRate": 25}, 40),
        ({"FrameTime": 20, "CineRate": 25}, 20),
        ({"FrameTime": 0}, None),
        ({"FrameTime": "1e-320"}, None),
        ({"FrameTime": -1}, None),
        ({}, None),
    ],
)
def test_the_time_between_frames_is_read(told, clock, frame_ms):
    assert told(**clock).frame_ms == frame_ms


def test_the_larger_tissue_region_is_the_scan(told, dicom_region):
    regions = (
        dicom_region(0, 0, 79, 63, content=3),
        dicom_region(0, 12, 9, 40, PhysicalDeltaX=0.02, PhysicalDeltaY=-0.02),
        dicom_region(10, 12, 30, 40, PhysicalDeltaY=-0.01),
        dicom_region(0, 50, 79, 63, shape=3),
    )

    scan = told(regions=regions)

    assert (scan.box, scan.pixel_mm) == ((10, 12, 31, 41), 0.1)


@pytest.mark.parametrize(
    ("edges", "box"),
    [
        ((0, 0, 79, 63), None),
        ((0, 0, 200, 200), None),
        ((70, 50, 200, 200), (70, 50, 80, 64)),
        ((80, 0, 200, 60), None),
        ((40, 0, 20, 60), None),
    ],
)
def test_a_region_is_cut_at_the_edge(told, dicom_region, edges, box):
    assert told(regions=(dicom_region(*edges),)).box == box


@pytest.mark.parametrize(
    ("deltas", "pixel_mm"),
    [
        ({"PhysicalUnitsXDirection": 4}, 0.25),
        ({"PhysicalDeltaX": 0.02}, None),
        ({"PhysicalDeltaX": 0.0}, None),
        ({"PhysicalDeltaX": 3.0, "PhysicalDeltaY": 3.0}, None),
    ],
)
def test_pixels_are_square_and_of_a_sensible_size(told, dicom_region, deltas, pixel_mm):
    regions = (dicom_region(10, 12, 69, 59, **deltas),)

    assert told(regions=regions, PixelSpacing=[0.25, 0.25]).pixel_mm == pixel_mm


def test_pixel_spacing_holds_without_regions(told):
    assert told(PixelSpacing=[0.3, 0.3]).pixel_mm == 0.3


def test_colour_doppler_and_burnt_in_text_are_told(told, dicom_region):
    colour = dicom_region(20, 20, 40, 40, content=2)
    scan = told(
        regions=(dicom_region(10, 12, 69, 59), colour), BurnedInAnnotation="YES"
    )

    assert scan.has_colour
    assert scan.is_burnt_in


UNUSABLE = {
    "another kind": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "but CT Image"),
    "a capture of other kind": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
        "but Secondary Capture",
    ),
    "no instance": ({"SOPInstanceUID": ""}, "no SOP Instance UID"),
    "nobody": ({"PatientID": "", "StudyInstanceUID": ""}, "neither Patient ID nor"),
    "MPEG": ({"syntax": MPEG4HP41, "frames": [JPEG]}, "MPEG-4"),
    "deflated": ({"syntax": DeflatedExplicitVRLittleEndian}, "Deflated Explicit"),
    "other colours": ({"PhotometricInterpretation": "HSV"}, "is unknown (HSV)"),
    "three greys": ({"SamplesPerPixel": 3}, "is unknown (MONOCHROME2)"),
    "1 bit": ({"BitsAllocated": 1}, "it has 1 bits a sample"),
    "no rows": ({"Rows": 0}, "it has 80 x 0 pixels"),
    "absurd columns": ({"Columns": 65000}, "it has 65000 x 64 pixels"),
    "no frames": ({"NumberOfFrames": 0}, "it has no frames"),
    "many frames": ({"NumberOfFrames": 2_000_000_000}, "is cut off"),
    "many compressed frames": (
        {"NumberOfFrames": 9, "syntax": JPEGBaseline8Bit, "frames": [JPEG]},
        "is cut off",
    ),
    "no pixels": ({"PixelData": None}, "it has no pixel data"),
    "short pixels": ({"PixelData": bytes(80 * 63)}, "its pixel data is cut off"),
    "no bits": ({"BitsAllocated": None, "HighBit": 7}, "it is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("stored", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_says_why(told, stored, reason):
    assert reason in told(**stored)


def test_a_secondary_capture_of_ultrasound_is_taken(told):
    assert isinstance(told(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), Scan)


def test_deep_pixels_without_a_window_are_not_guessed(told, dicom_picture):
    deep = dicom_picture(1).astype(np.uint16)

    assert "no window says" in told(deep)
    assert "no window says" in told(deep, BitsStored=12, WindowCenter=1)
    assert isinstance(told(deep, BitsStored=8), Scan)


def test_curves_are_no_scan(told, dicom_region):
    spectral = dicom_region(0, 30, 79, 63, shape=3, content=3)

    assert "only curves" in told(regions=(spectral,))


def test_other_files_are_named(write_dicom, dicom_picture, tmp_path):
    listed = {
        "StudyDate": "20240517", "StudyTime": "0815", "StudyID": "1",
        "SeriesInstanceUID": "1.2", "SeriesNumber": 1, "InstanceNumber": 1,
    }  # fmt: skip
    path = write_dicom(tmp_path / "file", dicom_picture(1), **listed)
    files = FileSet()
    files.add(path)
    files.write(tmp_path / "set")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("Doe, Jane\n" * 99)
    whole = path.read_bytes()
    (tmp_path / "head").write_bytes(whole[:400])
    (tmp_path / "half").write_bytes(whole[: len(whole) // 2])

    assert "Media Storage Directory" in read_scan(tmp_path / "set/DICOMDIR")
    assert read_scan(tmp_path / "empty") == "it is no DICOM file"
    assert read_scan(tmp_path / "text") == "it is no DICOM file"
    assert isinstance(read_scan(tmp_path / "head"), str)
    assert read_scan(tmp_path / "half") == "its pixel data is cut off"
    assert read_scan(tmp_path) == "it is damaged or cannot be opened"


def test_boxes_without_length_are_damage(write_dicom, dicom_picture, tmp_path):
    Image.fromarray(dicom_picture(1)).save(tmp_path / "one", "JPEG2000")
    whole = (tmp_path / "one").read_bytes()  # signature, then boxes: ftyp, jp2h, jp2c
    endless = whole[:12] + bytes(4) + whole[16:]

    stored = {"pixels": dicom_picture(1), "syntax": JPEG2000Lossless}
    good = write_dicom(tmp_path / "good", frames=[whole], **stored)
    bad = write_dicom(tmp_path / "bad", frames=[endless], **stored)

    assert isinstance(read_scan(good), Scan)
    assert read_scan(bad) == "its pixel data is damaged"


def test_no_damage_raises_anything_but_os_error(
    write_dicom, dicom_picture, dicom_region, tmp_path
):
    rng = np.random.default_rng(1)
    pixels = dicom_picture(1)
    regions = (dicom_region(10, 12, 69, 59),)
    palette = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        palette[f"{name}PaletteColorLookupTableData"] = bytes(range(256))
    stored = [{}, palette]
    for syntax, format_ in ((JPEGBaseline8Bit, "JPEG"), (JPEG2000Lossless, "JPEG2000")):
        Image.fromarray(pixels).save(tmp_path / "one", format_)
        stored.append({"syntax": syntax, "frames": [(tmp_path / "one").read_bytes()]})
    stored.append({"syntax": RLELossless, "frames": [bytes(64) + bytes(999)]})
    n_read = 0

    for tags in stored:
        whole = write_dicom(tmp_path / "file", pixels, regions=regions, **tags)
        content = whole.read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            for place in rng.integers(132, min(len(content), 2000), 3):
                damaged[place] = rng.integers(256)
            cut = len(content) if rng.random() < 0.7 else rng.integers(len(content))
            (tmp_path / "damaged").write_bytes(damaged[:cut])
            scan = read_scan(tmp_path / "damaged")
            if isinstance(scan, str):
                continue
            try:
                read_frame(tmp_path / "damaged", 0, scan.box, scan.decoder)
                n_read += 1
            except OSError:
                pass

    assert n_read > 20
