"""Estimates with intervals, and comparisons of two models.

Labels are 1 for malignant and 0 for benign; a higher score means more malignant.
An undefined number is NaN, and keeps the n that it was asked for.
"""

from thyroid_fl.statistics.agreement import KendallW, kendall_w
from thyroid_fl.statistics.auc import (
    WithinSiteAuc,
    auc,
    compare_aucs,
    compare_independent_aucs,
    within_site_auc,
)
from thyroid_fl.statistics.estimate import Comparison, Estimate
from thyroid_fl.statistics.mean_auc import compare_mean_aucs, mean_auc
from thyroid_fl.statistics.means import (
    RandomEffects,
    clustered_mean,
    random_effects_mean,
)
from thyroid_fl.statistics.proportions import proportion
from thyroid_fl.statistics.roc import RocBand, roc_curve_band, youden_threshold

__all__ = [
    "Comparison",
    "Estimate",
    "KendallW",
    "RandomEffects",
    "RocBand",
    "WithinSiteAuc",
    "auc",
    "clustered_mean",
    "compare_aucs",
    "compare_independent_aucs",
    "compare_mean_aucs",
    "kendall_w",
    "mean_auc",
    "proportion",
    "random_effects_mean",
    "roc_curve_band",
    "within_site_auc",
    "youden_threshold",
]
