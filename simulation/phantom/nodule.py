"""One thyroid nodule as tissue: outline, echo level, cysts, points, from its features.

A nodule has one shape per patient (`sample_nodule`) and a section of it per picture
(`paint_nodule`). Echo levels are in dB relative to healthy thyroid; H x W pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from thyroid_fl.simulation.phantom.nodule_features import NoduleFeatures
from thyroid_fl.simulation.phantom.texture import Grid, Image, paint, smooth_field, step

View = Literal["transverse", "longitudinal"]
Floats = npt.NDArray[np.float64]

_CRYSTAL_DB = 19.0  # calcium and colloid crystals


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodule:
    """What all pictures of one nodule share."""

    width_mm: float
    depth_mm: float
    length_mm: float
    """From head to foot: what a longitudinal section shows as width."""
    lobulation: float
    """Relative size of the outline's slow waves."""
    spiculation: float
    """Relative size of the outline's fast waves."""
    edge_mm: float
    """Width of the transition to the lobe."""
    level_db: float
    """Echo level of the solid part."""
    halo_db: float
    """Echo level added in a thin dark rim."""
    cystic: float
    """Fraction of the nodule's height or width that is fluid; 0: solid."""
    is_spongiform: bool
    """Many small cysts instead of one."""
    n_calcifications: int
    n_comets: int
    has_shell: bool
    """A coarse calcification with its shadow, in nodules of either pathology."""


def sample_nodule(features: NoduleFeatures, rng: np.random.Generator) -> Nodule:
    """Draw the shape and make of a nodule that shows these features."""
    diameter_mm = float(np.clip(rng.lognormal(np.log(13.5), 0.15), 10, 18))
    aspect = rng.uniform(1.25, 1.6) if features.vertical else rng.uniform(0.5, 0.75)
    width_mm = diameter_mm / np.sqrt(aspect)
    lobulation, spiculation, edge_mm = rng.uniform(0.01, 0.03), 0.0, 0.4
    if features.irregular:
        lobulation, spiculation, edge_mm = (
            (rng.uniform(0.16, 0.24), 0.02, 0.5),
            (0.05, rng.uniform(0.16, 0.24), 0.5),
            (0.08, 0.04, rng.uniform(3.5, 5.0)),
        )[rng.integers(3)]
    level_db, halo_db = _echo_level(features, rng)
    return Nodule(
        width_mm=width_mm,
        depth_mm=width_mm * aspect,
        length_mm=width_mm * rng.uniform(0.95, 1.15),
        lobulation=lobulation,
        spiculation=spiculation,
        edge_mm=edge_mm,
        level_db=level_db,
        halo_db=halo_db,
        cystic=0.0 if features.solid else rng.uniform(0.45, 0.9),
        is_spongiform=not features.solid and rng.random() < 0.3,
        n_calcifications=int(
            rng.integers(8, 15) if features.microcalcifications else 0
        ),
        n_comets=int(rng.integers(1, 4) if features.comet_tail else 0),
        has_shell=rng.random() < 0.05,
    )


def _echo_level(
    features: NoduleFeatures, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the echo level of the solid part, and of the halo around it."""
    if features.marked_hypo:
        return rng.uniform(-23, -18), 0.0
    halo_db = rng.uniform(-14, -9)
    if rng.random() < 0.3 and not features.irregular:
        # Without a halo nobody could outline a nodule that is as bright as the lobe.
        return rng.uniform(-2, 0), halo_db
    level_db = rng.uniform(4, 6) if rng.random() < 0.2 else rng.uniform(-10, -6)
    return level_db, halo_db if rng.random() < 0.2 else 0.0


def paint_nodule(
    nodule: Nodule,
    centre_mm: tuple[float, float],
    view: View,
    grid: Grid,
    tissue: tuple[Image, Image, Image],
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Paint a section into (echo, loss, reflector) in place; return its mask (H, W)."""
    echo_db, loss, reflector = tissue
    # Sections off the centre are smaller, in the same proportions.
    shrink = np.sqrt(1 - rng.uniform(0, 0.4) ** 2)
    across_mm = nodule.width_mm if view == "transverse" else nodule.length_mm
    semi_mm = (across_mm / 2 * shrink, nodule.depth_mm / 2 * shrink)
    u = (grid.x - centre_mm[0]) / np.float32(semi_mm[0])
    v = (grid.y - centre_mm[1]) / np.float32(semi_mm[1])
    outline = _outline(nodule, rng)
    angle = np.arctan2(v, u)
    radius = np.interp(angle, *outline).astype(np.float32)
    inside_mm = (radius - np.hypot(u, v)) * np.float32(np.sqrt(np.prod(semi_mm)))

    level_db = nodule.level_db + 2 * smooth_field(grid.size_px, (16, 16), rng)
    fluid = _fluid(nodule, u, v, grid, rng)
    paint(level_db, fluid, -40)
    weight = step(inside_mm, nodule.edge_mm)
    echo_db += nodule.halo_db * np.exp(-np.square(inside_mm / 0.7))
    paint(echo_db, weight, level_db)
    loss += weight * (0.08 - 0.5 * fluid)
    _add_points(nodule, centre_mm, semi_mm, grid, reflector, rng)
    if nodule.has_shell:
        _add_shell(centre_mm, semi_mm, grid, (echo_db, loss), rng)
    return np.asarray(inside_mm > 0)


def _outline(nodule: Nodule, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return angles and relative radii of the outline; its area is that of 1."""
    angle = np.linspace(-np.pi, np.pi, 181)
    radius = np.ones_like(angle)
    for amplitude, waves in (
        (nodule.lobulation, (2, 3, 4, 5, 6)),
        (nodule.spiculation, (7, 8, 9, 10, 11)),
    ):
        phase = rng.uniform(0, 2 * np.pi, size=len(waves))
        wave = np.cos(np.outer(angle, waves) + phase).sum(axis=1)
        radius += amplitude * np.sqrt(2 / len(waves)) * wave
    radius = np.clip(radius, 0.5, 1.6)
    return angle, radius / np.sqrt(np.square(radius).mean())


def _fluid(
    nodule: Nodule, u: Image, v: Image, grid: Grid, rng: np.random.Generator
) -> Image:
    """Return how much of each pixel is fluid (H, W), 0 to 1, inside the nodule."""
    if not nodule.cystic:
        return np.zeros_like(u)
    wave = smooth_field(grid.size_px, (7, 7), rng)
    if nodule.is_spongiform:
        # Small cysts of uneven size: the hills of a noise field, not a lattice.
        cells = smooth_field(grid.size_px, (22, 22), rng) + 0.3 * wave
        return step(np.minimum(cells - 0.1, 3 * (0.9 - np.hypot(u, v))), 0.5)
    direction = rng.uniform(0, 2 * np.pi)
    along = np.cos(direction) * u + np.sin(direction) * v + 0.2 * wave
    wall = 0.88 - np.hypot(u, v)
    return step(np.minimum(along + (2 * nodule.cystic - 1), wall * 2), 0.15)


def _add_points(
    nodule: Nodule,
    centre_mm: tuple[float, float],
    semi_mm: tuple[float, float],
    grid: Grid,
    reflector: Image,
    rng: np.random.Generator,
) -> None:
    """Add microcalcifications, and crystals with comet tails, to the reflectors."""
    for n, tail_mm in ((nodule.n_calcifications, 0.0), (nodule.n_comets, 2.5)):
        if not n:
            continue
        radius = 0.8 * np.sqrt(rng.random(n))
        direction = rng.uniform(0, 2 * np.pi, n)
        x = centre_mm[0] + semi_mm[0] * radius * np.cos(direction)
        y = centre_mm[1] + semi_mm[1] * radius * np.sin(direction)
        amplitude = 10 ** ((_CRYSTAL_DB + rng.uniform(-2, 3, n)) / 20)
        reflector += points(grid, x, y, amplitude, tail_mm)


def points(
    grid: Grid,
    x_mm: Floats,
    y_mm: Floats,
    amplitude: Floats,
    tail_mm: float = 0.0,
) -> Image:
    """Return bright points (H, W) of 0.3 mm; `tail_mm`: how far they ring below."""
    sigma = max(0.3, 0.6 * grid.pixel_mm)
    across = np.exp(-0.5 * np.square((grid.x[0][:, None] - x_mm) / sigma))
    below = grid.y[:, 0][:, None] - y_mm
    along = np.exp(-0.5 * np.square(below / sigma))
    if tail_mm:
        along = np.maximum(along, 0.5 * (below > 0) * np.exp(-below / tail_mm))
    return np.asarray((along * amplitude) @ across.T, dtype=np.float32)


def _add_shell(
    centre_mm: tuple[float, float],
    semi_mm: tuple[float, float],
    grid: Grid,
    tissue: tuple[Image, Image],
    rng: np.random.Generator,
) -> None:
    """Paint a coarse calcification, 3 mm wide, and the shadow that it throws."""
    echo_db, loss = tissue
    x = centre_mm[0] + rng.uniform(-0.4, 0.4) * semi_mm[0]
    y = centre_mm[1] + rng.uniform(-0.3, 0.3) * semi_mm[1]
    plaque = np.hypot((grid.x - x) / 1.5, (grid.y - y) / 0.5)
    weight = step(1 - plaque, 0.5)
    paint(echo_db, weight, 18)
    loss += 20 * weight
