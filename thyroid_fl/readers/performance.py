"""How well readers and AI tell malignant from benign: AUCs, differences, rates.

Rows of images carry intervals clustered by patient (Obuchowski); beside them, as
``low_naive``, ``high_naive`` and ``p_naive``, stands what DeLong gives when images are
taken for independent, as the paper does. By patient the two are the same.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.readers.categories import CODES
from thyroid_fl.readers.ratings import RESERVED as AI
from thyroid_fl.readers.ratings import Arm
from thyroid_fl.readers.readings import Readings
from thyroid_fl.statistics import (
    Estimate,
    adjusted,
    auc,
    clustered_mean,
    compare_aucs,
    proportion,
)
from thyroid_fl.statistics.estimate import FloatArray

TABLE_6, ASSISTED = "Table 6", "assisted against AI"
PAPER_COMPARISONS = ("freestyle - unaided", "rule_based - unaided", "unaided - AI")
"""P values 1, 2 and 3 of the paper's Table 6."""
_NAMES = {code: name for name, code in CODES.items()} | {0: "below 3", 6: "above 5"}

COMPARISON_COLUMNS = [
    "family", "unit", "reader", "experience", "comparison", "difference", "low", "high",
    "statistic", "p_value", "p_holm", "p_naive", "n", "n_malignant", "method",
]  # fmt: skip
POINT_COLUMNS = [
    "unit", "reader", "experience", "arm", "positive_from", "metric", "value", "low",
    "high", "n", "method",
]  # fmt: skip
CATEGORY_COLUMNS = ["unit", "reader", "arm", "category", "n_benign", "n_malignant"]

Row = dict[str, Any]


def auc_table(levels: Iterable[Readings]) -> pd.DataFrame:
    """Return the AUC of the AI and of each reader and arm, one row each."""
    return pd.DataFrame(
        [
            {
                "unit": level.unit,
                "reader": reader,
                "experience": experience,
                "arm": arm,
                **_auc_cells(level, scores),
            }
            for level in levels
            for reader, experience, arm, _, scores in _scored(level)
        ]
    )


def comparison_table(levels: Iterable[Readings]) -> pd.DataFrame:
    """Return each reader's paired differences, with p values adjusted by Holm.

    There are two families of tests, over readers and levels: the paper's three
    comparisons (36 with six readers), and assisted readings against the AI alone.
    """
    table = pd.DataFrame([row for level in levels for row in _differences(level)])
    if len(table):
        families = table.groupby("family")["p_value"]
        table["p_holm"] = families.transform(lambda p: adjusted(p.to_numpy()))
    return table.reindex(columns=COMPARISON_COLUMNS)


def operating_points(
    levels: Iterable[Readings], positive_from: str | None
) -> pd.DataFrame:
    """Return sensitivity and specificity of each reader and arm of categories.

    Intervals are Wilson's by patient, and clustered by patient (t) by image. No rows
    without a category to be positive from.

    Args:
        levels: what was read.
        positive_from: the category from which a case counts as malignant; chosen
            beforehand, as by a guideline.
    """
    rows = []
    for level in levels if positive_from else ():
        for reader, experience, arm, is_category, scores in _scored(level):
            if not is_category:
                continue
            is_right = (scores >= CODES[str(positive_from)]) == (level.labels == 1)
            for metric, label in (("sensitivity", 1), ("specificity", 0)):
                of_class = level.labels == label
                found = _rate(is_right[of_class], level, of_class)
                rows.append(
                    {
                        "unit": level.unit,
                        "reader": reader,
                        "experience": experience,
                        "arm": arm,
                        "positive_from": positive_from,
                        "metric": metric,
                        "value": found.value,
                        "low": found.low,
                        "high": found.high,
                        "n": found.n,
                        "method": found.method,
                    }
                )
    return pd.DataFrame(rows, columns=POINT_COLUMNS)


def category_table(levels: Iterable[Readings]) -> pd.DataFrame:
    """Return how many benign and malignant cases each reader put into each category."""
    rows = []
    for level in levels:
        for reader, _, arm, is_category, scores in _scored(level):
            if not is_category:
                continue
            first = 0 if scores.min() < CODES["3"] else 1
            last = 6 if scores.max() > CODES["5"] else 5
            for code in range(first, last + 1):
                chosen = level.labels[scores == code]
                rows.append(
                    {
                        "unit": level.unit,
                        "reader": reader,
                        "arm": arm,
                        "category": _NAMES[code],
                        "n_benign": int((chosen == 0).sum()),
                        "n_malignant": int((chosen == 1).sum()),
                    }
                )
    return pd.DataFrame(rows, columns=CATEGORY_COLUMNS)


def _scored(level: Readings) -> Iterator[tuple[str, str, str, bool, FloatArray]]:
    """Yield reader, experience, arm, whether of categories, and scores; AI first."""
    if level.ai is not None:
        yield AI, "", "ai", False, level.ai
    for arm, ratings in level.arms.items():
        for reader, experience, scores in zip(
            level.readers, level.experience, ratings, strict=True
        ):
            yield reader, experience, arm, level.is_category[arm], scores


def _auc_cells(level: Readings, scores: FloatArray) -> Row:
    found = auc(level.labels, scores, clusters=level.clusters)
    naive = auc(level.labels, scores)
    return {
        "auc": found.value, "low": found.low, "high": found.high,
        "low_naive": naive.low, "high_naive": naive.high,
        "n": found.n, "n_malignant": found.n_positive,
        "n_patients": len(set(level.patients.tolist())), "method": found.method,
    }  # fmt: skip


def _differences(level: Readings) -> Iterator[Row]:
    unaided = level.arms["unaided"]
    for number, (reader, experience) in enumerate(
        zip(level.readers, level.experience, strict=True)
    ):
        for family, name, first, second in _pairs(level, number, unaided[number]):
            found = compare_aucs(level.labels, first, second, clusters=level.clusters)
            naive = compare_aucs(level.labels, first, second)
            yield {
                "family": family, "unit": level.unit, "reader": reader,
                "experience": experience, "comparison": name,
                "difference": found.difference, "low": found.low, "high": found.high,
                "statistic": found.statistic, "p_value": found.p_value,
                "p_naive": naive.p_value, "n": found.n,
                "n_malignant": found.n_positive, "method": found.method,
            }  # fmt: skip


def _pairs(
    level: Readings, number: int, unaided: FloatArray
) -> Iterator[tuple[str, str, FloatArray, FloatArray]]:
    """Yield what of a reader is compared: family, name, first and second scores."""
    assisted: list[Arm] = [arm for arm in level.arms if arm != "unaided"]
    for arm in assisted:
        yield TABLE_6, f"{arm} - unaided", level.arms[arm][number], unaided
    if level.ai is None:
        return
    yield TABLE_6, f"unaided - {AI}", unaided, level.ai
    for arm in assisted:
        yield ASSISTED, f"{arm} - {AI}", level.arms[arm][number], level.ai


def _rate(
    is_right: npt.NDArray[np.bool_], level: Readings, of_class: npt.NDArray[np.bool_]
) -> Estimate:
    if level.clusters is None:
        return proportion(int(is_right.sum()), len(is_right))
    return clustered_mean(is_right.astype(np.float64), level.clusters[of_class])
