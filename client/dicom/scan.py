"""What a DICOM file tells of its picture or clip.

Regions and their units: DICOM PS3.3, C.8.5.5 (US Region Calibration).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from thyroid_fl.client.dicom.tags import BROKEN, TAGS, n_frames, number, regions, text
from thyroid_fl.client.dicom.usable import DECODERS, why_unusable
from thyroid_fl.columns import Box

MAX_AGE = 90
"""Stands for all above: so old, few are alike (as in HIPAA, 45 CFR 164.514(b)(2))."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """What one file tells: a picture, or a clip of several frames."""

    patient: str
    """Patient ID; may be empty, and then `study` is not."""
    issuer: str
    """Who gave the Patient ID; mostly empty."""
    study: str
    instance: str
    vendor: str | None
    device: str | None
    sex: str | None
    age: int | None
    """Whole years, up to `MAX_AGE`."""
    n_frames: int
    frame_ms: float | None
    """Time from one frame of a clip to the next, from 1; None where unknown."""
    box: Box | None
    """The scan within the picture; None where it is not known to be smaller."""
    pixel_mm: float | None
    is_burnt_in: bool | None
    """Whether the file says that text is burnt in; None where it says nothing."""
    has_colour: bool
    decoder: str
    """Name of pydicom's plugin."""


def read_scan(path: Path) -> Scan | str:
    """Return what a file tells, or in words why it cannot be used."""
    try:
        with path.open("rb") as file:
            tags = dcmread(file, stop_before_pixels=True, specific_tags=list(TAGS))
            return why_unusable(tags, file, path.stat().st_size) or _scan(tags)
    except InvalidDicomError:
        return "it is no DICOM file"
    except BROKEN:
        return "it is damaged or cannot be opened"


def _scan(tags: Dataset) -> Scan:
    size = int(tags.Columns), int(tags.Rows)
    tissue = [
        (region, box) for region in regions(tags, 1) if (box := _box(region, size))
    ]
    # Of two scans side by side the larger, or the first.
    region, box = max(tissue, key=lambda one: _area_px(one[1]), default=(None, None))
    rate_hz = number(tags, "CineRate") or math.inf
    frame_ms = number(tags, "FrameTime") or 1000 / rate_hz
    sex = text(tags, "PatientSex")
    return Scan(
        patient=text(tags, "PatientID"),
        issuer=text(tags, "IssuerOfPatientID"),
        study=text(tags, "StudyInstanceUID"),
        instance=text(tags, "SOPInstanceUID"),
        vendor=text(tags, "Manufacturer") or None,
        device=text(tags, "ManufacturerModelName") or None,
        sex=sex if sex in ("F", "M") else None,
        age=_age(text(tags, "PatientAge")),
        n_frames=n_frames(tags),
        frame_ms=frame_ms if 1 <= frame_ms < math.inf else None,
        box=None if box == (0, 0, *size) else box,
        pixel_mm=_pixel_mm(tags, region),
        is_burnt_in={"YES": True, "NO": False}.get(text(tags, "BurnedInAnnotation")),
        has_colour=bool(regions(tags, 2)),
        decoder=DECODERS[tags.file_meta.TransferSyntaxUID],
    )


def _box(region: Dataset, size: tuple[int, int]) -> Box | None:
    """Return where a region lies in a picture of (width, height); None: nowhere."""
    names = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    edges = [number(region, f"RegionLocation{name}") for name in names]
    left, top, right, bottom = (-1 if edge is None else int(edge) for edge in edges)
    # The lower right corner is taken as a pixel of the region.
    right, bottom = min(right + 1, size[0]), min(bottom + 1, size[1])
    is_there = 0 <= left < right and 0 <= top < bottom
    return (left, top, right, bottom) if is_there else None


def _area_px(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _pixel_mm(tags: Dataset, region: Dataset | None) -> float | None:
    """Return the side of a pixel, if it is known and the pixel a square within 2 %."""
    units = "PhysicalUnitsXDirection", "PhysicalUnitsYDirection"
    if region and all(region.get(unit) == 3 for unit in units):  # cm
        deltas = (number(region, f"PhysicalDelta{axis}") for axis in "XY")
        sides = [10 * abs(delta or 0) for delta in deltas]
    else:
        sides = [float(side) for side in tags.get("PixelSpacing") or []]
    if len(sides) != 2 or not 0 < min(sides) <= max(sides) <= 10:
        return None
    return round(sum(sides) / 2, 6) if max(sides) <= 1.02 * min(sides) else None


def _age(age: str) -> int | None:
    """Return whole years.

    >>> _age("045Y"), _age("018M"), _age("104Y"), _age("45")
    (45, 1, 90, None)
    """
    found = re.fullmatch(r"(\d{1,3})([YMWD])", age)
    if not found:
        return None
    years = int(found[1]) // {"Y": 1, "M": 12, "W": 52, "D": 365}[found[2]]
    return min(years, MAX_AGE) if years <= 120 else None
