"""The pixels of a DICOM file, as the scanner's screen showed them, in grey."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import (
    apply_color_lut,
    apply_modality_lut,
    apply_voi_lut,
)
from pydicom.pixels.utils import pixel_array

from thyroid_fl.client.dicom.tags import BROKEN, is_deep
from thyroid_fl.columns import Box


def read_frame(path: Path, index: int, box: Box | None, decoder: str) -> Image.Image:
    """Return one frame as an 8-bit grey picture that carries nothing but pixels.

    Args:
        path: the DICOM file.
        index: the frame, from 0.
        box: what to cut out; None for the whole frame.
        decoder: pydicom's plugin.

    Raises:
        OSError: it cannot be decoded.
    """
    tags = Dataset()
    try:
        pixels = pixel_array(path, ds_out=tags, index=index, decoding_plugin=decoder)
        picture = Image.fromarray(_shown(pixels, tags)).convert("L")
    except BROKEN as error:
        raise OSError(f"frame {index} cannot be decoded: {error}") from error
    return picture.crop(box) if box else picture


def _shown(pixels: NDArray[Any], tags: Dataset) -> NDArray[np.uint8]:
    """Return grey (H, W) or RGB (H, W, 3), 0 black and 255 white."""
    match tags.PhotometricInterpretation:
        case "MONOCHROME1":
            return 255 - _grey(pixels, tags)
        case "MONOCHROME2":
            return _grey(pixels, tags)
        case "PALETTE COLOR":
            colours = apply_color_lut(pixels, tags)
            return _stretched(colours, 8 * colours.itemsize)
        case _:
            return pixels.astype(np.uint8)  # RGB, into which pydicom turns YBR


def _grey(pixels: NDArray[Any], tags: Dataset) -> NDArray[np.uint8]:
    """Return the display values (DICOM PS3.3, C.11.2) of pixels (H, W).

    Up to 8 bits are shown as stored: they are the screen's. More need a window.
    """
    if not is_deep(tags):
        return _stretched(pixels, tags.BitsStored)
    values = apply_modality_lut(pixels, tags)
    # What a window fills: `apply_windowing` reads the range off these tags.
    for keyword in ("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope"):
        tags.pop(keyword, None)
    tags.BitsStored, tags.PixelRepresentation = 8, 0
    shown = apply_voi_lut(values, tags)
    if tags.get("VOILUTSequence"):
        return _stretched(shown, tags.VOILUTSequence[0].LUTDescriptor[2])
    return _stretched(shown, 8)


def _stretched(values: NDArray[Any], n_bits: int) -> NDArray[np.uint8]:
    """Return values of so many bits as bytes."""
    white = 2**n_bits - 1
    shown: NDArray[np.float64] = values.astype(np.float64) * (255 / white)
    return shown.clip(0, 255).round().astype(np.uint8)
