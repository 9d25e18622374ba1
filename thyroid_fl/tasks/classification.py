"""Benign or malignant: DenseNet (Huang et al. 2017) on a grey picture.

Preset ``paper`` is Xu et al. 2023: DenseNet121, head 1024-256-2 with ReLU and dropout
0.2. The authors' code applied softmax twice; here the loss takes the logits.
Preset ``small`` is the same family with 0.25 M parameters.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import DenseNet

from thyroid_fl.batches import Batch
from thyroid_fl.settings import Study
from thyroid_fl.tasks.norm import with_norm
from thyroid_fl.tasks.task import Task
from thyroid_fl.weights import load_pretrained

# growth rate, layers per dense block, channels of the stem, hidden units of the head
SIZES = {
    "small": (16, (2, 4, 6, 4), 24, 64),
    "paper": (32, (6, 12, 24, 16), 64, 256),
}
PRESETS = {
    "small": {},
    # The authors' code of Xu et al. 2023.
    "paper": {
        "image_px": 512,
        "norm": "batch",
        "rounds": 200,
        "local_epochs": 1,
        "warmup_rounds": 20,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 1e-3,
        "weight_decay": 5e-4,
        "rotation_deg": 80.0,
        "flips": "both",
    },
}


class GreyDenseNet(DenseNet):  # type: ignore[misc]
    """torchvision's DenseNet for one channel; same names in its state.

    Its last ReLU is not in place: in-place it overwrites what Grad-CAM and per-case
    gradients (Opacus) need.
    """

    def __init__(
        self, growth: int, blocks: tuple[int, int, int, int], stem: int, hidden: int
    ) -> None:
        super().__init__(growth, blocks, stem, num_classes=2)
        self.features.conv0 = nn.Conv2d(1, stem, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.features.conv0.weight)
        n_features = int(self.features.norm5.num_features)
        self.classifier = nn.Sequential(
            nn.Linear(n_features, hidden),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, 2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, 2) of images (B, 1, H, W)."""
        return self.logits(self.maps(images))

    def maps(self, images: Tensor) -> Tensor:
        """Return the last feature maps (B, C, H / 32, W / 32), rectified."""
        return F.relu(self.features(images))

    def logits(self, maps: Tensor) -> Tensor:
        """Return logits (B, 2) of the last feature maps: their means, classified."""
        pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)  # (B, C)
        logits: Tensor = self.classifier(pooled)
        return logits


def build(study: Study) -> nn.Module:
    """Return the classifier of the study's preset and normalisation."""
    model = with_norm(GreyDenseNet(*SIZES[study.preset]), study.norm)
    if study.weights:
        load_pretrained(
            model,
            Path(study.weights),
            stem="features.conv0.weight",
            needed=r"features\.",
            expected="a DenseNet of the same preset and norm (paper, batch or group: "
            "torchvision's densenet121)",
        )
    return model


def loss(outputs: Tensor, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of logits (B, 2)."""
    return F.cross_entropy(outputs, batch.malignant)


def predict(outputs: Tensor) -> Tensor:
    """Return the probability of malignancy (B,) of logits (B, 2)."""
    return outputs.softmax(1)[:, 1]


def tabulate(
    predictions: NDArray[np.float32], cases: pd.DataFrame, folder: Path
) -> pd.DataFrame:
    """Return the columns malignant (0, 1) and score (0 to 1)."""
    del folder
    malignant = cases["malignant"].astype("int64")
    return pd.DataFrame({"malignant": malignant, "score": predictions.astype("f8")})


def concordance(
    labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> dict[str, float]:
    """Return the sum of concordant pairs of a malignant and a benign case, and n.

    Ties count one half (Mann-Whitney U). Summed over hospitals, their ratio is the
    AUC within hospitals, weighted by pairs; a hospital with one class adds 0 pairs.
    """
    n_malignant = int(labels.sum())
    n_pairs = n_malignant * (len(labels) - n_malignant)
    ranks = rankdata(scores)[labels == 1]
    u = float(ranks.sum()) - n_malignant * (n_malignant + 1) / 2
    return {"auc-sum": u, "auc-n": float(n_pairs)}


CLASSIFICATION = Task(
    name="classification",
    presets=PRESETS,
    needs=("malignant",),
    build=build,
    loss=loss,
    grade=lambda outputs, batch: predict(outputs),
    measure=concordance,
    predict=predict,
    tabulate=tabulate,
)
