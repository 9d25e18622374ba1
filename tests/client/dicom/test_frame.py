"""Frames: every way to store a pixel shows the same picture."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.pixels.processing import convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from thyroid_fl.client.dicom.frame import read_frame
from thyroid_fl.client.dicom.scan import read_scan

# 9 * row + 20 * column, 8 x 8 pixels, as GDCM 3.2.6 compresses it.
LOSSLESS_JPEG = bytes.fromhex(
    "ffd8ffc3000b080008000801011100ffc400160001010100000000000000000000000000050408"
    "ffda0008010100010000cfea28a28a28a52a28a28a28a52a28a28a28a52a28a28a28a52a28a28a"
    "28a52a28a28a28a52a28a28a28a52a28a28a28a7ffd9"
)
JPEG_LS = bytes.fromhex(
    "ffd8fff7000b080008000801011100ffda0008010100000000801c01c01ca9322f860c4398a406"
    "eecccca22b6db676db691924924555548aaab8ffd9"
)


@pytest.fixture
def shown(write_dicom, tmp_path):
    """Write pixels, and return what an import shows of them."""

    def run(pixels, index=0, **stored):
        path = write_dicom(tmp_path / "file", pixels, **stored)
        scan = read_scan(path)
        return np.asarray(read_frame(path, index, scan.box, scan.decoder))

    return run


@pytest.fixture
def grey(dicom_picture):
    return dicom_picture(1)


@pytest.fixture
def colour(dicom_picture):
    return np.stack([dicom_picture(seed) for seed in (1, 2, 3)], axis=-1)


def as_grey(colour):
    return np.asarray(Image.fromarray(colour).convert("L"))


def compressed(pixels, format_, **options):
    file = BytesIO()
    Image.fromarray(pixels).save(file, format_, **options)
    return [file.getvalue()]


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_grey_is_shown_as_it_is_stored(shown, grey, syntax):
    np.testing.assert_array_equal(shown(grey, syntax=syntax), grey)


def test_monochrome1_is_inverted(shown, grey):
    seen = shown(255 - grey, PhotometricInterpretation="MONOCHROME1")

    np.testing.assert_array_equal(seen, grey)


def test_fewer_than_8_bits_are_stretched(shown, grey):
    seen = shown(grey >> 4, BitsStored=4)

    np.testing.assert_array_equal(seen, (grey >> 4) * 17)


@pytest.mark.parametrize("is_planar", [False, True])
def test_colours_become_grey(shown, colour, is_planar):
    stored = np.moveaxis(colour, -1, 0).tobytes() if is_planar else colour.tobytes()

    seen = shown(colour, PixelData=stored, PlanarConfiguration=int(is_planar))

    np.testing.assert_array_equal(seen, as_grey(colour))


def test_ybr_becomes_grey(shown, colour):
    ybr = convert_color_space(colour, "RGB", "YBR_FULL")

    seen = shown(ybr, PhotometricInterpretation="YBR_FULL")

    np.testing.assert_allclose(seen.astype(int), as_grey(colour), atol=2)


def test_ybr_with_halved_colours_becomes_grey(shown, grey):
    # Two luminances, then blue and red difference of both: 128 is no colour.
    quads = np.full((64, 40, 4), 128, np.uint8)
    quads[..., :2] = grey.reshape(64, 40, 2)
    unused = np.zeros((64, 80, 3), np.uint8)

    seen = shown(
        unused, PixelData=quads.tobytes(), PhotometricInterpretation="YBR_FULL_422"
    )

    np.testing.assert_allclose(seen.astype(int), grey, atol=1)


@pytest.mark.parametrize("n_bits", [8, 16])
def test_a_palette_is_looked_up(shown, grey, n_bits):
    inverse = np.arange(255, -1, -1).astype(f"uint{n_bits}")
    colours = inverse * (257 if n_bits == 16 else 1)
    palette = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, n_bits]
        palette[f"{name}PaletteColorLookupTableData"] = colours.tobytes()

    seen = shown(grey, PhotometricInterpretation="PALETTE COLOR", **palette)

    np.testing.assert_array_equal(seen, 255 - grey)


def test_more_than_8_bits_are_shown_through_the_window(shown, grey):
    deep = grey.astype(np.uint16) * 8 + 100
    window = {"WindowCenter": 100 + 1020.5, "WindowWidth": 2041}

    seen = shown(deep, BitsStored=12, **window)
    inverse = shown(
        deep, BitsStored=12, PhotometricInterpretation="MONOCHROME1", **window
    )

    np.testing.assert_allclose(seen.astype(int), grey, atol=1)
    np.testing.assert_array_equal(inverse, 255 - seen)


def test_a_window_speaks_of_rescaled_and_signed_values(shown, grey):
    deep = grey.astype(np.int16) - 128
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": 256}

    seen = shown(
        deep, PixelRepresentation=1, WindowCenter=255.5, WindowWidth=511, **rescaled
    )

    np.testing.assert_allclose(seen.astype(int), grey, atol=1)


def test_a_table_of_values_takes_the_place_of_a_window(shown, grey):
    table = Dataset()
    table.LUTDescriptor = [256, 0, 16]
    table.add_new("LUTData", "OW", (np.arange(256, dtype="<u2") * 257).tobytes())

    seen = shown(grey.astype(np.uint16), VOILUTSequence=Sequence([table]))

    np.testing.assert_array_equal(seen, grey)


@pytest.mark.filterwarnings("ignore:The .0028,0004. .Photometric")
def test_jpeg_is_decoded_as_its_colours_say(shown, grey, colour):
    plain = shown(
        grey, syntax=JPEGBaseline8Bit, frames=compressed(grey, "JPEG", quality=95)
    )
    frames = compressed(colour, "JPEG", quality=95, subsampling=1)
    seen = shown(
        colour,
        syntax=JPEGBaseline8Bit,
        frames=frames,
        PhotometricInterpretation="YBR_FULL_422",
    )
    mislabelled = shown(colour, syntax=JPEGBaseline8Bit, frames=frames)

    assert np.abs(plain.astype(int) - grey).mean() < 3
    assert np.abs(seen.astype(int) - as_grey(colour)).mean() < 5
    np.testing.assert_array_equal(mislabelled, seen)


def test_jpeg_2000_is_decoded(shown, colour):
    frames = compressed(colour, "JPEG2000", no_jp2=True, mct=1)

    seen = shown(
        colour,
        syntax=JPEG2000Lossless,
        frames=frames,
        PhotometricInterpretation="YBR_RCT",
    )

    np.testing.assert_array_equal(seen, as_grey(colour))


@pytest.mark.parametrize(
    ("syntax", "frame"), [(JPEGLosslessSV1, LOSSLESS_JPEG), (JPEGLSLossless, JPEG_LS)]
)
def test_lossless_jpeg_is_decoded(shown, syntax, frame):
    pixels = np.add.outer(9 * np.arange(8), 20 * np.arange(8)).astype(np.uint8)

    seen = shown(pixels, syntax=syntax, frames=[frame])

    np.testing.assert_array_equal(seen, pixels)


def test_run_lengths_are_decoded_frame_by_frame(shown, dicom_picture):
    clip = np.stack([dicom_picture(seed) for seed in range(3)])
    sizes = {"rows": 64, "columns": 80, "samples_per_pixel": 1, "bits_allocated": 8}
    stored = {"bits_stored": 8, "pixel_representation": 0, "number_of_frames": 1}
    frames = [
        RLELosslessEncoder.encode(
            one.tobytes(), photometric_interpretation="MONOCHROME2", **sizes, **stored
        )
        for one in clip
    ]

    seen = shown(clip, index=2, syntax=RLELossless, frames=frames)

    np.testing.assert_array_equal(seen, clip[2])
