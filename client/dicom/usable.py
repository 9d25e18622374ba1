"""Whether a DICOM file can be used: ultrasound, decodable, whole."""

import struct
from typing import BinaryIO

from pydicom import Dataset
from pydicom.encaps import parse_fragments
from pydicom.uid import UID

from thyroid_fl.client.dicom.tags import (
    is_deep,
    is_grey,
    n_frames,
    number,
    regions,
    text,
)

ULTRASOUND = (
    "1.2.840.10008.5.1.4.1.1.3",  # multi-frame, retired
    "1.2.840.10008.5.1.4.1.1.3.1",
    "1.2.840.10008.5.1.4.1.1.6",  # retired
    "1.2.840.10008.5.1.4.1.1.6.1",
)
SECONDARY_CAPTURE = tuple(
    f"1.2.840.10008.5.1.4.1.1.7{kind}" for kind in ("", ".1", ".2", ".3", ".4")
)
DECODERS = {
    "1.2.840.10008.1.2": "",
    "1.2.840.10008.1.2.1": "",
    "1.2.840.10008.1.2.2": "",
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "pylibjpeg",  # JPEG extended
    "1.2.840.10008.1.2.4.57": "pylibjpeg",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "pylibjpeg",
    "1.2.840.10008.1.2.4.80": "pylibjpeg",  # JPEG-LS
    "1.2.840.10008.1.2.4.81": "pylibjpeg",
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000
    "1.2.840.10008.1.2.4.91": "pillow",
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
}
"""The decoder by transfer syntax. Named, because pydicom prefers GDCM wherever it
happens to be installed, and GDCM ends the whole program on some damaged JPEG."""
SAMPLES = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_ICT": 3,
    "YBR_RCT": 3,
}
"""Samples a pixel by photometric interpretation."""
MAX_PX = 4096
"""More rows or columns are damage: no scanner's screen is that large."""


def why_unusable(tags: Dataset, file: BinaryIO, n_bytes: int) -> str | None:
    """Return in words why a file cannot be used; None if it can.

    Args:
        tags: what was read of it.
        file: the file, positioned at its pixel data.
        n_bytes: the file's size.

    Raises:
        BROKEN: tags that every picture has are absent or damaged.
    """
    return _other_kind(tags) or _cannot_be_shown(tags) or _cut_off(tags, file, n_bytes)


def _other_kind(tags: Dataset) -> str | None:
    kind = text(tags, "SOPClassUID") or text(tags.file_meta, "MediaStorageSOPClassUID")
    is_capture = kind in SECONDARY_CAPTURE and text(tags, "Modality") == "US"
    if not (kind in ULTRASOUND or is_capture):
        return f"it is no ultrasound, but {UID(kind).name or 'of no SOP class'}"
    if not text(tags, "SOPInstanceUID"):
        return "it has no SOP Instance UID"
    if not (text(tags, "PatientID") or text(tags, "StudyInstanceUID")):
        return "it has neither Patient ID nor Study Instance UID"
    if tags.get("SequenceOfUltrasoundRegions") and not regions(tags):
        return "it shows no scan, only curves (Doppler, M-mode) or graphics"
    return None


def _cannot_be_shown(tags: Dataset) -> str | None:
    syntax = text(tags.file_meta, "TransferSyntaxUID")
    colours = text(tags, "PhotometricInterpretation")
    allocated, stored = tags.BitsAllocated, tags.BitsStored
    if syntax not in DECODERS:
        name = UID(syntax).name or "none"
        return f"its transfer syntax cannot be decoded ({name}); export it as JPEG"
    if SAMPLES.get(colours) != tags.SamplesPerPixel:
        return f"its photometric interpretation is unknown ({colours or 'none'})"
    if allocated not in ((8, 16) if is_grey(tags) else (8,)) or not 1 <= stored <= 16:
        return f"it has {allocated} bits a sample"
    window = number(tags, "WindowCenter"), number(tags, "WindowWidth")
    if is_deep(tags) and None in window and not tags.get("VOILUTSequence"):
        return "it has more than 8 bits a pixel, and no window says how to show them"
    if not (1 <= tags.Rows <= MAX_PX and 1 <= tags.Columns <= MAX_PX):
        return f"it has {tags.Columns} x {tags.Rows} pixels"
    return "it has no frames" if n_frames(tags) < 1 else None


def _cut_off(tags: Dataset, file: BinaryIO, n_bytes: int) -> str | None:
    syntax = UID(tags.file_meta.TransferSyntaxUID)
    order = "<" if syntax.is_little_endian else ">"
    header = file.read(8 if syntax.is_implicit_VR else 12)
    if len(header) < 8 or struct.unpack(f"{order}HH", header[:4]) != (0x7FE0, 0x0010):
        return "it has no pixel data"
    if syntax.is_encapsulated:
        n_items, starts = parse_fragments(file)  # the first is a table of offsets
        if any(_has_empty_box(file, start + 8) for start in starts[1:]):
            return "its pixel data is damaged"
        file.seek(starts[-1] + 4)
        (length,) = struct.unpack("<L", file.read(4))
        is_whole = file.tell() + length <= n_bytes and n_items > n_frames(tags)
    else:
        is_halved = text(tags, "PhotometricInterpretation") == "YBR_FULL_422"
        n_samples = 2 if is_halved else tags.SamplesPerPixel
        needed = tags.Rows * tags.Columns * n_samples * n_frames(tags)
        is_whole = needed * tags.BitsAllocated // 8 <= n_bytes - file.tell()
    return None if is_whole else "its pixel data is cut off"


def _has_empty_box(file: BinaryIO, start: int) -> bool:
    """Return whether a JPEG 2000 file's boxes stand still: pydicom would never end.

    Boxes are a length, their own 8 bytes included, and a type (ISO/IEC 15444-1, I.4).
    """
    file.seek(start)
    if file.read(8) != b"\0\0\0\x0cjP  ":
        return False  # the bare codestream, as PS3.5 A.4.4 has it
    start += 12
    while True:
        file.seek(start)
        length, kind = struct.unpack(">L4s", file.read(8).ljust(8, b"\xff"))
        if kind in (b"jp2c", b"\xff" * 4):  # the codestream, or the file's end
            return False
        if length == 0:
            return True
        start += length
