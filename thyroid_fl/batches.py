"""From a pixel store to batches on the device.

Shapes: B cases, H x W pixels (square here).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Some cases, as the model and the loss see them."""

    images: Tensor
    """(B, 1, H, W) float32 in [0, 1]."""
    malignant: Tensor
    """(B,) int64, 1 = malignant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cases:
    """Pictures and labels of many cases, resident on the device; rows select some."""

    pixels: Tensor
    """(N, H, W) uint8."""
    malignant: Tensor
    """(N,) int64; -1 where unknown."""

    def batch(self, rows: Tensor) -> Batch:
        """Return the cases in these rows, (B,) int64 on the device, not augmented."""
        return Batch(
            images=self.pixels[rows].unsqueeze(1).float().div_(255),  # (B, 1, H, W)
            malignant=self.malignant[rows],
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
            yield Batch(images=warp(batch.images, theta), malignant=batch.malignant)


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
        flips: ``horizontal``, or ``both``: each with probability one half.
        rng: where the draws come from.

    Returns:
        (n, 2, 3) float32, maps from the new picture's to the old one's coordinates.
    """
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg, n))
    flip = rng.choice((-1.0, 1.0), (2, n))
    if flips == "horizontal":
        flip[1] = 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.zeros((n, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 0, 1] = cos * flip[0], -sin * flip[1]
    theta[:, 1, 0], theta[:, 1, 1] = sin * flip[0], cos * flip[1]
    return torch.from_numpy(theta)


def warp(images: Tensor, theta: Tensor) -> Tensor:
    """Move every picture (B, 1, H, W) by its own affine map (B, 2, 3); outside is 0."""
    grid = F.affine_grid(
        theta.to(images.device, non_blocking=True),
        list(images.shape),
        align_corners=False,
    )
    return F.grid_sample(images, grid, align_corners=False)
