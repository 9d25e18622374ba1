"""Phantom pictures of the thyroid: a neck with one nodule, as a vendor's scanner shows.

Tissue is laid out in mm (`anatomy`, `nodule`), insonated and displayed (`scanner`) with
a vendor's settings (`vendor_looks`). Nothing of the label is painted in: it reaches the
picture only through the nodule's C-TIRADS features (`nodule_features`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.masks import box_of_mask
from thyroid_fl.simulation.phantom.anatomy import sample_neck, section
from thyroid_fl.simulation.phantom.nodule import View
from thyroid_fl.simulation.phantom.nodule_features import NoduleFeatures
from thyroid_fl.simulation.phantom.scanner import field_of_view, scan
from thyroid_fl.simulation.phantom.vendor_looks import VENDOR_LOOKS, jittered

_MIN_SIZE_PX = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Phantom:
    """A picture and where its nodule is."""

    image: npt.NDArray[np.uint8]
    """(H, W)."""
    mask: npt.NDArray[np.bool_]
    """(H, W), where the nodule is; never empty."""
    box: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the mask in pixels, half-open."""


def draw(
    features: NoduleFeatures,
    vendor: str,
    *,
    size_px: int,
    patient_seed: int,
    image_index: int,
    view: View,
) -> Phantom:
    """Return one picture of a patient's nodule, the same whenever it is asked for.

    The patient's neck and nodule come from `patient_seed` alone; the section, the
    speckle and the console's settings from separate streams of each picture. So the
    pictures of a patient show one nodule, and the same seed under another vendor shows
    the same section: convenient in tests, a leak if train and test share seeds.

    Raises:
        ConfigError: the vendor is unknown, or the picture is too small.
    """
    if vendor not in VENDOR_LOOKS:
        known = ", ".join(VENDOR_LOOKS)
        raise ConfigError(f"no look for vendor {vendor!r}; expected one of: {known}")
    if size_px < _MIN_SIZE_PX:
        raise ConfigError(
            f"a phantom of {size_px} px shows nothing; use at least {_MIN_SIZE_PX}"
        )
    neck = sample_neck(features, _stream(patient_seed, 0))
    tissue, mask = section(neck, view, size_px, _stream(patient_seed, 1, image_index))
    look = jittered(VENDOR_LOOKS[vendor], _stream(patient_seed, 3, image_index))
    image = scan(tissue, look, _stream(patient_seed, 2, image_index))
    mask &= field_of_view(look.geometry, size_px)
    return Phantom(image=image, mask=mask, box=box_of_mask(mask))


def _stream(patient_seed: int, *purpose: int) -> np.random.Generator:
    return np.random.default_rng(
        np.random.SeedSequence(patient_seed, spawn_key=purpose)
    )
