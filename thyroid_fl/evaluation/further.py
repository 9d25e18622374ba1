"""The tables of a comparison beyond results and comparisons, all in one call."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from thyroid_fl.evaluation.calibration import (
    calibration_curves,
    calibration_table,
    decision_curves,
)
from thyroid_fl.evaluation.gap import gap_table
from thyroid_fl.evaluation.harm import HARM_COLUMNS, harm_summary, harm_table
from thyroid_fl.evaluation.operating_points import operating_point_table
from thyroid_fl.evaluation.predictions import by_task, test_cases
from thyroid_fl.evaluation.subgroups import subgroup_table
from thyroid_fl.evaluation.worst import worst_table

SUBGROUPS = ("age", "sex")
FURTHER_TABLES: Final = (
    "gap",
    "worst",
    "harm",
    "harm_summary",
    "operating_points",
    "calibration",
    "calibration_curves",
    "decision_curves",
    "subgroups",
)
"""In a comparison's folder each is a CSV file of this name."""


def further_tables(
    predictions: pd.DataFrame,
    cases: pd.DataFrame,
    sizes: Mapping[str, Mapping[str, int]],
    *,
    n_resamples: int = 1000,
) -> dict[str, pd.DataFrame]:
    """Return the tables of `FURTHER_TABLES` by name; without rows where none apply.

    Args:
        predictions: of a comparison.
        cases: its manifest; only those of age and sex that it has make subgroups.
        sizes: training pictures by task and hospital.
        n_resamples: of each bootstrap.

    Raises:
        ConfigError: a column is missing, a value is out of range, or a picture is not
            in the manifest.
    """
    tested = cases["image_id"].astype("str").isin(test_cases(predictions)["image_id"])
    known = [name for name in SUBGROUPS if cases.loc[tested, name].notna().any()]
    harm = [pd.DataFrame(columns=HARM_COLUMNS)]
    summary = [pd.DataFrame(columns=HARM_COLUMNS)]
    for task, of_task in by_task(predictions):
        harm.append(harm_table(of_task, sizes[task]))
        summary.append(harm_summary(of_task, sizes[task]))
    return {
        "gap": gap_table(predictions, n_resamples=n_resamples),
        "worst": worst_table(predictions),
        "harm": pd.concat([t for t in harm if len(t)] or harm[:1]),
        "harm_summary": pd.concat([t for t in summary if len(t)] or summary[:1]),
        "operating_points": operating_point_table(predictions, n_resamples=n_resamples),
        "calibration": calibration_table(predictions),
        "calibration_curves": calibration_curves(predictions),
        "decision_curves": decision_curves(predictions),
        "subgroups": subgroup_table(predictions, cases, known),
    }
