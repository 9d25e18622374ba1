import numpy as np
import pytest
import torch

from thyroid_fl.batches import (
    Cases,
    inference_batches,
    random_affine,
    training_batches,
    warp,
)


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


def test_inference_keeps_order_and_pictures(cases):
    seen = list(inference_batches(cases, np.array([5, 3, 9]), batch_size=2))

    assert numbers(seen) == [[5, 3], [9]]
    assert seen[0].images.max() <= 1
