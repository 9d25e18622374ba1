import numpy as np
import pytest
import torch

from thyroid_fl.batches import (
    Cases,
    inference_batches,
    move_boxes,
    random_affine,
    training_batches,
    warp,
)
from thyroid_fl.masks import box_of_mask


@pytest.fixture
def cases():
    pixels = torch.arange(40, dtype=torch.uint8)[:, None, None].repeat(1, 8, 8)
    return Cases(pixels=pixels, malignant=torch.arange(40) % 2)


def batches(cases, rows, seed=1, **settings):
    settings = {
        "batch_size": 16,
        "epochs": 1,
        "rotation_deg": 0.0,
        "flips": "both",
    } | settings
    return list(
        training_batches(
            cases,
            np.array(rows),
            seed=np.random.SeedSequence(seed),
            **settings,
        )
    )


def numbers(some):
    """Which cases are in the batches: every pixel of case k is k / 255."""
    return [(b.images[:, 0, 4, 4] * 255).round().int().tolist() for b in some]


def test_every_epoch_sees_every_case_once_with_its_label(cases):
    seen = batches(cases, range(40), epochs=2)

    flat = [k for batch in numbers(seen) for k in batch]
    assert sorted(flat[:40]) == sorted(flat[40:]) == list(range(40))
    assert flat[:40] != flat[40:]
    for batch, chosen in zip(seen, numbers(seen), strict=True):
        assert batch.malignant.tolist() == [k % 2 for k in chosen]


@pytest.mark.parametrize(
    ("n", "sizes"), [(1, [1]), (16, [16]), (17, [17]), (18, [16, 2]), (33, [16, 17])]
)
def test_a_last_case_alone_joins_the_batch_before_it(cases, n, sizes):
    assert [len(b.images) for b in batches(cases, range(n))] == sizes


def test_the_seed_decides_the_batches(cases):
    first, same = (batches(cases, range(40), rotation_deg=80.0) for _ in range(2))
    other = batches(cases, range(40), seed=2, rotation_deg=80.0)

    assert all(
        torch.equal(a.images, b.images) for a, b in zip(first, same, strict=True)
    )
    assert not torch.equal(first[0].images, other[0].images)


def test_every_picture_of_a_batch_has_its_own_rotation_and_flips():
    theta = random_affine(1000, 80.0, "both", np.random.default_rng(1))

    matrices = theta[:, :, :2].numpy()
    assert np.allclose(matrices @ matrices.transpose(0, 2, 1), np.eye(2), atol=1e-6)
    assert abs(np.linalg.det(matrices).mean()) < 0.1  # half are mirrored
    assert len(np.unique(matrices, axis=0)) > 990
    assert np.all(theta[:, :, 2].numpy() == 0)


def test_without_vertical_flips_the_probe_stays_on_top():
    theta = random_affine(1000, 5.0, "horizontal", np.random.default_rng(1))

    assert (theta[:, 1, 1] > 0.99).all()
    assert 0.4 < (theta[:, 0, 0] > 0).float().mean() < 0.6


def test_a_quarter_turn_turns_the_picture():
    picture = torch.rand(1, 1, 8, 8)
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])

    assert torch.allclose(
        warp(picture, quarter, "bilinear"), torch.rot90(picture, 1, (2, 3)), atol=1e-5
    )


def ellipse(px, centre, axes):
    """A filled ellipse (px, px), and the box around it."""
    y, x = np.mgrid[:px, :px] + 0.5
    mask = ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1
    low, high = np.subtract(centre, axes), np.add(centre, axes)
    return torch.from_numpy(mask), torch.tensor([*low, *high], dtype=torch.float32)


def test_mask_and_box_move_with_the_picture():
    mask, box = ellipse(128, (50, 70), (30, 15))
    none = torch.full((4,), torch.nan)
    cases = Cases(
        pixels=(mask * 255).to(torch.uint8).repeat(32, 1, 1),
        malignant=torch.zeros(32, dtype=torch.int64),
        masks=mask.to(torch.uint8).repeat(32, 1, 1),
        boxes=torch.stack([box, none]).repeat(32, 1, 1),
    )

    (batch,) = batches(cases, range(32), batch_size=32, rotation_deg=80.0)

    assert set(batch.masks.unique().tolist()) == {0.0, 1.0}
    assert (batch.masks - batch.images).abs().mean() < 0.01
    assert torch.isnan(batch.boxes[:, 1]).all()
    for moved, found in zip(batch.masks[:, 0], batch.boxes[:, 0], strict=True):
        assert found.tolist() == pytest.approx(box_of_mask(moved > 0), abs=1.6)
    assert len(batch.boxes[:, 0].unique(dim=0)) > 30


def test_a_box_is_cut_at_the_edge_and_unmoved_without_augmentation():
    box = torch.tensor([[[4.0, 5, 60, 30]]])
    mirror = torch.tensor([[[-1.0, 0, 0], [0, 1, 0]]])
    quarter = torch.tensor([[[0.0, -1, 0], [1, 0, 0]]])
    beyond = torch.tensor([[[-20.0, 5, 90, 30]]])
    still = torch.eye(2, 3)[None]
    shape = (1, 1, 64, 64)

    assert torch.allclose(move_boxes(box, still, shape), box)
    assert move_boxes(beyond, still, shape).tolist() == [[[0, 5, 64, 30]]]
    assert move_boxes(box, mirror, shape).tolist() == [[[4, 5, 60, 30]]]
    assert move_boxes(box, quarter, shape)[0, 0].tolist() == pytest.approx(
        [5, 4, 30, 60], abs=1e-4
    )  # as torch.rot90: the top comes to the left


def test_inference_keeps_order_and_pictures(cases):
    seen = list(inference_batches(cases, np.array([5, 3, 9]), batch_size=2))

    assert numbers(seen) == [[5, 3], [9]]
    assert seen[0].images.max() <= 1
