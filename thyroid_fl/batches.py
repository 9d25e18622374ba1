"""From a pixel store to batches on the device.

Shapes: B cases, H x W pixels (square here).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some cases, as the model and the loss see them; a task reads what it needs."""

    images: Tensor
    """(B, 1, H, W) float32 in [0, 1]."""
    malignant: Tensor
    """(B,) int64, 1 = malignant; -1 where unknown."""
    masks: Tensor | None = None
    """(B, 1, H, W) float32, 1 = nodule; None if not loaded."""
    boxes: Tensor | None = None
    """(B, K, 4) float32, x0, y0, x1, y1 in pixels of the batch's pictures; a picture
    with fewer than K nodules ends in rows of NaN. None if not loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cases:
    """Pictures and labels of N cases, resident on the device; rows select some."""

    pixels: Tensor
    """(N, H, W) uint8."""
    malignant: Tensor
    """(N,) int64; -1 where unknown."""
    masks: Tensor | None = None
    """(N, H, W) uint8, 1 = nodule."""
    boxes: Tensor | None = None
    """(N, K, 4) float32, as in `Batch`."""

    def batch(self, rows: Tensor) -> Batch:
        """Return the cases in these rows, (B,) int64 on the device, not augmented."""
        masks, boxes = self.masks, self.boxes
        return Batch(
            images=self.pixels[rows].unsqueeze(1).float().div_(255),  # (B, 1, H, W)
            malignant=self.malignant[rows],
            masks=None if masks is None else masks[rows].unsqueeze(1).float(),
            boxes=None if boxes is None else boxes[rows],
        )


def training_batches(
    cases: Cases,
    rows: IntArray,
    *,
    batch_size: int,
    epochs: int,
    rotation_deg: float,
    flips: str,
    seed: np.random.SeedSequence,
) -> Iterator[Batch]:
    """Yield augmented batches of these rows, shuffled anew in every epoch.

    A last batch of one case joins the batch before it: BatchNorm has no variance of
    one value, and one case alone gives a very noisy step.
    """
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(rows)
        n_batches = max(1, len(order) // batch_size + (len(order) % batch_size > 1))
        cuts = [batch_size * k for k in range(1, n_batches)]
        for chosen in np.split(order, cuts):
            batch = cases.batch(torch.from_numpy(chosen).to(cases.pixels.device))
            theta = random_affine(len(chosen), rotation_deg, flips, rng)
            yield moved(batch, theta)


def inference_batches(
    cases: Cases, rows: IntArray, *, batch_size: int
) -> Iterator[Batch]:
    """Yield the rows in order, not augmented."""
    for start in range(0, len(rows), batch_size):
        chosen = torch.from_numpy(rows[start : start + batch_size])
        yield cases.batch(chosen.to(cases.pixels.device))


def random_affine(
    n: int, rotation_deg: float, flips: str, rng: np.random.Generator
) -> Tensor:
    """Draw a rotation and flips per picture, as the authors' code of Xu et al. 2023.

    Args:
        n: number of pictures.
        rotation_deg: largest rotation to either side, uniform.
        flips: ``none``, ``horizontal``, or ``both``: each with probability one half.
        rng: where the draws come from.

    Returns:
        (n, 2, 3) float32, maps from the new picture's to the old one's coordinates.
    """
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg, n))
    flip = rng.choice((-1.0, 1.0), (2, n))
    flip[{"none": 0, "horizontal": 1, "both": 2}[flips] :] = 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = cos * flip[0], -sin * flip[1]
    theta[:, 1, 0], theta[:, 1, 1] = sin * flip[0], cos * flip[1]
    return torch.from_numpy(theta)


def moved(batch: Batch, theta: Tensor) -> Batch:
    """Return the batch with every picture, mask and box moved by its own affine map.

    Args:
        batch: square pictures.
        theta: (B, 2, 3), as `random_affine` draws it.
    """
    theta = theta.to(batch.images.device, non_blocking=True)
    masks, boxes = batch.masks, batch.boxes
    return replace(
        batch,
        images=warp(batch.images, theta, "bilinear"),
        masks=None if masks is None else warp(masks, theta, "nearest"),
        boxes=None if boxes is None else move_boxes(boxes, theta, batch.images.shape),
    )


def warp(images: Tensor, theta: Tensor, mode: str) -> Tensor:
    """Move every picture (B, 1, H, W) by its own affine map (B, 2, 3); outside is 0."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode, align_corners=False)


def move_boxes(boxes: Tensor, theta: Tensor, shape: Sequence[int]) -> Tensor:
    """Return boxes (B, K, 4) in square pictures moved as `warp` moves these.

    A nodule is an oval rather than a rectangle: the new box is the tight one around the
    ellipse in the old box, cut at the picture's edge. Around the rotated rectangle it
    would grow with every degree.
    """
    half = shape[-1] / 2
    back = theta[:, :, :2].transpose(1, 2)  # old to new: its inverse, as it is a turn
    low, high = (boxes - half).chunk(2, -1)  # (B, K, 2), x and y
    centres, extents = (low + high) / 2, (high - low) / 2
    centres = centres @ back.mT
    extents = (extents.square() @ back.square().mT).sqrt()
    edges = torch.cat([centres - extents, centres + extents], -1)
    return (edges + half).clamp(0, shape[-1])  # keeps NaN
