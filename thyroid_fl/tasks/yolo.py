"""YOLOv5u from ultralytics, as one module with one tensor out, its loss and its boxes.

Import it where it is needed only: it imports ultralytics, which would otherwise look
for a network, write settings, take away threads, and change how Pillow opens pictures,
torch saves, numpy prints and what is warned of; here it may do none of that.
"""

import os
import tempfile
import warnings
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import batched_nms

# Read when ultralytics is imported.
os.environ["YOLO_OFFLINE"] = "1"
os.environ["YOLO_AUTOINSTALL"] = "0"
os.environ["YOLO_VERBOSE"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
_home = tempfile.TemporaryDirectory(prefix="thyroid-fl-ultralytics-")
os.environ["YOLO_CONFIG_DIR"] = _home.name

_changed = Image.open, torch.save, np.get_printoptions()
with warnings.catch_warnings():
    from ultralytics.cfg import YAML
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.checks import check_yaml
    from ultralytics.utils.loss import v8DetectionLoss
    from ultralytics.utils.tal import dist2bbox, make_anchors
# Theirs asks for a package where Pillow says that a file is no picture.
Image.open, torch.save = _changed[:2]
np.set_printoptions(**_changed[2])
torch.set_printoptions(profile="default")  # type: ignore[no-untyped-call]

STRIDES = (8, 16, 32)
BINS = 16  # of the distribution over which the head gives each side of a box
# depth, width and most channels: `n` has .33 and .25
SCALES = {"small": (0.33, 0.125, 1024), "paper": (0.33, 0.50, 1024)}
GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)  # ultralytics' defaults
LEAST_SCORE = 0.001
MOST_OVERLAP = 0.5
MOST_DETECTIONS = 20
MOST_CANDIDATES = 300


class YoloV5u(nn.Module):
    """The detector for one class and one channel; raw outputs, training or not."""

    def __init__(self, preset: str) -> None:
        super().__init__()
        plan = YAML.load(check_yaml("yolov5.yaml"))
        plan["scales"] = {"n": SCALES[preset]}
        plan["scale"] = "n"
        self.net = DetectionModel(plan, ch=1, nc=1, verbose=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 4 * 16 + 1, A): sides as distributions, and the score's logit."""
        out = self.net(images)
        raw = out if self.training else out[1]
        return torch.cat([raw["boxes"], raw["scores"]], 1)


def loss(outputs: Tensor, boxes: Tensor, image_px: int) -> Tensor:
    """Return the loss of outputs (B, 65, A), summed over its parts, mean over pictures.

    Args:
        outputs: what `YoloV5u` gives.
        boxes: (B, K, 4), as in `thyroid_fl.batches.Batch`.
        image_px: side of the square pictures.
    """
    # A box that the augmentation moved out of the picture has no area left.
    sides = boxes[..., 2:] - boxes[..., :2]
    picture, nodule = ((sides > 1).all(-1)).nonzero(as_tuple=True)
    corners, sizes = boxes[picture, nodule, :2], sides[picture, nodule]
    targets = {
        "batch_idx": picture.float(),
        "cls": torch.zeros_like(picture, dtype=torch.float32),
        "bboxes": torch.cat([corners + sizes / 2, sizes], 1) / image_px,
    }
    raw = {
        "boxes": outputs[:, : 4 * BINS],
        "scores": outputs[:, 4 * BINS :],
        "feats": _maps(outputs, image_px),
    }
    parts, _ = _criterion(outputs.device)(raw, targets)  # times the batch's size
    total: Tensor = parts.sum() / len(outputs)
    return total


def detections(outputs: Tensor) -> Tensor:
    """Return (B, 20, 5), boxes with their scores, best first, NaN where fewer.

    Args:
        outputs: (B, 65, A), what `YoloV5u` gives.
    """
    n_anchors = outputs.shape[2]
    image_px = round((n_anchors / sum(1 / s**2 for s in STRIDES)) ** 0.5)
    strides = torch.tensor(STRIDES, device=outputs.device)
    anchors, scale = make_anchors(_maps(outputs, image_px), strides, 0.5)
    bins = torch.arange(BINS, dtype=outputs.dtype, device=outputs.device)
    sides = outputs[:, : 4 * BINS].transpose(1, 2)
    sides = sides.reshape(len(outputs), n_anchors, 4, BINS)
    distances = sides.softmax(-1) @ bins  # (B, A, 4)
    boxes = dist2bbox(distances, anchors, xywh=False) * scale
    scores, best = outputs[:, 4 * BINS].sigmoid().topk(min(MOST_CANDIDATES, n_anchors))
    boxes = boxes.gather(1, best.unsqueeze(-1).expand(-1, -1, 4))
    result = outputs.new_full((len(outputs), MOST_DETECTIONS, 5), torch.nan)
    picture, candidate = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    boxes, scores = boxes[picture, candidate], scores[picture, candidate]
    kept = batched_nms(boxes, scores, picture, MOST_OVERLAP)  # best first
    kept = kept[picture[kept].argsort(stable=True)]
    picture = picture[kept]
    starts = torch.searchsorted(picture, picture)  # first row of the same picture
    rank = torch.arange(len(picture), device=picture.device) - starts
    few = rank < MOST_DETECTIONS
    boxes = boxes.clamp(0, image_px)
    found = torch.cat([boxes[kept], scores[kept].unsqueeze(1)], 1)
    result[picture[few], rank[few]] = found[few]
    return result


def _maps(outputs: Tensor, image_px: int) -> list[Tensor]:
    """Return empty maps of the head's three sizes: ultralytics reads their shape."""
    sides = [image_px // stride for stride in STRIDES]
    return [outputs.new_empty(len(outputs), 1, side, side) for side in sides]


@lru_cache
@torch.inference_mode(
    mode=False
)  # validation comes first, and its tensors cannot train
def _criterion(device: torch.device) -> v8DetectionLoss:
    """Return ultralytics' loss; of the model it reads no more than is here."""
    head = SimpleNamespace(stride=torch.tensor(STRIDES), nc=1, reg_max=BINS)
    model = SimpleNamespace(
        args=GAINS,
        model=[head],
        parameters=lambda: iter([torch.empty(0, device=device)]),
    )
    return v8DetectionLoss(model)
