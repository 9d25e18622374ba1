import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from thyroid_fl.batches import Batch, Cases, training_batches
from thyroid_fl.client.inference import validate
from thyroid_fl.client.site import Site
from thyroid_fl.client.training import (
    local_update,
    make_optimizer,
    pull_towards_start,
)
from thyroid_fl.devices import place
from thyroid_fl.errors import RoundError
from thyroid_fl.settings import make_study
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import arrays_of, load_arrays

TASK = TASKS["classification"]
STUDY = make_study(image_px=32, threads=1)


@pytest.fixture
def cases():
    """Pictures with a bright middle are malignant: learnable in a few steps."""
    rng = np.random.default_rng(1)
    malignant = rng.integers(0, 2, 48)
    pixels = rng.integers(0, 100, (48, 32, 32))
    pixels[:, 10:22, 10:22] += 100 * malignant[:, None, None]
    return Cases(
        pixels=torch.from_numpy(pixels.astype(np.uint8)),
        malignant=torch.from_numpy(malignant),
    )


def train(cases, study=STUDY, rows=range(48), epochs=3, mu=0.0, rate=1e-3):
    model = build_model(study)
    batches = training_batches(
        cases,
        np.array(rows, np.int64),
        batch_size=16,
        epochs=epochs,
        rotation_deg=20.0,
        flips="both",
        seed=np.random.SeedSequence(5),
    )
    torch.manual_seed(5)
    update = local_update(
        model,
        TASKS[study.task],
        batches,
        make_optimizer(model, study, rate, mu),
        study,
    )
    return model, update


def validated(model, cases, rows, study):
    rows = np.array(rows, np.int64)
    return validate(model, Site(name="H", cases=cases, train=rows, val=rows), study)


def test_the_loop_learns(cases):
    model, update = train(cases, epochs=8)

    found = validated(model, cases, range(48), STUDY)
    assert update.n_steps == 24
    assert found["loss"] < update.loss
    assert found["auc-sum"] / found["auc-n"] > 0.95


@pytest.mark.parametrize(
    ("task", "metric"), [("segmentation", "dice"), ("detection", "iou")]
)
def test_the_same_loop_learns_where_the_nodule_is(task, metric):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 100, (32, 64, 64))
    masks = np.zeros((32, 64, 64), np.uint8)
    corners = rng.integers(4, 28, (32, 2))
    for k, (x, y) in enumerate(corners):
        masks[k, y : y + 32, x : x + 32] = 1
    boxes = np.hstack([corners, corners + 32])[:, None].astype(np.float32)
    cases = Cases(
        pixels=torch.from_numpy((pixels + 150 * masks).astype(np.uint8)),
        malignant=torch.full((32,), -1),
        masks=torch.from_numpy(masks),
        boxes=torch.from_numpy(boxes),
    )
    study = make_study(task=task, threads=1)
    before = validated(build_model(study), cases, range(32), study)

    model, update = train(cases, study, rows=range(32), epochs=20, rate=3e-3)

    after = validated(model, cases, range(32), study)
    assert update.n_steps == 40
    assert after["loss"] < 0.5 * before["loss"]
    assert after[f"{metric}-n"] == 32
    assert after[f"{metric}-sum"] / 32 > 0.8


def test_mu_zero_is_fedavg_to_the_bit_and_mu_keeps_the_weights_closer(cases):
    start = arrays_of(build_model(STUDY))
    plain, zero, pulled = (
        arrays_of(train(cases, mu=mu, rate=1e-2)[0]) for mu in (0.0, 0.0, 10.0)
    )

    def distance(arrays):
        return sum(np.square(arrays[k] - start[k]).sum() for k in start)

    assert all(np.array_equal(plain[k], zero[k]) for k in plain)
    assert distance(pulled) < distance(plain)


def test_the_step_hook_equals_the_proximal_term_in_the_loss():
    torch.manual_seed(1)
    x, y, mu = torch.rand(8, 5), torch.rand(8, 1), 0.3
    in_hook, in_loss = nn.Linear(5, 1), nn.Linear(5, 1)
    in_loss.load_state_dict(in_hook.state_dict())
    start = [p.detach().clone() for p in in_loss.parameters()]
    optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (in_hook, in_loss)]
    pull_towards_start(optimizers[0], list(in_hook.parameters()), mu)

    for _ in range(20):
        for model, optimizer in zip((in_hook, in_loss), optimizers, strict=True):
            optimizer.zero_grad()
            loss = (model(x) - y).square().mean()
            if model is in_loss:
                pairs = zip(in_loss.parameters(), start, strict=True)
                loss = loss + mu / 2 * sum((p - s).square().sum() for p, s in pairs)
            loss.backward()
            optimizer.step()

    for p, q in zip(in_hook.parameters(), in_loss.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["group", "batch", "weight"])
@pytest.mark.parametrize("rows", [[3], [1, 2]])
def test_a_hospital_with_one_picture_or_one_class_trains(norm, rows):
    study = make_study(norm=norm)
    cases = Cases(
        pixels=torch.randint(0, 255, (4, 64, 64), dtype=torch.uint8),
        malignant=torch.ones(4, dtype=torch.int64),
    )

    model, update = train(cases, study, rows=rows, epochs=1)

    assert np.isfinite(update.loss)
    found = validated(model, cases, rows, study)
    assert np.isfinite(found["loss"])
    assert found["auc-n"] == 0


def test_diverged_weights_are_refused(cases):
    with pytest.raises(RoundError, match="training diverged"):
        train(cases, dataclasses.replace(STUDY, optimizer="sgd"), rate=1e12)


def test_no_batches_leave_the_model_as_it_was():
    model = build_model(STUDY)
    before = arrays_of(model)

    update = local_update(
        model, TASK, [], make_optimizer(model, STUDY, 1.0, 0.0), STUDY
    )

    assert (update.n_steps, np.isnan(update.loss)) == (0, True)
    assert all(np.array_equal(before[k], v) for k, v in arrays_of(model).items())


def test_without_a_case_nothing_is_validated(cases):
    found = validated(build_model(STUDY), cases, [], STUDY)

    assert found.keys() == {"loss"}
    assert np.isnan(found["loss"])


def test_weights_travel_and_come_back_the_same():
    sent = build_model(make_study(norm="batch", seed=1))
    received = place(build_model(make_study(norm="batch", seed=2)), torch.device("cpu"))

    load_arrays(received, arrays_of(sent))

    assert "features.norm0.num_batches_tracked" not in arrays_of(sent)
    picture = torch.rand(2, 1, 64, 64)
    assert torch.allclose(sent.eval()(picture), received.eval()(picture), atol=1e-5)


def test_weights_of_another_model_are_refused():
    arrays = arrays_of(build_model(STUDY))
    name = "features.conv0.weight"

    with pytest.raises(RoundError, match="differs from the one built here in 1 arrays"):
        load_arrays(build_model(STUDY), {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(RoundError, match="has shape"):
        load_arrays(build_model(STUDY), arrays | {name: arrays[name][:, :, :3]})


def test_the_batch_is_a_value():
    batch = Batch(images=torch.rand(1, 1, 8, 8), malignant=torch.tensor([1]))

    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.images = batch.images
