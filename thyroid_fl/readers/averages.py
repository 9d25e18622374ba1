"""Does assistance help readers, not only these? The analysis over readers and cases."""

from collections.abc import Iterable
from typing import Any, get_args

import numpy as np
import pandas as pd

from thyroid_fl.readers.agreement import groups
from thyroid_fl.readers.readings import Readings
from thyroid_fl.statistics import compare_readings
from thyroid_fl.statistics.multi_reader import Readers

COLUMNS = [
    "unit", "group", "comparison", "readers", "n_readers", "auc_unaided",
    "low_unaided", "high_unaided", "auc_assisted", "low_assisted", "high_assisted",
    "difference", "low", "high", "f", "df", "ddf", "p_value", "n", "n_malignant",
]  # fmt: skip

Row = dict[str, Any]


def reader_averages(levels: Iterable[Readings]) -> pd.DataFrame:
    """Return mean AUCs of the arms and their differences from unaided reading.

    Obuchowski and Rockette's analysis with Hillis's degrees of freedom, each assisted
    arm against the unaided one; cases are random, readers random and, in rows of their
    own, fixed. With fewer than two readers random rows are NaN.

    Returns:
        Columns `COLUMNS`.
    """
    rows: list[Row] = []
    for level in levels:
        for group in groups(level):
            chosen = level.group(group)
            for arm, ratings in level.arms.items():
                if arm == "unaided":
                    continue
                both = np.stack([ratings[chosen], level.arms["unaided"][chosen]])
                for readers in get_args(Readers):
                    found = _row(level, both, readers)
                    name = f"{arm} - unaided"
                    rows.append(
                        {"unit": level.unit, "group": group, "comparison": name} | found
                    )
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(level: Readings, both: Any, readers: Readers) -> Row:
    found = compare_readings(
        level.labels, both, clusters=level.clusters, readers=readers
    )
    assisted, unaided = found.aucs
    (difference,) = found.differences
    return {
        "readers": readers, "n_readers": found.n_readers,
        "auc_unaided": unaided.value, "low_unaided": unaided.low,
        "high_unaided": unaided.high, "auc_assisted": assisted.value,
        "low_assisted": assisted.low, "high_assisted": assisted.high,
        "difference": difference.difference, "low": difference.low,
        "high": difference.high, "f": found.f, "df": found.df, "ddf": found.ddf,
        "p_value": found.p_value, "n": difference.n,
        "n_malignant": difference.n_positive,
    }  # fmt: skip
