"""The brushes of the phantom: coordinates in mm, smooth noise, soft edges.

H x W pixels, float32.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

Image = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Where the pixels of a square picture lie."""

    x: Image
    """(H, W) to the right of the middle, in mm."""
    y: Image
    """(H, W) below the skin, in mm."""
    pixel_mm: float
    size_px: int


def make_grid(size_px: int, field_mm: float) -> Grid:
    """Return the grid of a picture whose side is `field_mm`."""
    across, down = _unit_grid(size_px)
    return Grid(
        x=across * np.float32(field_mm),
        y=down * np.float32(field_mm),
        pixel_mm=field_mm / size_px,
        size_px=size_px,
    )


def step(inside_mm: Image, width_mm: float) -> Image:
    """Return 0 outside and 1 inside, with a linear edge of this width."""
    return np.asarray(np.clip(inside_mm / np.float32(width_mm) + 0.5, 0, 1))


def paint(canvas: Image, weight: Image, value: Image | float) -> None:
    """Lay a value over the canvas, in place, where the weight is 1."""
    canvas += weight * (value - canvas)


def smooth_field(
    size_px: int, n_cells: tuple[int, int], rng: np.random.Generator
) -> Image:
    """Return smooth noise (H, W) of mean 0 and variance 1.

    `n_cells` counts the random values down and across the picture, so the same random
    numbers give the same field at any picture size.
    """
    rows, columns = n_cells
    values = rng.standard_normal((rows + 3, columns + 3), dtype=np.float32)
    return np.asarray(_spline(size_px, rows) @ values @ _spline(size_px, columns).T)


@lru_cache(maxsize=16)
def _unit_grid(size_px: int) -> tuple[Image, Image]:
    unit = (np.arange(size_px, dtype=np.float32) + np.float32(0.5)) / size_px
    down, across = np.meshgrid(unit, unit - np.float32(0.5), indexing="ij")
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


@lru_cache(maxsize=64)
def _spline(size_px: int, n_cells: int) -> Image:
    """Return cubic B-splines (size_px, n_cells + 3), scaled so that variance stays."""
    knots = np.arange(-3, n_cells + 4) / n_cells
    unit = (np.arange(size_px) + 0.5) / size_px
    weights = BSpline.design_matrix(unit, knots, 3).toarray()
    return np.asarray(
        weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32
    )
