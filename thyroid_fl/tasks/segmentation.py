"""Where the nodule is, pixel by pixel: FPN (Lin et al. 2017) on a DenseNet.

From segmentation-models-pytorch. Preset ``paper`` is Xu et al. 2023: DenseNet121;
preset ``small`` is the same family with 0.5 M parameters.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from thyroid_fl.batches import Batch
from thyroid_fl.errors import ConfigError
from thyroid_fl.masks import read_mask
from thyroid_fl.settings import Study
from thyroid_fl.statistics.overlap import dice, hausdorff95, iou
from thyroid_fl.tasks.norm import with_norm
from thyroid_fl.tasks.task import Task, mean_grade
from thyroid_fl.weights import load_pretrained

THRESHOLD = 0.5
SMOOTH = 1.0  # pixels; keeps the soft Dice of an empty mask defined
STRIDE = 32  # of the encoder's last maps
# encoder, channels of the pyramid, channels of the segmentation branches
SIZES = {"small": ("densenet-small", 64, 64), "paper": ("densenet121", 256, 128)}
SMALL = {  # the encoder of the small classifier
    "num_init_features": 24,
    "growth_rate": 16,
    "block_config": (2, 4, 6, 4),
    "out_channels": [3, 24, 56, 92, 142, 135],
}
PRESETS: dict[str, dict[str, Any]] = {
    "small": {"select_by": "dice"},
    # The authors' code of Xu et al. 2023; its rate fell on a plateau, not as a cosine.
    "paper": {
        "image_px": 512,
        "norm": "batch",
        "rounds": 100,
        "local_epochs": 1,
        "batch_size": 1,
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "select_by": "dice",
    },
}


def build(study: Study) -> nn.Module:
    """Return the preset's FPN: images (B, 1, H, W) -> logits of the same shape.

    The decoder has GroupNorm always; ``norm`` is the encoder's.

    Raises:
        ConfigError: the pictures' side is no multiple of 32, or the weights do not fit.
    """
    if study.image_px % STRIDE:
        raise ConfigError(
            f"image_px is {study.image_px}; segmentation needs a multiple of {STRIDE}"
        )
    import segmentation_models_pytorch as smp  # heavy: only who trains needs it
    from segmentation_models_pytorch.encoders.densenet import DenseNetEncoder

    smp.encoders.encoders.setdefault(
        "densenet-small",
        {"encoder": DenseNetEncoder, "pretrained_settings": {}, "params": SMALL},
    )
    encoder, pyramid, branches = SIZES[study.preset]
    model: nn.Module = smp.FPN(
        encoder,
        encoder_weights=None,
        decoder_pyramid_channels=pyramid,
        decoder_segmentation_channels=branches,
        in_channels=1,
    )
    model.add_module("encoder", with_norm(model.get_submodule("encoder"), study.norm))
    if study.weights:
        load_pretrained(
            model,
            Path(study.weights),
            stem="encoder.features.conv0.weight",
            needed=r"encoder\.features\.",
            expected="a DenseNet of the same preset and norm (paper, batch or group: "
            "torchvision's densenet121), or an FPN on it",
        )
    return model


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Return half the cross-entropy and half 1 - soft Dice, a mean over the pictures.

    The soft Dice (Milletari et al. 2016) is that of each picture: over a whole batch a
    small nodule would hardly count.
    """
    masks = _masks(batch)
    cross_entropy = F.binary_cross_entropy_with_logits(outputs, masks)
    return 0.5 * cross_entropy + 0.5 * (1 - _dice(outputs.sigmoid(), masks)).mean()


def grade(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the Dice (B,) at the model's resolution."""
    return _dice((outputs > 0).float(), _masks(batch))


def predict(outputs: Tensor) -> Tensor:
    """Return the probabilities (B, H, W) of logits (B, 1, H, W)."""
    return outputs.squeeze(1).sigmoid()


def tabulate(
    predictions: NDArray[np.float32], cases: pd.DataFrame, folder: Path
) -> pd.DataFrame:
    """Return the columns dice, iou, hd95_px, hd95_mm, on the picture's own grid.

    The probabilities (B, px, px) are brought back to the pixels of the file and cut at
    0.5 there. Outside the region that the model saw nothing is found.
    Missing: the Hausdorff distances of an empty prediction, and hd95_mm without
    pixel_mm.
    """
    rows = []
    case: Any
    for square, case in zip(predictions, cases.itertuples(), strict=True):
        truth = read_mask(folder / case.mask)
        found = on_own_grid(square, case, truth.shape) > THRESHOLD
        hd95_px = hausdorff95(found, truth)
        rows.append((dice(found, truth), iou(found, truth), hd95_px))
    table = pd.DataFrame(rows, columns=["dice", "iou", "hd95_px"], index=cases.index)
    return table.assign(hd95_mm=table["hd95_px"] * cases["pixel_mm"])


def on_own_grid(
    square: NDArray[np.float32], case: Any, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return a map (px, px) of the store on the grid (H, W) of the picture's file.

    Args:
        square: the map.
        case: has the pixel store's transform: crop, scale, left, top.
        shape: of the picture.
    """
    x0, y0, x1, y1 = case.crop
    left, top = case.left, case.top
    width, height = (max(1, round(side * case.scale)) for side in (x1 - x0, y1 - y0))
    inner = Image.fromarray(square[top : top + height, left : left + width])
    whole = np.zeros(shape, np.float32)
    inner = inner.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)
    whole[y0:y1, x0:x1] = np.asarray(inner)
    return whole


def _masks(batch: Batch) -> Tensor:
    assert batch.masks is not None, "segmentation's cases are opened with masks"
    return batch.masks


def _dice(found: Tensor, masks: Tensor) -> Tensor:
    """Return the Dice (B,) of maps (B, 1, H, W) in [0, 1]."""
    both, sizes = (found * masks).sum((1, 2, 3)), (found + masks).sum((1, 2, 3))
    return (2 * both + SMOOTH) / (sizes + SMOOTH)


SEGMENTATION = Task(
    name="segmentation",
    presets=PRESETS,
    needs=("mask",),
    build=build,
    loss=loss,
    grade=grade,
    measure=lambda labels, grades: mean_grade("dice", grades),
    predict=predict,
    tabulate=tabulate,
    test_means={
        "dice": lambda predictions: predictions["dice"],
        "iou": lambda predictions: predictions["iou"],
    },
)
