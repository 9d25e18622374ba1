"""Segmentation and detection: models, losses, and what becomes of their outputs."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import box_iou

from thyroid_fl.batches import Batch
from thyroid_fl.errors import ConfigError
from thyroid_fl.pixels import open_store
from thyroid_fl.settings import make_study
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.tasks.norm import with_norm
from thyroid_fl.tasks.segmentation import on_own_grid

SEGMENTATION, DETECTION = TASKS["segmentation"], TASKS["detection"]
NAN = float("nan")


def batch_of(n, px=64, **parts):
    return Batch(
        images=torch.rand(n, 1, px, px),
        malignant=torch.zeros(n, dtype=torch.int64),
        **parts,
    )


@pytest.fixture(scope="module")
def detector():
    return build_model(make_study(task="detection"))


@pytest.mark.parametrize("norm", ["weight", "group", "batch"])
def test_the_small_fpn_gives_a_logit_a_pixel(norm):
    model = build_model(make_study(task="segmentation", norm=norm))

    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 1, 64, 64)
    assert sum(p.numel() for p in model.parameters()) < 0.6e6
    has_batch_norm = any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    assert has_batch_norm == (norm == "batch")


def test_the_papers_sizes():
    fpn = build_model(make_study(task="segmentation", preset="paper"))
    yolo = build_model(make_study(task="detection", preset="paper"))

    # models.md: 9 299 713 and 9 122 579 of three channels
    assert sum(p.numel() for p in fpn.parameters()) == 9_299_713 - 2 * 64 * 49
    assert sum(p.numel() for p in yolo.parameters()) == 9_122_579 - 2 * 32 * 36


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_a_side_that_is_no_multiple_of_32_is_refused(task):
    with pytest.raises(ConfigError, match="needs a multiple of 32"):
        build_model(make_study(task=task, image_px=80))


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"norm": "weight"}, "needs 'group' or 'batch'"), ({"region": "nodule"}, "whole")],
)
def test_what_detection_cannot_do_is_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        build_model(make_study(task="detection", **settings))


def test_the_loss_of_perfect_logits_is_nothing_and_that_of_inverse_ones_large():
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 20:40, 10:50] = 1
    batch = batch_of(2, masks=masks)

    assert SEGMENTATION.loss(100 * (2 * masks - 1), batch) == pytest.approx(0, abs=1e-4)
    assert SEGMENTATION.loss(-10 * (2 * masks - 1), batch) > 5
    assert SEGMENTATION.grade(100 * (2 * masks - 1), batch).tolist() == [1, 1]


def test_the_segmentation_loss_is_the_mean_of_the_pictures_own():
    masks = (torch.rand(3, 1, 64, 64) > 0.7).float()
    outputs = torch.randn(3, 1, 64, 64)

    whole = SEGMENTATION.loss(outputs, batch_of(3, masks=masks))
    own = [
        SEGMENTATION.loss(outputs[[i]], batch_of(1, masks=masks[[i]])) for i in range(3)
    ]

    assert whole == pytest.approx(float(torch.stack(own).mean()), rel=1e-5)


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (37, 91)])
@pytest.mark.parametrize("region", ["whole", "nodule"])
def test_a_mask_comes_back_to_its_own_grid(tmp_path, size, region):
    width, height = size
    grey = np.random.default_rng(1).integers(0, 255, (height, width), np.uint8)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2, width // 3 : width // 2] = 255
    box = (width // 3, height // 4, width // 2, height // 2)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    row = {"image_id": "a", "image": "a.png", "mask": "m.png", "boxes": (box,)}
    store = open_store(
        pd.DataFrame([row]), tmp_path, tmp_path / "cache",
        region=region, margin=0.25, image_px=256, masks=True,
    )  # fmt: skip

    case = store.cases.iloc[0]
    back = on_own_grid(store.masks[0].astype(np.float32), case, mask.shape) > 0.5

    wrong = (back != (mask > 0)).sum()
    assert wrong <= 0.05 * (mask > 0).sum()
    tabled = SEGMENTATION.tabulate(
        store.masks.astype(np.float32),
        store.cases.assign(pixel_mm=0.1),
        tmp_path,
    )
    assert tabled["dice"].item() > 0.95
    assert tabled["hd95_mm"].item() == pytest.approx(0.1 * tabled["hd95_px"].item())


def test_nothing_found_has_dice_0_and_no_distance(tmp_path):
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(tmp_path / "m.png")
    case = {"mask": "m.png", "crop": (0, 0, 64, 64)}
    case |= {"scale": 1.0, "left": 0, "top": 0}

    table = SEGMENTATION.tabulate(
        np.zeros((1, 64, 64), np.float32),
        pd.DataFrame([case | {"pixel_mm": NAN}]),
        tmp_path,
    )

    assert table["dice"].item() == table["iou"].item() == 0
    assert table[["hd95_px", "hd95_mm"]].isna().all(axis=None)


def test_the_detectors_outputs_are_the_same_maps_in_training_and_not(detector):
    images = torch.rand(2, 1, 64, 64)
    detector.train()
    trained = detector(images)
    detector.eval()

    assert trained.shape == (2, 65, 8 * 8 + 4 * 4 + 2 * 2)
    assert torch.allclose(detector(images), trained, atol=1e-5)  # GroupNorm


@pytest.mark.parametrize(
    "boxes",
    [
        [[[10.0, 10, 40, 40], [50, 5, 60, 20]], [[0, 0, 64, 64], [NAN] * 4]],
        [[[NAN] * 4], [[20.0, 20, 20, 30]]],  # none, and one without an area
    ],
)
def test_the_detection_loss_takes_any_number_of_boxes(detector, boxes):
    outputs = detector(torch.rand(2, 1, 64, 64))

    loss = DETECTION.loss(outputs, batch_of(2, boxes=torch.tensor(boxes)))
    loss.backward()

    assert loss.isfinite()
    assert loss > 0


def test_the_detection_loss_is_that_of_ultralytics_own_model():
    from types import SimpleNamespace

    from thyroid_fl.tasks.yolo import YoloV5u

    torch.manual_seed(1)
    model = YoloV5u("small").train()
    images = torch.rand(2, 1, 64, 64)
    boxes = torch.tensor([[[10.0, 10, 40, 40]], [[5, 20, 30, 60]]])
    model.net.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    targets = {
        "img": images,
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.zeros(2, 1),
        "bboxes": torch.tensor([[25.0, 25, 30, 30], [17.5, 40, 25, 40]]) / 64,
    }

    expected = model.net.loss(targets)[0].sum() / 2

    ours = DETECTION.loss(model(images), batch_of(2, boxes=boxes))
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)


def test_detections_are_those_of_ultralytics_own_suppression():
    from ultralytics.utils.nms import non_max_suppression

    from thyroid_fl.tasks.yolo import MOST_DETECTIONS, YoloV5u

    torch.manual_seed(3)
    model = with_norm(YoloV5u("small"), "group").eval()
    last = model.net.model[-1]
    for convolution in (head[-1] for head in (*last.cv2, *last.cv3)):
        nn.init.normal_(convolution.weight, std=1.0)  # boxes and scores that differ
    images = torch.rand(4, 1, 64, 64)
    with torch.inference_mode():
        decoded = model.net(images)[0]
        ours = DETECTION.predict(model(images))

    expected = non_max_suppression(decoded, conf_thres=0.001, iou_thres=0.5, nc=1)

    assert ours.shape == (4, MOST_DETECTIONS, 5)
    for found, other in zip(ours, expected, strict=True):
        n = min(MOST_DETECTIONS, len(other))
        assert n > 1
        assert torch.isnan(found[n:]).all()
        theirs = other[:n]
        theirs = theirs[:, :4].clamp(0, 64), theirs[:, 4]
        assert torch.allclose(found[:n, 4], theirs[1], atol=1e-5)
        overlap = box_iou(found[:n, :4], theirs[0]).diagonal()
        assert (overlap > 0.999).all()


def test_a_box_comes_back_to_the_pixels_of_the_file():
    case = {"crop": (10, 20, 110, 70), "scale": 0.64, "left": 0, "top": 16}
    case |= {"boxes": ((30, 40, 60, 60),)}
    detections = np.full((1, 20, 5), np.nan, np.float32)
    detections[0, 0] = [0.64 * 20, 16 + 0.64 * 20, 0.64 * 50, 16 + 0.64 * 40, 0.9]
    detections[0, 1] = [0, 0, 64, 64, 0.5]  # the black border included

    table = DETECTION.tabulate(detections, pd.DataFrame([case]), None)

    np.testing.assert_allclose(table["found"][0][0], [30, 40, 60, 60], atol=1e-4)
    np.testing.assert_allclose(table["found"][0][1], [10, 20, 110, 70], atol=1e-4)
    assert table["scores"][0] == pytest.approx([0.9, 0.5])
    assert table["boxes"][0] == [[30, 40, 60, 60]]


@pytest.mark.parametrize("leading", ["", "net."])
def test_yolo_weights_of_three_channels_are_taken(tmp_path, leading):
    study = make_study(task="detection", preset="paper", image_px=64)
    own = build_model(study).state_dict()
    stem = "net.model.0.conv.weight"
    third = own[stem] / 3
    state = own | {stem: third.repeat(1, 3, 1, 1)}
    save_file(
        {leading + k.removeprefix("net."): v.contiguous() for k, v in state.items()},
        tmp_path / "yolo.safetensors",
    )

    settings = {"weights": str(tmp_path / "yolo.safetensors"), "seed": 9}
    loaded = build_model(
        make_study(task="detection", preset="paper", image_px=64, **settings)
    ).state_dict()

    assert torch.allclose(loaded[stem], own[stem], atol=1e-6)
    name = "net.model.9.cv2.conv.weight"
    assert torch.equal(loaded[name], own[name])


def test_weights_of_a_densenet_serve_the_fpn(tmp_path):
    from torchvision.models import densenet121

    save_file(densenet121(weights=None).state_dict(), tmp_path / "w.safetensors")

    loaded = build_model(
        make_study(
            task="segmentation", preset="paper", weights=str(tmp_path / "w.safetensors")
        )
    )

    assert loaded.encoder.features.conv0.weight.shape == (64, 1, 7, 7)


def test_the_detector_leaves_the_process_as_it_is(tmp_path):
    """In a process of its own: under pytest ultralytics keeps quiet anyway."""
    script = """
import sys
def refuse(event, args):
    if event.startswith(("socket.connect", "socket.getaddrinfo")):
        raise SystemExit(f"asked {event} {args}")
sys.addaudithook(refuse)
import warnings
import numpy, torch
from PIL import Image
def kept():
    return Image.open, torch.save, numpy.get_printoptions(), list(warnings.filters)
torch.set_num_threads(2)
before = kept()
from thyroid_fl.settings import make_study
from thyroid_fl.tasks import build_model, TASKS
from thyroid_fl.batches import Batch
model = build_model(make_study(task="detection"))
images, boxes = torch.rand(2, 1, 64, 64), torch.tensor([[[5.0, 5, 30, 30]]] * 2)
batch = Batch(images=images, malignant=torch.zeros(2), boxes=boxes)
TASKS["detection"].loss(model(images), batch).backward()
assert torch.get_num_threads() == 2, torch.get_num_threads()
assert kept()[:3] == before[:3], kept()
assert not [f for f in kept()[3] if "coremltools" in str(f)]
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}

    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment | {"HOME": str(home)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert [p.name for p in home.rglob("*") if "ltralytics" in p.name] == []
