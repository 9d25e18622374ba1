"""What a hospital tells of a test is numbers, as many as its level allows."""

import math

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.client.results import told_of
from thyroid_fl.site_results import LEVELS
from thyroid_fl.statistics import auc
from thyroid_fl.statistics.pooled import N_BINS
from thyroid_fl.tasks import TASKS

PATIENTS = pd.Series(["p9", "p9", "p1", "p5", "p5"], name="patient_id")
RANKED = pd.DataFrame(
    {"malignant": [1, 1, 0, 0, 0], "score": [0.2, 0.8, 0.3, 0.1, 0.9]}
)


def tell(level, order=slice(None)):
    cases = RANKED.iloc[order]
    return told_of(TASKS["classification"], cases, PATIENTS.iloc[order], level)


def test_a_patient_has_the_highest_score_of_its_pictures():
    # p9 .8 malignant; p1 .3 and p5 .9 benign.
    exact = auc([1, 0, 0], [0.8, 0.3, 0.9])

    told = tell("metrics")

    assert told.pop("auc") == exact.value == 0.5
    assert math.isnan(told.pop("auc-variance"))
    assert told == {"n-patients": 3, "n-benign": 2, "n-malignant": 1}


def test_each_level_adds_one_thing():
    keys = {level: set(tell(level)) for level in LEVELS}

    assert keys["histogram"] - keys["metrics"] == {"benign-bins", "malignant-bins"}
    assert keys["scores"] - keys["metrics"] == {"benign-scores", "malignant-scores"}


def test_a_histogram_counts_patients_and_scores_ascend():
    bins, scores = tell("histogram"), tell("scores")

    assert len(bins["benign-bins"]) == N_BINS
    assert (sum(bins["benign-bins"]), sum(bins["malignant-bins"])) == (2, 1)
    assert scores["benign-scores"] == [0.3, 0.9]
    assert scores["malignant-scores"] == [0.8]


@pytest.mark.parametrize("level", LEVELS)
def test_the_order_of_files_does_not_show(level):
    first, second = tell(level), tell(level, [3, 1, 4, 0, 2])

    assert str(first) == str(second)  # NaN is like NaN in print
    assert not any(name in str(first) for name in PATIENTS)


def test_a_mean_is_told_as_three_sums_over_patients_without_the_unknown():
    cases = pd.DataFrame(
        {"dice": [0.5, 0.7, np.nan, 0.8, np.nan], "iou": [0.0, 0, 0, 0.5, 1]}
    )

    told = told_of(TASKS["segmentation"], cases, PATIENTS, "scores")

    assert told == pytest.approx(
        {
            "n-patients": 3,
            "dice-n": 2, "dice-total": 1.4, "dice-deviations": 0.02,
            "iou-n": 3, "iou-total": 0.75, "iou-deviations": 0.375,
        }
    )  # fmt: skip


def test_the_best_scored_box_counts_on_its_nearest_nodule():
    whole, half, far = [0.0, 0, 10, 10], [0.0, 0, 10, 5], [20.0, 20, 30, 30]
    cases = pd.DataFrame(
        {
            "found": [[whole, far], [far, whole], [], [half], [[0.0, 0, 10, 4.9]]],
            "scores": [[0.9, 0.1], [0.9, 0.1], [], [0.2], [0.3]],
            "boxes": [[far, whole], [whole], [whole], [whole], [whole]],
        }
    )
    means = TASKS["detection"].test_means

    found = {name: of_picture(cases).tolist() for name, of_picture in means.items()}

    assert found["best_box_iou"] == pytest.approx([1, 0, 0, 0.5, 0.49])
    assert found["best_box_hit"] == [1, 0, 0, 1, 0]
