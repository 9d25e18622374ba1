"""The tags that an import may read, and how their values come out of a file.

`TAGS` is an allow-list for the parser: the values of all other tags, names and dates
among them, are never read.
"""

import struct
import zlib

from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

TAGS = (
    "BitsAllocated",
    "BitsStored",
    "BurnedInAnnotation",
    "CineRate",
    "Columns",
    "FrameTime",
    "IssuerOfPatientID",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "NumberOfFrames",
    "PatientAge",
    "PatientID",
    "PatientSex",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelSpacing",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SequenceOfUltrasoundRegions",
    "StudyInstanceUID",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
)
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and its decoders raise for a file that is broken."""


def text(tags: Dataset, keyword: str) -> str:
    """Return a value without line breaks and blanks around it; "" where absent."""
    value = tags.get(keyword)
    if isinstance(value, MultiValue):
        value = "\\".join(map(str, value))
    letters = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in letters).split())


def number(tags: Dataset, keyword: str) -> float | None:
    """Return a value, the first of several; None where absent.

    Raises:
        ValueError: it is no number.
    """
    value = tags.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or value == "" else float(value)


def n_frames(tags: Dataset) -> int:
    """Return the number of frames: 1 in a picture that does not give it."""
    frames = number(tags, "NumberOfFrames")
    return 1 if frames is None else int(frames)


def regions(tags: Dataset, *contents: int) -> list[Dataset]:
    """Return the 2-D regions of a picture, if given only those of some contents.

    Contents are 1, tissue, and 2, colour flow (DICOM PS3.3, C.8.5.5).
    """
    return [
        region
        for region in tags.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == 1  # above: curves and graphics
        and (not contents or region.get("RegionDataType") in contents)
    ]


def is_grey(tags: Dataset) -> bool:
    """Return whether a pixel is one grey value."""
    return text(tags, "PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")


def is_deep(tags: Dataset) -> bool:
    """Return whether grey values have more than 8 bits, or a sign."""
    has_sign = tags.get("PixelRepresentation") == 1
    return is_grey(tags) and (bool(tags.BitsStored > 8) or has_sign)
