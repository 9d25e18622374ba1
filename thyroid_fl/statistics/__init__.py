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
from thyroid_fl.statistics.average_precision import (
    average_precision,
    compare_average_precisions,
)
from thyroid_fl.statistics.detection import Detections, match_detections
from thyroid_fl.statistics.estimate import Comparison, Estimate
from thyroid_fl.statistics.mean_auc import compare_mean_aucs, mean_auc
from thyroid_fl.statistics.means import (
    RandomEffects,
    clustered_mean,
    random_effects_mean,
)
from thyroid_fl.statistics.multi_reader import MultiReader, compare_readings
from thyroid_fl.statistics.operating_point import (
    DetectionCounts,
    best_f1_threshold,
    detection_counts,
    detection_rate,
)
from thyroid_fl.statistics.overlap import dice, hausdorff95, iou
from thyroid_fl.statistics.paired_tests import (
    SignedRank,
    adjusted,
    paired_t,
    signed_rank,
)
from thyroid_fl.statistics.pooled import (
    PooledAuc,
    SiteAuc,
    own_auc,
    pooled_auc,
    site_auc,
    within_hospitals_auc,
)
from thyroid_fl.statistics.pooled_means import MeanSums, mean_of_sums, mean_sums
from thyroid_fl.statistics.power import (
    SampleSize,
    auc_power,
    auc_sample_size,
    auc_variance,
    design_effect,
    paired_auc_power,
    paired_auc_sample_size,
)
from thyroid_fl.statistics.power_proc import (
    Binormal,
    proc_paired_power,
    proc_paired_sample_size,
    proc_power,
    proc_sample_size,
)
from thyroid_fl.statistics.precision_recall import (
    PrecisionRecallBand,
    PrecisionRecallCurve,
    precision_recall_band,
    precision_recall_curve,
)
from thyroid_fl.statistics.proportions import proportion
from thyroid_fl.statistics.roc import RocBand, roc_curve_band, youden_threshold
from thyroid_fl.statistics.seed_means import compare_over_seeds, mean_over_seeds

__all__ = [
    "Binormal",
    "Comparison",
    "DetectionCounts",
    "Detections",
    "Estimate",
    "KendallW",
    "MeanSums",
    "MultiReader",
    "PooledAuc",
    "PrecisionRecallBand",
    "PrecisionRecallCurve",
    "RandomEffects",
    "RocBand",
    "SampleSize",
    "SignedRank",
    "SiteAuc",
    "WithinSiteAuc",
    "adjusted",
    "auc",
    "auc_power",
    "auc_sample_size",
    "auc_variance",
    "average_precision",
    "best_f1_threshold",
    "clustered_mean",
    "compare_aucs",
    "compare_average_precisions",
    "compare_independent_aucs",
    "compare_mean_aucs",
    "compare_over_seeds",
    "compare_readings",
    "design_effect",
    "detection_counts",
    "detection_rate",
    "dice",
    "hausdorff95",
    "iou",
    "kendall_w",
    "match_detections",
    "mean_auc",
    "mean_of_sums",
    "mean_over_seeds",
    "mean_sums",
    "own_auc",
    "paired_auc_power",
    "paired_auc_sample_size",
    "paired_t",
    "pooled_auc",
    "precision_recall_band",
    "precision_recall_curve",
    "proc_paired_power",
    "proc_paired_sample_size",
    "proc_power",
    "proc_sample_size",
    "proportion",
    "random_effects_mean",
    "roc_curve_band",
    "signed_rank",
    "site_auc",
    "within_hospitals_auc",
    "within_site_auc",
    "youden_threshold",
]
