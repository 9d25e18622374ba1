"""What a hospital tells of a test of the model on its test patients: numbers only.

The layout, and what few patients reveal, is in `thyroid_fl.site_results`.
"""

from collections.abc import Mapping

import pandas as pd
from flwr.app import MetricRecord, RecordDict
from torch import nn

from thyroid_fl.client.inference import predict
from thyroid_fl.client.site import Archive
from thyroid_fl.settings import Study
from thyroid_fl.site_results import (
    AUC,
    AUC_VARIANCE,
    CLASSES,
    IS_EXTERNAL,
    LEVEL,
    LEVELS,
    N_IMAGES,
    N_PATIENTS,
    RECORD,
    Level,
    bins_key,
    count_key,
    scores_key,
    sums_keys,
)
from thyroid_fl.statistics.pooled import SiteAuc, site_auc
from thyroid_fl.statistics.pooled_means import mean_sums
from thyroid_fl.tasks import TASKS, Task

Told = dict[str, int | float | list[int] | list[float]]


def site_results(
    model: nn.Module, archive: Archive, hospital: str, study: Study, level: Level
) -> RecordDict:
    """Return the reply to the centre's question how good the model is here.

    The patient is the unit: its score is the highest of its pictures', its Dice or IoU
    their mean. Nothing in the reply has the order of files or names, and no patient of
    this hospital can be told from another of the same values. A hospital without test
    cases sends zeros, and NaN for what they leave undefined.

    Args:
        model: with the centre's weights, on the device of the cases.
        archive: the hospital's.
        hospital: its name in the manifest, or ``all``.
        study: says which task, and how pictures are read.
        level: how much the hospital's policy lets out.
    """
    rows, task = archive.rows("test", hospital), TASKS[study.task]
    told: Told = {
        LEVEL: LEVELS.index(level),
        IS_EXTERNAL: int(not len(archive.rows("train", hospital))),
        N_IMAGES: len(rows),
    }
    if not len(rows):
        return _record(told | _nothing(task, level))
    found = predict(model, archive, rows, study)
    patients = archive.table["patient_id"].iloc[rows]
    return _record(told | told_of(task, found, patients, level))


def told_of(
    task: Task, predictions: pd.DataFrame, patients: "pd.Series[str]", level: Level
) -> Told:
    """Return what predictions come to, by the keys of the message.

    Args:
        task: what was predicted.
        predictions: the task's columns, one row a picture.
        patients: whose picture each row is, with the same index.
        level: how much may be told.
    """
    told: Told = {N_PATIENTS: int(patients.nunique())}
    if not task.test_means:
        ranked = predictions[["malignant", "score"]].groupby(patients).max()
        return told | _of_auc(site_auc(ranked["malignant"], ranked["score"]), level)
    for name, of_pictures in task.test_means.items():
        by_patient = of_pictures(predictions).groupby(patients).mean()  # without NaN
        told |= _of_mean(name, by_patient.to_list())
    return told


def _nothing(task: Task, level: Level) -> Told:
    told: Told = {N_PATIENTS: 0}
    if not task.test_means:
        return told | _of_auc(site_auc([], []), level)
    for name in task.test_means:
        told |= _of_mean(name, [])
    return told


def _of_auc(site: SiteAuc, level: Level) -> Told:
    told: Told = {
        count_key(CLASSES[0]): site.n_benign,
        count_key(CLASSES[1]): site.n_malignant,
        AUC: site.value,
        AUC_VARIANCE: site.variance,
    }
    if level == "histogram" and site.bins is not None:
        for of_class, counts in zip(CLASSES, site.bins, strict=True):
            told[bins_key(of_class)] = counts.tolist()
    if level == "scores" and site.scores is not None:
        for of_class, scores in zip(CLASSES, site.scores, strict=True):
            told[scores_key(of_class)] = scores.tolist()
    return told


def _of_mean(name: str, by_patient: list[float]) -> Told:
    sums = mean_sums(by_patient)
    values = (sums.n, sums.total, sums.deviations)
    return dict(zip(sums_keys(name), values, strict=True))


def _record(told: Mapping[str, int | float | list[int] | list[float]]) -> RecordDict:
    return RecordDict({RECORD: MetricRecord(dict(told))})
