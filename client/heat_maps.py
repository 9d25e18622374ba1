"""Where the classifier looks: Grad-CAM (Selvaraju et al., ICCV 2017).

Shapes: B pictures of H x W pixels (square here), C feature maps of h x w cells.

The layer is the last: the output of the DenseNet's ``features``, rectified, of every
preset and norm. Nothing else reaches the head, which takes the maps' means; so only
the head is differentiated, and a heat map costs little more than a prediction. Its
grid is coarse, h = H / 32.

What is explained is the model's answer: the log-odds of the class that it predicts.
Of two logits only the difference has a meaning, because adding a number to both changes
no prediction.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from thyroid_fl.batches import Batch, Cases, IntArray
from thyroid_fl.client.inference import sized_batches
from thyroid_fl.client.site import Archive
from thyroid_fl.devices import autocast
from thyroid_fl.pixels import open_store
from thyroid_fl.settings import Study
from thyroid_fl.tasks.classification import GreyDenseNet

HEAT_COLOUR = (213, 94, 0)
"""Of Okabe and Ito (2008), told apart by the colour-blind."""
OPACITY = 0.7
"""Of the overlay where the heat is 1."""


@torch.no_grad()
def grad_cam(model: GreyDenseNet, images: Tensor) -> Tensor:
    """Return how much each place speaks for the class that the model predicts.

    Selvaraju et al. 2017, equations 1 and 2; enlarged bilinearly, and divided by the
    picture's highest. The model is run in evaluation mode and left as it was, with its
    gradients; the head is run in float32, also under autocast.

    Args:
        model: the classifier.
        images: (B, 1, H, W), from 0 to 1.

    Returns:
        (B, H, W) float32, from 0 to 1; all 0 where no place speaks for the class.
    """
    was_training = model.training
    try:
        maps = model.eval().maps(images).float()  # (B, C, h, w)
        weights = _gradients(model, maps).mean((2, 3), keepdim=True)
    finally:
        model.train(was_training)
    heat = F.relu((weights * maps).sum(1, keepdim=True))
    heat = F.interpolate(heat, images.shape[2:], mode="bilinear").squeeze(1)
    highest = heat.amax((1, 2), keepdim=True)
    return torch.where(highest > 0, heat / highest, 0.0)  # (B, H, W)


def _gradients(model: GreyDenseNet, maps: Tensor) -> Tensor:
    """Return the gradients of the predicted class's log-odds, (B, C, h, w)."""
    with torch.enable_grad(), torch.autocast(maps.device.type, enabled=False):
        maps = maps.detach().requires_grad_()
        logits = model.logits(maps)
        log_odds = (logits[:, 1] - logits[:, 0]).abs()
        (gradients,) = torch.autograd.grad(log_odds.sum(), maps)
    return gradients


def heat_in_mask(heat: Tensor, masks: Tensor) -> Tensor:
    """Return which share of each picture's heat is inside its mask.

    Heat spread evenly gives `mask_share`.

    Args:
        heat: (B, H, W), not negative.
        masks: (B, H, W), 1 = nodule, else 0.

    Returns:
        (B,) from 0 to 1; NaN where there is no heat, or no mask.

    >>> heat_in_mask(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 1.0]]]))
    tensor([0.7500])
    """
    share = (heat * masks).sum((1, 2)) / heat.sum((1, 2))  # 0 / 0 is NaN
    return torch.where(masks.amax((1, 2)) > 0, share, torch.nan)


def mask_share(masks: Tensor) -> Tensor:
    """Return which share of each square picture its mask (B, H, W) covers: (B,)."""
    return masks.float().mean((1, 2))


def overlay(images: Tensor, heat: Tensor) -> NDArray[np.uint8]:
    """Return pictures with their heat laid over them, the more opaque the hotter.

    Args:
        images: (B, H, W), from 0 to 1.
        heat: (B, H, W), from 0 to 1.

    Returns:
        (B, H, W, 3) in RGB.
    """
    colour = torch.tensor(HEAT_COLOUR, device=images.device) / 255
    opacity = OPACITY * heat.unsqueeze(-1)
    mixed = (1 - opacity) * images.unsqueeze(-1) + opacity * colour  # (B, H, W, 3)
    return (255 * mixed).round().to(torch.uint8).cpu().numpy()


def cases_with_masks(
    archive: Archive, rows: IntArray, study: Study
) -> tuple[IntArray, Cases]:
    """Return those of the rows whose mask can be used, and their cases with masks.

    A task that needs no masks opens none. So these few pictures get a pixel store of
    their own, beside the others.
    """
    made = ["crop", "scale", "left", "top", "mask_fault", "test_set"]
    store = open_store(
        archive.table.iloc[rows].drop(columns=made),
        archive.folder,
        archive.folder / "pixels",
        region=study.region,
        margin=study.margin,
        image_px=study.image_px,
        masks=True,
    )
    device = archive.cases.pixels.device
    usable = np.flatnonzero(store.cases["mask"].notna())
    places = pd.Index(archive.table["image_id"])
    kept = places.get_indexer(store.cases["image_id"].iloc[usable]).astype(np.int64)
    masks = torch.from_numpy(np.asarray(store.masks)[usable]).to(device)
    cases = Cases(
        pixels=torch.from_numpy(store.pixels[usable]).to(device),
        malignant=archive.cases.malignant[torch.from_numpy(kept).to(device)],
        masks=masks,
    )
    return kept, cases


def heat_maps(
    model: GreyDenseNet, cases: Cases, rows: IntArray, study: Study
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches of the rows in order, with their heat (B, H, W)."""
    for batch in sized_batches(cases, rows, study):
        with autocast(study, batch.images.device):
            heat = grad_cam(model, batch.images)
        yield batch, heat


def heat_shares(
    model: GreyDenseNet, cases: Cases, rows: IntArray, study: Study
) -> pd.DataFrame:
    """Return a row per picture: in_mask (`heat_in_mask`) and area (`mask_share`).

    Args:
        model: the classifier.
        cases: with masks.
        rows: of the cases.
        study: how the model is run.
    """
    shares = [torch.empty(0, 2, device=cases.pixels.device)]
    for batch, heat in heat_maps(model, cases, rows, study):
        assert batch.masks is not None, "they are opened with masks"
        masks = batch.masks.squeeze(1)
        shares.append(torch.stack([heat_in_mask(heat, masks), mask_share(masks)], 1))
    values = torch.cat(shares).double().cpu().numpy()  # (len(rows), 2)
    return pd.DataFrame(values, columns=["in_mask", "area"])


@torch.no_grad()
def n_cells(model: GreyDenseNet, image_px: int) -> int:
    """Return how many cells the heat has along a side of a picture of this side."""
    return int(model.eval().maps(torch.zeros(1, 1, image_px, image_px)).shape[-1])
