"""How the pictures of twelve vendors differ: one row of settings for each.

The names are those of Xu et al. 2023, Table 2 and the note of Table 3. The settings are
assumptions that span what a console offers, spread out so that a model of one vendor's
pictures does worse on the others'; they do not describe the real products.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np

Geometry = Literal["linear", "trapezoid", "sector"]
Mark = Literal[
    "ruler_left", "ruler_right", "wedge_left", "wedge_right", "text_top", "text_bottom"
]


@dataclass(frozen=True, kw_only=True, slots=True)
class VendorLook:
    """What a console does to the echoes, and what it writes over the picture."""

    dynamic_range_db: float
    """Echo levels between black and white."""
    gamma: float
    """Exponent of the grey map; above 1 darkens the mid-greys."""
    gain_db: float
    """Added to every echo."""
    tgc_db: float
    """Time-gain compensation: bottom minus top of the picture."""
    looks: int
    """Independent speckle patterns averaged (compounding)."""
    axial_mm: float
    """Standard deviation of the point-spread function along the beam."""
    lateral_mm: float
    """The same across the beams."""
    clutter_db: float
    """Level of the haze that fills dark parts, relative to healthy thyroid."""
    smooth_mm: float
    """Standard deviation of the smoothing after compression; 0: none."""
    edge: float
    """Strength of the edge enhancement (unsharp mask of 0.8 mm)."""
    geometry: Geometry
    """Shape of the scanned field."""
    marks: tuple[Mark, ...]
    """What is written over the border: the same for every case."""


def _look(
    tone: tuple[float, float, float, float],
    speckle: tuple[int, float, float, float],
    finish: tuple[float, float],
    geometry: Geometry,
    *marks: Mark,
) -> VendorLook:
    """Return a look from the groups of columns of the table below."""
    dynamic_range_db, gamma, gain_db, tgc_db = tone
    looks, axial_mm, lateral_mm, clutter_db = speckle
    return VendorLook(
        dynamic_range_db=dynamic_range_db, gamma=gamma, gain_db=gain_db, tgc_db=tgc_db,
        looks=looks, axial_mm=axial_mm, lateral_mm=lateral_mm, clutter_db=clutter_db,
        smooth_mm=finish[0], edge=finish[1], geometry=geometry, marks=marks,
    )  # fmt: skip


# (dynamic range, gamma, gain, TGC), (looks, axial, lateral, clutter), (smooth, edge)
VENDOR_LOOKS: Mapping[str, VendorLook] = MappingProxyType({
    "Mindray": _look((60, 1.0, 0, 0), (2, 0.22, 0.40, -46), (0, 0.3),
                     "linear", "ruler_right"),
    "Philips": _look((72, 0.9, 2, 2), (4, 0.26, 0.50, -29), (0.35, 0),
                     "trapezoid", "wedge_left", "text_top"),
    "Esaote": _look((42, 1.2, 7, 6), (1, 0.22, 0.50, -50), (0.15, 0.8),
                    "linear", "ruler_left", "text_top"),
    "GE Healthcare": _look((66, 0.7, -6, -8), (1, 0.32, 0.60, -42), (0.3, 0.2),
                           "sector", "ruler_right", "wedge_left"),
    "Siemens Healthineers": _look((48, 2.0, 4, 0), (5, 0.20, 0.40, -48), (0.3, 1.8),
                                  "linear", "text_bottom", "wedge_right"),
    "Toshiba": _look((78, 1.1, -1, 4), (1, 0.30, 0.65, -28), (0.35, 0),
                     "trapezoid", "ruler_left"),
    "Samsung": _look((50, 0.7, 5, -3), (4, 0.25, 0.45, -30), (0.5, 0.4),
                     "linear", "ruler_right", "text_bottom"),
    "Supersonic Imagine": _look((66, 1.7, 0, -4), (3, 0.16, 0.30, -48), (0, 0.9),
                                "linear", "wedge_right", "text_top"),
    "Hitachi": _look((56, 0.9, -9, 5), (2, 0.28, 0.60, -46), (0.2, 0.6),
                     "sector", "ruler_left", "text_bottom"),
    "Zonare": _look((38, 1.0, 8, -5), (3, 0.24, 0.50, -45), (0.2, 0),
                    "linear", "wedge_left"),
    "SonoScape": _look((72, 1.4, 6, 6), (1, 0.32, 0.55, -24), (0.25, 1.0),
                       "trapezoid", "text_top", "text_bottom"),
    "VINNO": _look((46, 0.8, 0, 0), (2, 0.30, 0.60, -27), (0.7, 1.0),
                   "sector", "ruler_right", "text_top"),
})  # fmt: skip


def jittered(look: VendorLook, rng: np.random.Generator) -> VendorLook:
    """Return the look as one operator set it for one picture."""
    gain, tgc, dynamic_range, gamma = rng.uniform(-1, 1, size=4)
    return replace(
        look,
        gain_db=look.gain_db + 2 * gain,
        tgc_db=look.tgc_db + 2 * tgc,
        dynamic_range_db=look.dynamic_range_db * (1 + 0.08 * dynamic_range),
        gamma=look.gamma * (1 + 0.10 * gamma),
    )
