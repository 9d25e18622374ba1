"""Small DICOM files, faithful to what scanners write."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

PICTURE, CLIP = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"
UIDS = count(10**6)  # of one length: what damage hits is the same in every run


def speckle(seed: int, size: tuple[int, int] = (80, 64)) -> np.ndarray:
    """Return pixels (H, W) uint8 that differ from those of other seeds."""
    coarse = np.random.default_rng(seed).integers(30, 220, (8, 10), np.uint8)
    return np.array(Image.fromarray(coarse).resize(size))


def region(*edges: int, shape: int = 1, content: int = 1, **tags: object) -> Dataset:
    """Return an ultrasound region: corners, 0.1 mm a pixel, 2-D tissue."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = shape, content, 2
    corners = ("MinX0", "MinY0", "MaxX1", "MaxY1")
    for corner, edge in zip(corners, edges, strict=True):
        setattr(item, f"RegionLocation{corner}", edge)
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.01
    for name, value in tags.items():
        setattr(item, name, value)
    return item


def write(
    path: Path,
    pixels: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    frames: list[bytes] | None = None,
    regions: tuple[Dataset, ...] = (),
    **tags: object,
) -> Path:
    """Write pixels ([N,] H, W[, 3]) as a DICOM file; a tag of None is left out.

    Args:
        path: the file.
        pixels: shown values; stored as they are where there are no `frames`.
        syntax: the transfer syntax.
        frames: the frames as compressed by it.
        regions: the ultrasound regions.
        tags: further values, or others than the usual ones.
    """
    n_samples = 3 if pixels.shape[-1] == 3 else 1
    shape = pixels.shape[:-1] if n_samples == 3 else pixels.shape
    usual = {
        "SOPClassUID": CLIP if len(shape) == 3 else PICTURE,
        "SOPInstanceUID": f"1.2.826.0.1.{next(UIDS)}",
        "StudyInstanceUID": "1.2.826.0.1.77",
        "Modality": "US",
        "Manufacturer": "GE Healthcare ",
        "ManufacturerModelName": "LOGIQ E9",
        "PatientID": "HOSP-0815",
        "PatientSex": "F",
        "PatientAge": "045Y",
        "SamplesPerPixel": n_samples,
        "PhotometricInterpretation": "RGB" if n_samples == 3 else "MONOCHROME2",
        "PlanarConfiguration": 0 if n_samples == 3 else None,
        "NumberOfFrames": shape[0] if len(shape) == 3 else None,
        "Rows": shape[-2],
        "Columns": shape[-1],
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "PixelRepresentation": 0,
        "SequenceOfUltrasoundRegions": Sequence(regions) if regions else None,
    }
    content = encapsulate(frames) if frames else pixels.tobytes()
    tagged = Dataset()
    for name, value in ({"PixelData": content} | usual | tags).items():
        if value is not None:
            setattr(tagged, name, value)
    if "PixelData" in tagged:
        tagged["PixelData"].VR = "OB" if frames or pixels.itemsize == 1 else "OW"
    if "HighBit" not in tagged:
        tagged.HighBit = tagged.BitsStored - 1
    tagged.file_meta = FileMetaDataset()
    tagged.file_meta.TransferSyntaxUID = syntax
    tagged.file_meta.MediaStorageSOPClassUID = tagged.SOPClassUID
    tagged.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.{next(UIDS)}"
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, tagged, enforce_file_format=True)
    return path


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    """Keep the key for pseudonyms out of the home of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def dicom_picture():
    return speckle


@pytest.fixture(scope="session")
def dicom_region():
    return region


@pytest.fixture(scope="session")
def write_dicom():
    return write
