"""A model on a hospital's cases: validation metrics, and predictions as a table."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from thyroid_fl.batches import Batch, Cases, IntArray, inference_batches
from thyroid_fl.client.site import Archive, Site
from thyroid_fl.devices import autocast
from thyroid_fl.settings import Study
from thyroid_fl.tasks import TASKS

INFERENCE_BATCH = 128
LARGEST_BATCH = 128 * 128**2
"""Pixels: larger pictures come in smaller batches."""


@torch.inference_mode()
def validate(model: nn.Module, site: Site, study: Study) -> dict[str, float]:
    """Return loss and the task's sums over the site's validation cases; NaN if none."""
    task, grades, losses = TASKS[study.task], [], []
    for batch, outputs in _outputs(model, site.cases, site.val, study):
        grades.append(task.grade(outputs, batch))
        losses.append(task.loss(outputs, batch) * len(batch.images))
    if not grades:
        return {"loss": float("nan")}
    values = torch.cat(grades).cpu().numpy().astype(np.float64)
    labels = site.cases.malignant.cpu().numpy()[site.val]
    loss = float(torch.stack(losses).sum().item()) / len(site.val)
    return {"loss": loss} | task.measure(labels, values)


@torch.inference_mode()
def predict(
    model: nn.Module, archive: Archive, rows: IntArray, study: Study
) -> pd.DataFrame:
    """Return the task's columns of the predictions, one row for each of the rows."""
    task, tables, start = TASKS[study.task], [], 0
    for batch, outputs in _outputs(model, archive.cases, rows, study):
        here = rows[start : start + len(batch.images)]
        start += len(here)
        predictions = task.predict(outputs).cpu().numpy()
        cases = archive.table.iloc[here]
        tables.append(task.tabulate(predictions, cases, archive.folder))
    return pd.concat(tables)


def sized_batches(cases: Cases, rows: IntArray, study: Study) -> Iterator[Batch]:
    """Yield the rows in order, in batches that the device's memory allows."""
    size = max(1, min(INFERENCE_BATCH, LARGEST_BATCH // study.image_px**2))
    yield from inference_batches(cases, rows, batch_size=size)


def _outputs(
    model: nn.Module, cases: Cases, rows: IntArray, study: Study
) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches of the rows in order, with the model's outputs in float32."""
    model.eval()
    for batch in sized_batches(cases, rows, study):
        with autocast(study, batch.images.device):
            outputs = model(batch.images)
        yield batch, outputs.float()
