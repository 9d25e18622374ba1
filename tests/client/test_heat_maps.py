"""Heat maps: Grad-CAM equals the authors' other implementation, and leaves no trace."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_grad_cam import GradCAM
from torch import nn

from thyroid_fl.batches import Cases
from thyroid_fl.client.heat_maps import (
    HEAT_COLOUR,
    OPACITY,
    cases_with_masks,
    grad_cam,
    heat_in_mask,
    heat_shares,
    mask_share,
    n_cells,
    overlay,
)
from thyroid_fl.client.site import open_archive
from thyroid_fl.manifest import read_manifest, write_manifest
from thyroid_fl.settings import make_study
from thyroid_fl.tasks import build_model

CLASSIFIERS = [
    (preset, norm)
    for preset in ("small", "paper")
    for norm in ("batch", "group", "weight")
]


def classifier(preset="small", norm="weight", seed=1):
    return build_model(make_study(preset=preset, norm=norm, seed=seed))


def pictures(n=4, px=128):
    """Blurred noise, of another kind in each picture."""
    coarse = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, (px, px), mode="bicubic").clamp(0, 1)


class WithRelu(nn.Module):
    """The classifier with its last ReLU as a layer, which the reference can watch."""

    def __init__(self, model):
        super().__init__()
        self.model, self.relu = model, nn.ReLU()

    def forward(self, images):
        return self.model.logits(self.relu(self.model.features(images)))


def predicted_log_odds(logits):
    return (logits[1] - logits[0]).abs()


@pytest.mark.parametrize(("preset", "norm"), CLASSIFIERS)
def test_it_equals_the_reference(preset, norm):
    model, images = classifier(preset, norm).eval(), pictures(n=2)
    reference = WithRelu(copy.deepcopy(model))

    with GradCAM(reference, [reference.relu]) as cam:
        expected = cam(images, [predicted_log_odds] * len(images))
    heat = grad_cam(model, images).numpy()

    # The reference also subtracts the picture's lowest heat, which would change shares.
    lowest = heat.min((1, 2), keepdims=True)
    scaled = (heat - lowest) / (heat.max((1, 2), keepdims=True) - lowest)
    assert heat.max() == 1
    np.testing.assert_allclose(scaled, expected, atol=1e-4)


def test_it_equals_the_definition_worked_out_picture_by_picture():
    model, images = classifier().eval(), pictures()

    heat = grad_cam(model, images)

    for k in range(len(images)):
        maps = model.maps(images[k : k + 1]).detach().requires_grad_()
        logits = model.logits(maps)[0]
        logits = logits - logits.mean()
        logits.max().backward()  # the predicted class's, free of what both share
        weights = maps.grad[0].mean((1, 2))
        grid = torch.relu(torch.einsum("c,chw->hw", weights, maps.detach()[0]))
        large = nn.functional.interpolate(grid[None, None], (128, 128), mode="bilinear")
        torch.testing.assert_close(heat[k], (large / large.max())[0, 0])


def test_a_number_added_to_both_logits_changes_nothing():
    model, images = classifier(), pictures()
    before = grad_cam(model, images)

    last = model.classifier[-1]
    with torch.no_grad():
        last.weight += 3 * torch.rand(last.weight.shape[1])
        last.bias += 1

    torch.testing.assert_close(grad_cam(model, images), before, atol=1e-4, rtol=1e-4)


def test_each_pictures_heat_is_its_own():
    model, images = classifier(norm="batch"), pictures()

    together = grad_cam(model, images)

    alone = torch.cat([grad_cam(model, images[k : k + 1]) for k in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_model_is_left_as_it_was(is_training):
    model, images = classifier(norm="batch").train(is_training), pictures()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = copy.deepcopy(model.state_dict())

    grad_cam(model, images)

    assert all(layer.training == is_training for layer in model.modules())
    for name, array in model.state_dict().items():
        assert torch.equal(array, before[name])
    assert all(bool((each.grad == 1).all()) for each in model.parameters())


def test_under_bfloat16_it_is_about_the_same():
    model, images = classifier(norm="batch"), pictures()
    exact = grad_cam(model, images)

    with torch.autocast("cpu", torch.bfloat16):
        rounded = grad_cam(model, images)

    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0)


def test_where_no_place_speaks_for_the_class_there_is_no_heat():
    model, images = classifier(), pictures()
    nn.init.zeros_(model.classifier[-1].weight)

    heat = grad_cam(model, images)

    assert heat.eq(0).all()
    assert heat_in_mask(heat, torch.ones_like(heat)).isnan().all()


def test_shares_worked_by_hand():
    heat = torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]).repeat(4, 1, 1)
    heat[3] = 0
    masks = torch.zeros(4, 2, 2)
    masks[0, 0, 1] = masks[1, 0] = masks[3, 0] = 1

    share = heat_in_mask(heat, masks)

    torch.testing.assert_close(
        share, torch.tensor([0.75, 1.0, torch.nan, torch.nan]), equal_nan=True
    )
    assert mask_share(masks).tolist() == [0.25, 0.5, 0.0, 0.5]


def test_heat_spread_evenly_gives_the_share_of_the_picture():
    masks = (pictures(px=32).squeeze(1) > 0.5).float()

    share = heat_in_mask(torch.ones_like(masks), masks)

    torch.testing.assert_close(share, mask_share(masks))


def test_the_overlay_is_the_picture_where_it_is_cold():
    images = torch.tensor([[[0.0, 1.0, 1.0]]])
    heat = torch.tensor([[[0.0, 0.0, 1.0]]])

    drawn = overlay(images, heat)

    assert drawn.shape == (1, 1, 3, 3)
    assert drawn[0, 0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    hot = [255 * (1 - OPACITY) + OPACITY * part for part in HEAT_COLOUR]
    assert drawn[0, 0, 2].tolist() == pytest.approx(hot, abs=0.51)


@pytest.mark.parametrize(("px", "cells"), [(64, 2), (128, 4), (512, 16)])
def test_the_grid_has_a_thirty_second_of_the_pixels(px, cells):
    assert n_cells(classifier(), px) == cells


def test_shares_come_picture_by_picture_in_the_order_of_the_rows():
    pixels = (255 * pictures(px=64)).to(torch.uint8).squeeze(1)
    masks = torch.zeros_like(pixels)
    masks[:3, 16:48, 8:40] = 1
    cases = Cases(pixels=pixels, malignant=torch.zeros(4).long(), masks=masks)
    model, rows = classifier(), np.array([3, 0, 2])

    table = heat_shares(model, cases, rows, make_study(precision="fp32", device="cpu"))

    assert table["area"].tolist() == [0, 0.25, 0.25]
    expected = heat_in_mask(
        grad_cam(model, cases.batch(torch.from_numpy(rows)).images), masks[rows]
    )
    np.testing.assert_allclose(table["in_mask"], expected)
    assert np.isnan(table["in_mask"][0])


def test_masks_are_opened_for_the_rows_that_have_one(small_manifest, tmp_path):
    (tmp_path / "images").symlink_to(small_manifest.parent / "images")
    nodule = np.zeros((40, 50), np.uint8)
    nodule[10:30, 15:35] = 255
    Image.fromarray(nodule).save(tmp_path / "nodule.png")
    Image.fromarray(nodule[:9]).save(tmp_path / "of-another-size.png")
    cases = read_manifest(small_manifest).head(6).assign(mask="nodule.png")
    cases.loc[cases.index[2], "mask"] = "of-another-size.png"
    cases.loc[cases.index[4], "mask"] = None
    write_manifest(cases, tmp_path / "manifest.csv")
    study = make_study(data=str(tmp_path / "manifest.csv"), image_px=50, device="cpu")
    archive = open_archive(study, study.data)

    kept, opened = cases_with_masks(archive, np.array([1, 2, 3, 4]), study)

    assert kept.tolist() == [1, 3]
    assert opened.masks.shape == (2, 50, 50)
    assert opened.masks[0].sum() == 400
    assert torch.equal(opened.pixels, archive.cases.pixels[kept])
    assert torch.equal(opened.malignant, archive.cases.malignant[kept])
