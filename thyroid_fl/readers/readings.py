"""What was read, side by side: arms, readers and cases at one level.

R readers, N cases: images, or patients, whose images come to their highest value.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers.assistance import (
    IntArray,
    PatientRule,
    Policy,
    of_patients,
    rule_based,
    rule_based_patients,
)
from thyroid_fl.readers.categories import CODES
from thyroid_fl.readers.ratings import ARMS, Arm, case_column
from thyroid_fl.statistics.estimate import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """All ratings of one level; a higher value is more malignant."""

    unit: Literal["image", "patient"]
    labels: IntArray
    """1 malignant, 0 benign; shape (N,)."""
    patients: npt.NDArray[np.str_]
    """Patient of each case, shape (N,)."""
    readers: tuple[str, ...]
    experience: tuple[str, ...]
    """Of each reader; empty text where it is not told."""
    arms: dict[Arm, FloatArray]
    """Ratings of each arm, shape (R, N); categories as codes."""
    is_category: dict[Arm, bool]
    """Whether the ratings of an arm are categories, of all readers."""
    ai: FloatArray | None
    """The AI's scores, shape (N,)."""
    calls: npt.NDArray[np.bool_] | None
    """Whether the AI says malignant, shape (N,)."""

    @property
    def clusters(self) -> npt.NDArray[np.str_] | None:
        """The patients where several cases may be one patient's, else None."""
        return self.patients if self.unit == "image" else None

    def group(self, experience: str) -> npt.NDArray[np.intp]:
        """Return which readers have this experience; ``all`` for all of them."""
        return np.array(
            [
                number
                for number, own in enumerate(self.experience)
                if experience in ("all", own)
            ],
            dtype=np.intp,
        )


def image_readings(ratings: pd.DataFrame, threshold: float | None) -> Readings:
    """Return the ratings as they were given: of images, or of patients.

    Args:
        ratings: see `thyroid_fl.readers.ratings`.
        threshold: the AI says malignant from here on; from validation cases.
    """
    case = case_column(ratings)
    cases = ratings.drop_duplicates(case).set_index(case)
    readers = ratings.drop_duplicates("reader").set_index("reader")
    found: dict[Arm, FloatArray] = {}
    categories: dict[Arm, bool] = {}
    values = ratings["score"].fillna(ratings["category"].map(CODES).astype("float64"))
    for arm in ARMS:
        rows = ratings["arm"] == arm
        if not rows.any():
            continue
        table = ratings[rows].assign(value=values[rows])
        wide = table.pivot(index="reader", columns=case, values="value")
        found[arm] = wide.loc[readers.index, cases.index].to_numpy(dtype=np.float64)
        categories[arm] = bool(ratings.loc[rows, "category"].notna().all())
    ai = cases["ai_score"].to_numpy(dtype=np.float64)
    has_ai = not np.isnan(ai).any()
    patients = cases.index if case == "patient_id" else cases["patient_id"]
    return Readings(
        unit="patient" if case == "patient_id" else "image",
        labels=cases["malignant"].to_numpy(dtype=np.int64),
        patients=np.asarray(patients.to_numpy(), dtype=np.str_),
        readers=tuple(readers.index),
        experience=tuple(readers["experience"].fillna("")),
        arms=found,
        is_category=categories,
        ai=ai if has_ai else None,
        calls=ai >= threshold if has_ai and threshold is not None else None,
    )


def assisted(readings: Readings, policy: Policy) -> FloatArray | None:
    """Return the arm of rule-based assistance made from the unaided one, shape (R, N).

    None where there are no calls of the AI, or the readers gave scores.
    """
    if readings.calls is None or not readings.is_category["unaided"]:
        return None
    codes = readings.arms["unaided"].astype(np.int64)
    return rule_based(codes, readings.calls, policy).astype(np.float64)


def levels(
    ratings: pd.DataFrame,
    *,
    threshold: float | None,
    policy: Policy = "clamp",
    patient_rule: PatientRule = "images",
) -> tuple[Readings, ...]:
    """Return the readings by image, if images were rated, and by patient.

    Rule-based assistance is added where it was not recorded and can be made.

    Args:
        ratings: see `thyroid_fl.readers.ratings`.
        threshold: the AI says malignant from here on.
        policy: see `rule_based`.
        patient_rule: see `rule_based_patients`.

    Raises:
        ConfigError: a threshold without scores of the AI, or an unknown policy.
    """
    given = image_readings(ratings, threshold)
    if threshold is not None and given.ai is None:
        raise ConfigError(
            "there is a threshold, but the ratings have no column ai_score; add it, or "
            "leave the threshold out"
        )
    made = None if "rule_based" in given.arms else assisted(given, policy)
    if given.unit == "patient":
        return (_with(given, made),)
    by_patient = _by_patient(given)
    if made is None:
        return given, by_patient
    codes = given.arms["unaided"].astype(np.int64)
    moved = rule_based_patients(
        codes, np.asarray(given.calls), given.patients, policy, patient_rule
    )
    return _with(given, made), _with(by_patient, moved.astype(np.float64))


def _with(readings: Readings, made: FloatArray | None) -> Readings:
    if made is None:
        return readings
    return dataclasses.replace(
        readings,
        arms={**readings.arms, "rule_based": made},
        is_category={**readings.is_category, "rule_based": True},
    )


def _by_patient(readings: Readings) -> Readings:
    groups = readings.patients

    def highest(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return of_patients(values, groups)

    return dataclasses.replace(
        readings,
        unit="patient",
        labels=highest(readings.labels).astype(np.int64),
        patients=np.asarray(list(dict.fromkeys(groups.tolist())), dtype=np.str_),
        arms={
            arm: highest(ratings).astype(np.float64)
            for arm, ratings in readings.arms.items()
        },
        ai=None if readings.ai is None else highest(readings.ai).astype(np.float64),
        calls=None if readings.calls is None else highest(readings.calls).astype(bool),
    )
