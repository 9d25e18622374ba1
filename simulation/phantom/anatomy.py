"""The neck around the nodule: skin to prevertebral muscle, lobe, trachea, carotid.

Echo levels are in dB relative to healthy thyroid; lengths in mm; H x W pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.simulation.phantom.nodule import (
    Nodule,
    View,
    paint_nodule,
    points,
    sample_nodule,
)
from thyroid_fl.simulation.phantom.nodule_features import NoduleFeatures
from thyroid_fl.simulation.phantom.scanner import Tissue
from thyroid_fl.simulation.phantom.texture import (
    Grid,
    Image,
    make_grid,
    paint,
    smooth_field,
    step,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Neck:
    """What all pictures of one patient share."""

    nodule: Nodule
    side: int
    """-1: the trachea lies to the left in a transverse picture; 1: to the right."""
    fat_mm: float
    """Depth of the strap muscles."""
    lobe_top_mm: float
    lobe_semi_mm: tuple[float, float, float]
    """Half the width, the depth and the length of the lobe."""
    nodule_at: tuple[float, float]
    """Where the nodule lies in the room that the lobe leaves, -1 to 1."""
    vessel_mm: float
    """Half the width of the carotid."""
    field_mm: float
    """Side of the picture."""


def sample_neck(features: NoduleFeatures, rng: np.random.Generator) -> Neck:
    """Draw a patient's neck with a nodule that shows these features."""
    nodule = sample_nodule(features, rng)
    fat_mm = rng.uniform(2.2, 3.6)
    lobe_top_mm = fat_mm + rng.uniform(2.0, 3.5)
    # A lobe gives way to a large nodule.
    lobe_semi_mm = (
        max(rng.uniform(8, 10.5), nodule.width_mm / 2 + 2),
        max(rng.uniform(7, 9), nodule.depth_mm / 2 + 1.2),
        rng.uniform(18, 26),
    )
    return Neck(
        nodule=nodule,
        side=int(rng.choice((-1, 1))),
        fat_mm=fat_mm,
        lobe_top_mm=lobe_top_mm,
        lobe_semi_mm=lobe_semi_mm,
        nodule_at=(rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6)),
        vessel_mm=rng.uniform(2.6, 3.7),
        field_mm=max(
            rng.uniform(25, 29), lobe_top_mm + 2 * lobe_semi_mm[1] + rng.uniform(1, 3)
        ),
    )


def section(
    neck: Neck, view: View, size_px: int, rng: np.random.Generator
) -> tuple[Tissue, npt.NDArray[np.bool_]]:
    """Return the tissue of one section, and the nodule's mask (H, W) in it."""
    grid = make_grid(size_px, neck.field_mm)
    bent = _bend(grid, rng)
    echo_db = -8 + 4 * smooth_field(size_px, (20, 6), rng)
    loss = np.zeros_like(echo_db)
    reflector = _bright_foci(grid, rng)
    lobe_mm = _lobe_centre(neck, view, rng)
    _paint_lobe(echo_db, neck, view, bent, lobe_mm, rng)
    if view == "transverse":
        _paint_trachea(echo_db, loss, neck, bent, rng)
        _paint_vessels(echo_db, loss, neck, bent, lobe_mm, rng)
    _paint_layers(echo_db, neck, bent, rng)
    nodule_mm = _nodule_centre(neck, view, lobe_mm)
    mask = paint_nodule(
        neck.nodule, nodule_mm, view, grid, (echo_db, loss, reflector), rng
    )
    tissue = Tissue(
        echo_db=echo_db,
        loss_db_per_mm=loss,
        reflector=reflector,
        pixel_mm=grid.pixel_mm,
    )
    return tissue, mask


def _bend(grid: Grid, rng: np.random.Generator) -> Grid:
    """Return the grid slightly bent, so that no organ is a perfect ellipse."""
    shift_x, shift_y = (smooth_field(grid.size_px, (4, 4), rng) for _ in range(2))
    return Grid(
        x=grid.x + np.float32(0.7) * shift_x,
        y=grid.y + np.float32(0.6) * shift_y,
        pixel_mm=grid.pixel_mm,
        size_px=grid.size_px,
    )


def _ellipse(
    grid: Grid, centre_mm: tuple[float, float], semi_mm: tuple[float, float]
) -> Image:
    """Return roughly how far inside an ellipse each pixel lies (H, W), in mm."""
    across = (grid.x - np.float32(centre_mm[0])) / np.float32(semi_mm[0])
    down = (grid.y - np.float32(centre_mm[1])) / np.float32(semi_mm[1])
    return np.asarray((1 - np.hypot(across, down)) * np.float32(min(semi_mm)))


def _wall(inside_mm: Image, grid: Grid, centre_mm: tuple[float, float]) -> Image:
    """Return a thin line (H, W) where `inside_mm` is 0, faint where the beam grazes."""
    across = np.abs(grid.x - np.float32(centre_mm[0]))
    down = np.abs(grid.y - np.float32(centre_mm[1]))
    return np.asarray(np.exp(-np.square(inside_mm / 0.4)) * down / (across + down + 1))


def _lobe_centre(
    neck: Neck, view: View, rng: np.random.Generator
) -> tuple[float, float]:
    down = neck.lobe_top_mm + neck.lobe_semi_mm[1]
    if view == "transverse":
        return -neck.side * rng.uniform(-1, 1), down
    return rng.uniform(-6, 6), down


def _nodule_centre(
    neck: Neck, view: View, lobe_mm: tuple[float, float]
) -> tuple[float, float]:
    """Return where in the lobe the nodule lies, so that it stays inside."""
    width, depth = neck.nodule.width_mm, neck.nodule.depth_mm
    if view == "longitudinal":
        # The sonographer centres the nodule; the lobe extends past the picture.
        room_mm, middle_mm = 3.0, 0.0
    else:
        room_mm = max(0.0, neck.lobe_semi_mm[0] - width / 2 - 1)
        middle_mm = lobe_mm[0]
    room_down_mm = max(0.0, neck.lobe_semi_mm[1] - depth / 2 - 1)
    return (
        middle_mm + neck.nodule_at[0] * room_mm,
        lobe_mm[1] + neck.nodule_at[1] * room_down_mm,
    )


def _paint_lobe(
    echo_db: Image,
    neck: Neck,
    view: View,
    bent: Grid,
    lobe_mm: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    across, down, along = neck.lobe_semi_mm
    inside = _ellipse(bent, lobe_mm, (across if view == "transverse" else along, down))
    texture = 1.2 * smooth_field(bent.size_px, (16, 16), rng)
    paint(echo_db, step(inside, 0.6), texture)
    echo_db += 10 * _wall(inside + 0.3, bent, lobe_mm)


def _paint_trachea(
    echo_db: Image, loss: Image, neck: Neck, bent: Grid, rng: np.random.Generator
) -> None:
    """Paint the airway: a bright arc of cartilage, then ringing in the dark."""
    semi_mm = (rng.uniform(8, 10), rng.uniform(8, 10))
    centre_mm = (
        neck.side * (neck.lobe_semi_mm[0] + semi_mm[0] - rng.uniform(0, 1.5)),
        neck.lobe_top_mm + semi_mm[1] + rng.uniform(0, 3),
    )
    inside = _ellipse(bent, centre_mm, semi_mm)
    weight = step(inside, 0.5)
    ringing = -10 + 6 * np.cos(inside * np.float32(2 * np.pi / 1.8))
    paint(echo_db, weight, ringing)
    echo_db += 16 * _wall(inside, bent, centre_mm)
    loss += 4 * weight


def _paint_vessels(
    echo_db: Image,
    loss: Image,
    neck: Neck,
    bent: Grid,
    lobe_mm: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Paint the carotid and, flattened by the probe, the jugular vein."""
    radius = neck.vessel_mm
    lateral_mm = lobe_mm[0] - neck.side * (neck.lobe_semi_mm[0] + radius + 0.3)
    carotid_mm = (lateral_mm, lobe_mm[1] + rng.uniform(-1, 4))
    vein_mm = (lateral_mm - neck.side * rng.uniform(0, 3), carotid_mm[1] - 1.9 * radius)
    for centre_mm, semi_mm, wall_db in (
        (carotid_mm, (radius, radius * rng.uniform(0.75, 0.95)), 14.0),
        (vein_mm, (radius * 1.4, radius * rng.uniform(0.25, 0.7)), 5.0),
    ):
        inside = _ellipse(bent, centre_mm, semi_mm)
        weight = step(inside, 0.5)
        paint(echo_db, weight, -36)
        echo_db += wall_db * _wall(inside + 0.2, bent, centre_mm)
        loss -= 0.4 * weight


def _paint_layers(
    echo_db: Image, neck: Neck, bent: Grid, rng: np.random.Generator
) -> None:
    """Paint skin, fat with septa, strap muscle, its fasciae, and the deep muscle."""
    size = bent.size_px
    fibres = smooth_field(size, (34, 5), rng)
    muscle_mm = bent.y - np.float32(neck.fat_mm)
    strap_end_mm = bent.y - np.float32(neck.lobe_top_mm - 0.3)
    deep_mm = bent.y - np.float32(neck.lobe_top_mm + 2 * neck.lobe_semi_mm[1] + 0.8)
    paint(echo_db, step(deep_mm, 0.5), -10 + 4 * fibres)
    paint(echo_db, step(-strap_end_mm, 0.5), -10 + 4 * fibres)
    septa = 8 * np.maximum(smooth_field(size, (24, 6), rng), 0)
    paint(echo_db, step(-muscle_mm, 0.5), -8 + septa)
    for depth_mm, level_db in ((muscle_mm, 12), (strap_end_mm, 9), (deep_mm, 8)):
        echo_db += level_db * np.exp(-np.square(depth_mm / 0.4))
    paint(echo_db, step(1.2 - bent.y, 0.4), 8)


def _bright_foci(grid: Grid, rng: np.random.Generator) -> Image:
    """Return bright points anywhere, which mean nothing (vessel walls, fibres)."""
    n = rng.integers(0, 3)
    x = rng.uniform(-0.5, 0.5, n) * grid.size_px * grid.pixel_mm
    y = rng.uniform(0.2, 1.0, n) * grid.size_px * grid.pixel_mm
    return points(grid, x, y, 10 ** (rng.uniform(6, 14, n) / 20))
