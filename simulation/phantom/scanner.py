"""From tissue to picture: speckle, attenuation, log compression, scan conversion.

H x W pixels; depth grows with the row. Everything is float32: it halves the time.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from thyroid_fl.simulation.phantom.vendor_looks import Geometry, Mark, VendorLook

Image = npt.NDArray[np.float32]

_WHITE_DB = 26.0  # white lies this far above healthy thyroid


@dataclass(frozen=True, kw_only=True, slots=True)
class Tissue:
    """What the beam meets, in a rectangular section of the neck; arrays (H, W)."""

    echo_db: Image
    """Scattering relative to healthy thyroid."""
    loss_db_per_mm: Image
    """Two-way attenuation above average tissue; fluid is negative."""
    reflector: Image
    """Amplitude of smooth reflectors (calcium, crystals), which do not speckle."""
    pixel_mm: float
    """Side of a pixel."""


def scan(
    tissue: Tissue, look: VendorLook, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return the picture (H, W) of a section; `rng` draws the speckle."""
    size = tissue.echo_db.shape[0]
    shadow_db = np.cumsum(tissue.loss_db_per_mm, axis=0) * tissue.pixel_mm
    level_db = tissue.echo_db - shadow_db
    reflector = tissue.reflector
    if look.geometry != "linear":
        to_beams = _beam_maps(look.geometry, size)[0]
        level_db = _resample(level_db, to_beams, mode="nearest")
        reflector = _resample(reflector, to_beams, mode="nearest")
    grey = _compress(_intensity(level_db, reflector, tissue, look, rng), look)
    grey = _finish(grey, look, tissue.pixel_mm)
    if look.geometry != "linear":
        grey = _resample(grey, _beam_maps(look.geometry, size)[1], mode="constant")
    where, ink = _overlay(look.marks, size)
    grey[where] = ink
    return np.asarray(grey * 255 + 0.5, dtype=np.uint8)


@lru_cache(maxsize=64)
def field_of_view(geometry: Geometry, size_px: int) -> npt.NDArray[np.bool_]:
    """Return which pixels (H, W) of a picture the beams reach."""
    if geometry == "linear":
        return np.ones((size_px, size_px), dtype=bool)
    beam, depth = _beam_maps(geometry, size_px)[1][::-1]
    last = size_px - 1
    return np.asarray((beam >= 0) & (beam <= last) & (depth >= 0) & (depth <= last))


def _intensity(
    level_db: Image,
    reflector: Image,
    tissue: Tissue,
    look: VendorLook,
    rng: np.random.Generator,
) -> Image:
    """Return the mean over looks of |PSF * (scatterers + reflectors)|^2.

    Scatterers are complex white Gaussian noise times the local amplitude. The noise is
    scaled by the filter's own gain, so that healthy thyroid has mean intensity 1 at any
    picture size, while a reflector as wide as the PSF keeps its level.
    """
    # A PSF finer than the pixels still leaks into the neighbours when sampled.
    sigma = tuple(
        max(mm / tissue.pixel_mm, 0.5) for mm in (look.axial_mm, look.lateral_mm)
    )
    amplitude = np.exp(level_db * np.float32(np.log(10) / 20))
    field = rng.standard_normal((2, look.looks, *level_db.shape), dtype=np.float32)
    field *= amplitude * np.float32(1 / _noise_gain(*sigma))
    field[0] += reflector * np.float32(np.sqrt(2))
    field = ndimage.gaussian_filter1d(field, sigma[0], axis=-2, truncate=3)
    field = ndimage.gaussian_filter1d(field, sigma[1], axis=-1, truncate=3)
    return np.asarray(np.square(field).mean(axis=(0, 1)), dtype=np.float32)


def _noise_gain(axial_px: float, lateral_px: float) -> float:
    """Return by how much the PSF lowers the standard deviation of white noise."""
    gain = 1.0
    for sigma in (axial_px, lateral_px):
        reach = int(3 * sigma + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        gain *= float(np.sqrt(np.square(kernel / kernel.sum()).sum()))
    return gain


def _compress(intensity: Image, look: VendorLook) -> Image:
    """Return grey levels, 0 to 1: log compression, gain and TGC."""
    depth = np.linspace(-0.5, 0.5, intensity.shape[0], dtype=np.float32)[:, None]
    haze = np.float32(10 ** (look.clutter_db / 10))
    level_db = 10 * np.log10(intensity + haze)
    level_db += np.float32(look.gain_db - _WHITE_DB) + np.float32(look.tgc_db) * depth
    level_db /= np.float32(look.dynamic_range_db)
    level_db += 1
    return np.asarray(np.clip(level_db, 0, 1))


def _finish(grey: Image, look: VendorLook, pixel_mm: float) -> Image:
    """Return grey levels after smoothing, edge enhancement and the grey map."""
    if look.smooth_mm:
        grey = ndimage.gaussian_filter(grey, look.smooth_mm / pixel_mm, truncate=3)
    if look.edge:
        blurred = ndimage.gaussian_filter(grey, 0.8 / pixel_mm, truncate=2)
        grey = np.clip(grey + np.float32(look.edge) * (grey - blurred), 0, 1)
    return np.asarray(grey ** np.float32(look.gamma))


def _resample(values: Image, coordinates: Image, mode: str) -> Image:
    sampled = ndimage.map_coordinates(values, coordinates, order=1, mode=mode)
    return np.asarray(sampled, dtype=np.float32)


@lru_cache(maxsize=64)
def _beam_maps(geometry: Geometry, size: int) -> tuple[Image, Image]:
    """Return where a (depth, beam) grid lies in the section, and the reverse.

    Both are (2, H, W) row and column coordinates in pixels. The beams diverge from an
    apex above the skin; a sector's depth runs along the beam, a trapezoid's straight
    down. Lengths are in units of the field's width.
    """
    apex, half_angle = {"trapezoid": (1.9, 0.2), "sector": (0.75, 0.36)}[geometry]
    last = size - 1
    unit = np.linspace(0, 1, size, dtype=np.float32)
    down, across = np.meshgrid(unit, unit - 0.5, indexing="ij")
    angle = 2 * half_angle * across
    if geometry == "sector":
        radius = apex + down
        rows = radius * np.cos(angle) - apex
        columns = radius * np.sin(angle) + 0.5
        depth = np.hypot(across, down + apex) - apex
    else:
        rows = down
        columns = (apex + down) * np.tan(angle) + 0.5
        depth = down
    beam = np.arctan2(across, down + apex) / (2 * half_angle) + 0.5
    return (
        np.stack([rows, columns]).astype(np.float32) * last,
        np.stack([depth, beam]).astype(np.float32) * last,
    )


@lru_cache(maxsize=64)
def _overlay(marks: tuple[Mark, ...], size: int) -> tuple[npt.NDArray[np.bool_], Image]:
    """Return where a console writes over the border (H, W), and the ink there."""
    ink = np.full((size, size), np.nan, dtype=np.float32)
    thick, long = max(1, round(size / 64)), round(size / 4)
    for mark in marks:
        kind, edge = mark.split("_")
        at_end = edge in ("right", "bottom")
        if kind == "text":
            line = ink[-2 * thick :] if at_end else ink[: 2 * thick]
            # Letters are blobs at this size: a fixed pattern of strokes and gaps.
            line[:, thick : thick + long] = np.arange(long) // thick % 3 > 0
            continue
        column = ink[:, -2 * thick :] if at_end else ink[:, : 2 * thick]
        if kind == "ruler":
            column[:: round(size / 8)] = 0.9
        else:
            column[size // 8 : size // 2] = np.linspace(1, 0, size // 2 - size // 8)[
                :, None
            ]
    where = ~np.isnan(ink)
    return where, ink[where]
