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
from thyroid_fl.statistics.bootstrap import bootstrap_auc, bootstrap_auc_difference
from thyroid_fl.statistics.calibration import (
    Brier,
    Calibration,
    CalibrationCurve,
    brier,
    calibration,
    calibration_curve,
)
from thyroid_fl.statistics.decision_curve import DecisionCurve, decision_curve
from thyroid_fl.statistics.detection import Detections, match_detections
from thyroid_fl.statistics.estimate import Comparison, Estimate
from thyroid_fl.statistics.gap import (
    NewHospitalGap,
    new_hospital_gap,
    two_stage_gap,
)
from thyroid_fl.statistics.groups import (
    GroupOutcome,
    group_auc,
    group_mean,
    independent_difference,
)
from thyroid_fl.statistics.hospitals import share_below, worst_mean
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
from thyroid_fl.statistics.proportions import compare_proportions, proportion
from thyroid_fl.statistics.reoptimised import Reoptimised, reoptimised_bootstrap
from thyroid_fl.statistics.roc import RocBand, roc_curve_band, youden_threshold
from thyroid_fl.statistics.seed_means import (
    compare_over_seeds,
    mean_of_estimates,
    mean_over_seeds,
)

__all__ = [
    "Binormal",
    "Brier",
    "Calibration",
    "CalibrationCurve",
    "Comparison",
    "DecisionCurve",
    "DetectionCounts",
    "Detections",
    "Estimate",
    "GroupOutcome",
    "KendallW",
    "MeanSums",
    "MultiReader",
    "NewHospitalGap",
    "PooledAuc",
    "PrecisionRecallBand",
    "PrecisionRecallCurve",
    "RandomEffects",
    "Reoptimised",
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
    "bootstrap_auc",
    "bootstrap_auc_difference",
    "brier",
    "calibration",
    "calibration_curve",
    "clustered_mean",
    "compare_aucs",
    "compare_average_precisions",
    "compare_independent_aucs",
    "compare_mean_aucs",
    "compare_over_seeds",
    "compare_proportions",
    "compare_readings",
    "decision_curve",
    "design_effect",
    "detection_counts",
    "detection_rate",
    "dice",
    "group_auc",
    "group_mean",
    "hausdorff95",
    "independent_difference",
    "iou",
    "kendall_w",
    "match_detections",
    "mean_auc",
    "mean_of_estimates",
    "mean_of_sums",
    "mean_over_seeds",
    "mean_sums",
    "new_hospital_gap",
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
    "reoptimised_bootstrap",
    "roc_curve_band",
    "share_below",
    "signed_rank",
    "site_auc",
    "two_stage_gap",
    "within_hospitals_auc",
    "within_site_auc",
    "worst_mean",
    "youden_threshold",
]
