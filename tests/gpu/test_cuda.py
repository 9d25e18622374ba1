"""The same code on CUDA: it learns, agrees with the CPU, and stays on the device."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import thyroid_fl
from thyroid_fl.batches import Cases, training_batches
from thyroid_fl.client.app import _built
from thyroid_fl.client.heat_maps import grad_cam, heat_in_mask
from thyroid_fl.client.inference import validate
from thyroid_fl.client.site import Site, open_archive, open_site
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import autocast, choose_device, place, uses_bf16
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import Training, train
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import arrays_of, load_arrays, read_weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"
    ),
]
DEVICE = "cuda"
CUDA = torch.device(DEVICE)
TASK = TASKS["classification"]


@pytest.fixture
def cases():
    """Bright squares, the larger ones malignant: learnable in a few steps."""
    rng = np.random.default_rng(1)
    malignant = rng.integers(0, 2, 48)
    sides, corners = 20 + 12 * malignant, rng.integers(4, 28, (48, 2))
    boxes = np.hstack([corners, corners + sides[:, None]])
    masks = np.zeros((48, 64, 64), np.uint8)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = 1
    pixels = rng.integers(0, 100, masks.shape) + 150 * masks
    return Cases(
        pixels=torch.from_numpy(pixels.astype(np.uint8)).to(CUDA),
        malignant=torch.from_numpy(malignant).to(CUDA),
        masks=torch.from_numpy(masks).to(CUDA),
        boxes=torch.from_numpy(boxes[:, None].astype(np.float32)).to(CUDA),
    )


def batches(cases, epochs):
    return training_batches(
        cases,
        np.arange(48),
        batch_size=16,
        epochs=epochs,
        rotation_deg=20.0,
        flips="both",
        seed=np.random.SeedSequence(5),
    )


def test_cuda_is_what_auto_takes():
    assert choose_device("auto").type == choose_device(DEVICE).type == DEVICE


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize(
    ("task", "metric"),
    [("classification", "auc"), ("segmentation", "dice"), ("detection", "iou")],
)
def test_the_loop_learns(cases, task, metric, precision):
    study = make_study(task=task, precision=precision)
    model = place(build_model(study), CUDA)
    optimizer = make_optimizer(model, study, 2e-3, 0.0)

    update = local_update(model, TASKS[task], batches(cases, 20), optimizer, study)

    rows = np.arange(48)
    site = Site(name="H", cases=cases, train=rows, val=rows)
    found = validate(model, site, study)
    assert update.n_steps == 60
    assert found["loss"] < update.loss
    assert found[f"{metric}-sum"] / found[f"{metric}-n"] > 0.7


def test_auto_is_bf16_where_the_device_has_it():
    study = make_study(precision="auto")
    model = place(nn.Conv2d(1, 4, 3), CUDA)

    with autocast(study, CUDA):
        outputs = model(torch.rand(2, 1, 8, 8, device=CUDA))

    assert uses_bf16(study, CUDA) == torch.cuda.is_bf16_supported()
    assert (outputs.dtype == torch.bfloat16) == torch.cuda.is_bf16_supported()
    assert model.weight.dtype == torch.float32
    assert not uses_bf16(make_study(precision="fp32"), CUDA)


def test_pixels_and_batches_are_resident_on_the_device(small_manifest):
    study = make_study(
        data=str(small_manifest), split="patient", image_px=32, device=DEVICE
    )

    archive = open_archive(study, study.data)
    site = open_site(study, {"hospital": "H1"})

    assert archive.cases.pixels.device.type == DEVICE
    assert archive.cases.pixels.dtype == torch.uint8
    assert site.cases is archive.cases  # hospitals share one copy
    batch = next(batches(site.cases, 1))
    assert batch.images.device.type == batch.malignant.device.type == DEVICE


def test_weights_travel_through_the_device_unchanged():
    study = make_study(norm="batch")
    sent = arrays_of(build_model(study))
    model = place(build_model(make_study(norm="batch", seed=2)), CUDA)

    load_arrays(model, sent)
    returned = arrays_of(model)

    assert sent.keys() == returned.keys()
    assert all(np.array_equal(sent[name], returned[name]) for name in sent)


def test_a_step_never_waits_for_the_device(cases):
    study = make_study()
    prepared = list(batches(cases, 4))

    def waits(n_steps):
        model = place(build_model(study), CUDA)
        optimizer = make_optimizer(model, study, 1e-3, 0.1)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                local_update(model, TASK, prepared[:n_steps], optimizer, study)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(one.message) for one in caught)

    assert 0 < waits(2) == waits(10)


@pytest.fixture
def exact(monkeypatch):
    """Leave out what differs by design: dropout's generator and TF32."""

    def without_dropout(study):
        model = TASK.build(study)
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        return model

    task = dataclasses.replace(TASK, build=without_dropout)
    monkeypatch.setitem(TASKS, "classification", task)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    _built.cache_clear()
    yield
    _built.cache_clear()


@pytest.mark.usefixtures("exact")
def test_a_federation_on_cuda_equals_the_cpus(small_manifest, tmp_path):
    study = make_study(
        data=str(small_manifest), split="patient", image_px=64, rounds=1, threads=1,
        local_epochs=1,
        optimizer="sgd", learning_rate=0.01, precision="fp32", select_by="last",
    )  # fmt: skip

    def trained(device):
        training = Training(
            arm="federated",
            budget="",
            trained_on="all",
            hospitals=("H0", "H1", "H2"),
            study=dataclasses.replace(study, device=device),
        )
        train(training, tmp_path / device, lambda reply: None)
        state = read_weights(tmp_path / device / "model.safetensors")
        return {name: tensor.numpy() for name, tensor in state.items()}

    def distance(first, second):
        return sum(np.square(first[k] - second[k]).sum() for k in first) ** 0.5

    start, here, there = arrays_of(build_model(study)), trained("cpu"), trained(DEVICE)

    # On a CPU, other kernels for the convolutions give a fiftieth.
    assert 0 < distance(here, there) < 0.1 * distance(here, start)
    losses = [
        pd.read_csv(tmp_path / device / "history.csv")["loss"].to_numpy()
        for device in ("cpu", DEVICE)
    ]
    assert np.allclose(*losses, rtol=0, atol=1e-3)


def test_a_comparison_runs_to_its_report(small_manifest, tmp_path):
    done = thyroid_fl.compare(
        data=small_manifest, out=tmp_path / "out", image_px=32, rounds=1, singles=1,
        tuned=1, jobs=1, device=DEVICE, progress=False,
    )  # fmt: skip

    assert np.isfinite(done.results.loc[done.results["metric"] == "auc", "value"]).any()
    assert (done.folder / "report.html").exists()


def test_heat_maps_agree_with_the_cpu_and_stay_on_the_device(cases):
    model, images = (
        build_model(make_study()),
        cases.batch(torch.arange(8, device=CUDA)).images,
    )
    expected = grad_cam(model, images.cpu())

    heat = grad_cam(place(model, CUDA), images)

    assert heat.device.type == DEVICE
    torch.testing.assert_close(heat.cpu(), expected, atol=1e-2, rtol=0)
    masks = cases.masks[:8]
    shares = heat_in_mask(heat, masks).cpu()
    known = heat_in_mask(expected, masks.cpu())
    torch.testing.assert_close(shares, known, atol=1e-2, rtol=0, equal_nan=True)
