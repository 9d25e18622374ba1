"""Predictions of a model on a hospital's cases, and their validation metrics."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from thyroid_fl.batches import Cases, IntArray, inference_batches
from thyroid_fl.devices import autocast
from thyroid_fl.settings import Study
from thyroid_fl.tasks import Task

INFERENCE_BATCH = 128


@torch.inference_mode()
def predict(
    model: nn.Module, task: Task, cases: Cases, rows: IntArray, study: Study
) -> tuple[NDArray[np.float64], float]:
    """Return one prediction per row, and the mean loss over the rows (NaN if none)."""
    model.eval()
    predictions, losses = [], []
    for batch in inference_batches(cases, rows, batch_size=INFERENCE_BATCH):
        with autocast(study, batch.images.device):
            outputs = model(batch.images)
        outputs = outputs.float()
        predictions.append(task.predict(outputs))
        losses.append(task.loss(outputs, batch) * len(batch.images))
    if not predictions:
        return np.empty(0), float("nan")
    scores = torch.cat(predictions).cpu().numpy().astype(np.float64)
    return scores, float(torch.stack(losses).sum().item()) / len(rows)
