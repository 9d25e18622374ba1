"""Names and numbers as the terminal, the figures and the report write them."""

import pandas as pd

ARMS = {"federated": 0, "pooled": 1, "single": 2}
TEST_SETS = ("internal", "external")
METRICS = {
    "auc": "AUC",
    "auc_within_site": "AUC within hospitals",
    "sensitivity": "Sensitivity",
    "sensitivity_wilson": "Sensitivity (Wilson)",
    "specificity": "Specificity",
    "auc_hospital_mean": "Mean AUC over hospitals",
    "auc_new_hospital": "AUC in another such hospital",
    "auc_other_hospitals": "AUC, small hospitals",
    "dice": "Dice",
    "iou": "IoU",
    "best_box_iou": "IoU of the best-scored box",
    "best_box_hit": "Best-scored box hits (IoU 0.5)",
    "hd95_px": "95% Hausdorff distance, px",
    "hd95_mm": "95% Hausdorff distance, mm",
    "dice_hospital_mean": "Mean Dice over hospitals",
    "dice_new_hospital": "Dice in another such hospital",
    "iou_hospital_mean": "Mean IoU over hospitals",
    "iou_new_hospital": "IoU in another such hospital",
    "best_box_iou_hospital_mean": "Mean IoU of the best-scored box over hospitals",
    "best_box_iou_new_hospital": "The same in another such hospital",
    "best_box_hit_hospital_mean": "Mean of hits over hospitals",
    "best_box_hit_new_hospital": "Hits in another such hospital",
    "ap50": "AP50",
    "ap50_continuous": "AP50, continuous",
    "f1": "F1",
    "false_positives_per_picture": "False positives per picture",
}
"""In the order in which the report sets them."""
TASKS = {
    "detection": "nodule detection",
    "segmentation": "nodule segmentation",
    "classification": "benign or malignant thyroid nodule",
}
STRATEGIES = {
    "fedavg": "FedAvg",
    "fedprox": "FedProx",
    "fedadam": "FedAdam",
    "fedbn": "FedBN",
}

_SPLIT_WORDS = {
    "patient": "Patients were drawn at random within all hospitals. The test patients "
    "are new, their hospitals are not: this shows performance on known hospitals only, "
    "and says nothing about a hospital that took no part in training.",
    "hospital": "Whole hospitals were kept out of training. The external test set is "
    "external validation: it shows what a hospital that took no part may expect, as "
    "far as the hospitals kept out resemble it. The internal test set holds new "
    "patients of the hospitals that trained.",
    "vendor": "All patients examined with scanners of {name} were kept out of "
    "training. They are in the external test set where their hospital took no part in "
    "training, and in the internal one where it trained on other scanners. It shows "
    "how the models carry over to that one vendor, mixed with the other test patients "
    "of the hospitals that trained; it says nothing about other vendors.",
    "region": "All patients of the region {name} were kept out of training; its "
    "hospitals are the external test set. It shows how the models carry over to that "
    "one region; patients, scanners and readers differ with it and cannot be told "
    "apart.",
    "manifest": "The manifest's own split was used. The test set is external only for "
    "hospitals without training cases; how they were chosen is not known here.",
    "table": "The split was read from a table. The test set is external only for "
    "hospitals without training cases; how they were chosen is not known here.",
}


def model_name(arm: str, strategy: str, budget: str, trained_on: str) -> str:
    """Return the name of a model in words.

    >>> model_name("single", "", "tuned", "H007")
    'H007 alone (tuned)'
    """
    if arm == "federated":
        return f"Federated ({STRATEGIES.get(strategy, strategy)})"
    if arm == "pooled":
        return "Pooled"
    return f"{trained_on} alone ({budget})"


def opponent(comparison: str, trained_on: str) -> str:
    """Return the second model of a comparison in words.

    >>> opponent("federated - single (tuned)", "H007")
    'H007 (tuned)'
    >>> opponent("fedprox - fedavg", "all")
    'FedAvg'
    """
    other = comparison.partition(" - ")[2]
    return STRATEGIES.get(other, other.replace("single", trained_on, 1))


def split_words(split: str) -> str:
    """Return in words what a split can and cannot show."""
    kind, _, name = split.partition(":")
    return _SPLIT_WORDS[kind].format(name=name)


def number(value: float, digits: int = 3, sign: bool = False) -> str:
    """Return a number with a true minus sign; a dash where it is undefined.

    >>> number(-0.0314), number(0.0314, 2, sign=True), number(float("nan"))
    ('\u22120.031', '+0.03', '\u2013')
    """
    if pd.isna(value):
        return "\u2013"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "\u2212")


def interval(
    value: float, low: float, high: float, sign: bool = False, digits: int = 3
) -> str:
    """Return a number with its interval: ``0.861 (0.832 to 0.889)``."""
    text = number(value, digits, sign)
    if pd.isna(value) or pd.isna(low):
        return text
    return f"{text} ({number(low, digits, sign)} to {number(high, digits, sign)})"


def p_text(p_value: float, is_shown: bool) -> str:
    """Return a P value; a dash where it is undefined or must not be shown.

    >>> p_text(0.0003, True), p_text(0.034, True), p_text(0.0003, False)
    ('< 0.001', '0.034', '\u2013')
    """
    if is_shown and p_value < 0.001:
        return "< 0.001"
    return number(p_value if is_shown else float("nan"))


def verdict(low: float, high: float) -> str:
    """Return what an interval of a difference shows about the federated model."""
    if pd.isna(low) or pd.isna(high):
        return "cannot be computed"
    if low > 0:
        return "federated better"
    return "federated worse" if high < 0 else "no difference shown"
