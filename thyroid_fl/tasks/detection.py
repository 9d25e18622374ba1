"""Where nodules are, as boxes: YOLOv5u (ultralytics; Jocher 2020, 2023).

The backbone and neck of YOLOv5 v6 with the anchor-free head and the task-aligned loss
of YOLOv8: not the anchor-based v3.1 of Xu et al. 2023, and weights do not carry over.
ultralytics is used as a library, model and loss; its trainer, its settings and its
network traffic are not.
Preset ``paper`` is the size ``s`` (9.1 M parameters); ``small`` is half as wide as
``n``, 0.8 M.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thyroid_fl.batches import Batch
from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import Study
from thyroid_fl.statistics.detection import box_iou
from thyroid_fl.tasks.norm import with_norm
from thyroid_fl.tasks.task import Task, mean_grade
from thyroid_fl.weights import load_pretrained

STRIDE = 32  # of the model's last maps
HIT_IOU = 0.5
"""From which on the best-scored box counts as a hit."""
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"norm": "group", "select_by": "iou"},
    # The authors' code of Xu et al. 2023, without its mosaics and changes of scale.
    "paper": {
        "image_px": 512,
        "norm": "batch",
        "rounds": 100,
        "local_epochs": 1,
        "warmup_rounds": 3,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 1e-2,
        "momentum": 0.937,
        "weight_decay": 5e-4,
        "rotation_deg": 0.0,
        "flips": "none",
        "select_by": "iou",
    },
}


def build(study: Study) -> nn.Module:
    """Return the detector: images (B, 1, H, W) -> raw boxes and scores (B, 65, A).

    Raises:
        ConfigError: the pictures' side is no multiple of 32, the norm is ``weight``
            (its sums of layers need normalisation), the region tells the answer, or
            the weights do not fit.
    """
    if study.image_px % STRIDE:
        raise ConfigError(
            f"image_px is {study.image_px}; detection needs a multiple of {STRIDE}"
        )
    if study.region == "nodule":
        raise ConfigError("region is 'nodule': it tells where the nodule is; use whole")
    if study.norm == "weight":
        raise ConfigError("norm is 'weight'; detection needs 'group' or 'batch'")
    from thyroid_fl.tasks import yolo  # heavy: only who trains needs it

    model = with_norm(yolo.YoloV5u(study.preset), study.norm)
    if study.weights:
        load_pretrained(
            model,
            Path(study.weights),
            stem="net.model.0.conv.weight",
            needed=r"net\.model\.\d\.",  # layers 0 to 9: the backbone
            expected="the state_dict of a YOLOv5u of the same preset and norm (paper, "
            "batch: ultralytics' yolov5su)",
        )
    return model


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the sum of box, class and distribution loss, a mean over the pictures.

    As in ultralytics it is weighted over the batch: a picture's part depends on the
    others.
    """
    from thyroid_fl.tasks import yolo

    return yolo.loss(outputs, _boxes(batch), batch.images.shape[-1])


def predict(outputs: Tensor) -> Tensor:
    """Return the detections (B, 20, 5): box and score, best first, NaN where fewer.

    Boxes are x0, y0, x1, y1 in the model's pixels; scores are above 0.001, boxes
    overlap by at most an IoU of 0.5 (non-maximum suppression; so the authors tested).
    """
    from thyroid_fl.tasks import yolo

    return yolo.detections(outputs)


def grade(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the IoU (B,) of each picture's best-scored box with its nearest nodule."""
    from torchvision import ops

    best = predict(outputs)[:, 0, :4]  # (B, 4)
    pairs = zip(best, _boxes(batch), strict=True)
    overlaps = [
        ops.box_iou(found[None], truth).nan_to_num().max() for found, truth in pairs
    ]
    return torch.stack(overlaps)


def tabulate(
    predictions: NDArray[np.float32], cases: pd.DataFrame, folder: Path
) -> pd.DataFrame:
    """Return the columns found, scores and boxes: lists, one entry a box.

    ``found`` and ``boxes`` (the truth) are x0, y0, x1, y1 in pixels of the picture's
    file, cut at the edge of what the model saw.
    """
    del folder
    rows = []
    case: Any
    for detections, case in zip(predictions, cases.itertuples(), strict=True):
        known = detections[~np.isnan(detections[:, 4])].astype(np.float64)
        x0, y0, x1, y1 = case.crop
        corner = np.array([x0, y0, x0, y0])
        offset = np.array([case.left, case.top, case.left, case.top])
        found = (known[:, :4] - offset) / case.scale + corner
        found = found.clip(corner, [x1, y1, x1, y1])
        truth = [list(map(float, box)) for box in case.boxes]
        rows.append((found.tolist(), known[:, 4].tolist(), truth))
    return pd.DataFrame(rows, columns=["found", "scores", "boxes"], index=cases.index)


def best_box_iou(predictions: pd.DataFrame) -> "pd.Series[float]":
    """Return the IoU of each picture's best-scored box with its nearest nodule.

    On the picture's own grid; 0 where nothing was found.

    Args:
        predictions: the columns of `tabulate`, each picture with a nodule or more.
    """
    overlaps = [
        float(box_iou(np.array(found[:1]), np.array(truth)).max()) if found else 0.0
        for found, truth in zip(predictions["found"], predictions["boxes"], strict=True)
    ]
    return pd.Series(overlaps, predictions.index, dtype="float64")


def _boxes(batch: Batch) -> Tensor:
    assert batch.boxes is not None, "detection's cases are opened with boxes"
    return batch.boxes


DETECTION = Task(
    name="detection",
    presets=PRESETS,
    needs=("boxes",),
    build=build,
    loss=loss,
    grade=grade,
    measure=lambda labels, grades: mean_grade("iou", grades),
    predict=predict,
    tabulate=tabulate,
    test_means={
        "best_box_iou": best_box_iou,
        "best_box_hit": lambda predictions: (
            best_box_iou(predictions).ge(HIT_IOU).astype("float64")
        ),
    },
)
