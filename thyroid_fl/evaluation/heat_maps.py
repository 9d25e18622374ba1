"""How much of a classifier's heat is inside the nodule: the table of the heat maps.

A picture's rows have the columns of `RUN_COLUMNS`, test_set, image_id, patient_id,
malignant (0, 1), in_mask (share of the heat inside the mask; NaN: no heat) and area
(share of the picture that the mask covers: what heat spread evenly would give).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from thyroid_fl.evaluation.predictions import MODEL_COLUMNS
from thyroid_fl.evaluation.rows import MEAN, Row, within
from thyroid_fl.statistics import mean_over_seeds
from thyroid_fl.statistics.estimate import Estimate

HEAT_COLUMNS = [
    "task", "arm", "strategy", "budget", "trained_on", "test_set", "pathology",
    "in_mask", "low", "high", "area", "excess", "excess_low", "excess_high", "n",
    "n_patients", "n_without_heat", "method", "fold", "seed",
]  # fmt: skip
"""in_mask with its interval; excess: in_mask minus area, picture by picture."""


def heat_table(pictures: pd.DataFrame) -> pd.DataFrame:
    """Return the mean shares of each run, and of each model with several runs.

    For each test set all pictures, the malignant and the benign ones. Means are over
    pictures, their intervals clustered by patient; see `mean_over_seeds`. A picture
    without heat has no share: it is left out and counted; of several seeds it is left
    out where one has none.
    """
    rows = []
    keys = ["task", *MODEL_COLUMNS, "test_set"]
    pictures = pictures.assign(excess=pictures["in_mask"] - pictures["area"])
    for key, of_model in pictures.groupby(keys, sort=False):
        names = dict(zip(keys, key, strict=True))
        for run, cases in _runs(of_model):
            for pathology, chosen in _by_pathology(cases):
                row = {"pathology": pathology, **_means(chosen)}
                rows.append({**names, **run, **row})
    return pd.DataFrame(rows, columns=HEAT_COLUMNS)


def _runs(of_model: pd.DataFrame) -> Iterator[tuple[Row, pd.DataFrame]]:
    runs = list(of_model.groupby(["fold", "seed"], sort=False))
    for (fold, seed), cases in runs:
        yield {"fold": str(fold), "seed": str(seed)}, cases
    if len(runs) > 1:
        yield dict(MEAN), of_model


def _by_pathology(cases: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all", cases
    yield "malignant", cases[cases["malignant"] == 1]
    yield "benign", cases[cases["malignant"] == 0]


def _means(cases: pd.DataFrame) -> Row:
    inside, excess = _mean(cases, "in_mask"), _mean(cases, "excess")
    n_pictures = cases.groupby("fold")["image_id"].nunique().sum()
    limits = within(inside)
    return {
        "in_mask": inside.value,
        "low": limits.low,
        "high": limits.high,
        "area": inside.value - excess.value,
        "excess": excess.value,
        "excess_low": excess.low,
        "excess_high": excess.high,
        "n": inside.n,
        "n_patients": inside.n_clusters or 0,
        "n_without_heat": int(n_pictures) - inside.n,
        "method": inside.method,
    }


def _mean(cases: pd.DataFrame, column: str) -> Estimate:
    """Return the mean over folds, pictures and seeds; NaN where there is no heat."""
    folds = []
    for _, of_fold in cases.groupby("fold"):
        by_seed = of_fold.pivot(
            index=["image_id", "patient_id"], columns="seed", values=column
        ).dropna()
        if len(by_seed):
            patients = by_seed.index.get_level_values("patient_id")
            folds.append((by_seed.to_numpy(), patients.to_numpy()))
    if not folds:
        nan = float(np.nan)
        return Estimate(nan, nan, nan, n=0, method="no heat", unit="image")
    return mean_over_seeds(folds)
