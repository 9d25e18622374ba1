"""The whole reader study, from ratings to tables."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers.agreement import agreement_table
from thyroid_fl.readers.assistance import PatientRule, Policy
from thyroid_fl.readers.averages import reader_averages
from thyroid_fl.readers.categories import CODES
from thyroid_fl.readers.performance import (
    auc_table,
    category_table,
    comparison_table,
    operating_points,
)
from thyroid_fl.readers.readings import Readings, image_readings, levels
from thyroid_fl.readers.table_6 import table_6
from thyroid_fl.statistics import youden_threshold

PAPER = "paper"
POLICY_COLUMNS = ["policy", "patient_rule", "unit", "reader", "auc", "low", "high"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderStudy:
    """The tables of a reader study; each field but `notes` is one file."""

    table_6: pd.DataFrame
    """The paper's table, intervals of images clustered by patient."""
    table_6_naive: pd.DataFrame
    """The same with the paper's intervals, images taken for independent."""
    aucs: pd.DataFrame
    comparisons: pd.DataFrame
    averages: pd.DataFrame
    """Obuchowski-Rockette over readers and cases."""
    agreement: pd.DataFrame
    operating_points: pd.DataFrame
    """Empty without a threshold category."""
    categories: pd.DataFrame
    policies: pd.DataFrame
    """AUCs of rule-based assistance under every policy and rule for patients."""
    notes: tuple[str, ...]
    """What a reader of the tables must know."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name."""
        names = [field.name for field in fields(self) if field.name != "notes"]
        return {name: getattr(self, name) for name in names}


def reader_study(
    ratings: pd.DataFrame,
    *,
    threshold: float | Literal["paper"] | None = None,
    policy: Policy = "clamp",
    patient_rule: PatientRule = "images",
    positive_from: str | None = None,
    seed: int = 1,
) -> ReaderStudy:
    """Return the tables of a reader study.

    Args:
        ratings: see `read_ratings`.
        threshold: the AI says malignant from this score on; it must come from
            validation cases. ``paper`` takes the Youden threshold of the very cases
            that are judged, as the paper's authors did, and says so in the notes.
            Without one there is no rule-based arm but a recorded one.
        policy: what happens to a 3 that goes down and a 5 that goes up; `rule_based`.
        patient_rule: how a patient's images come together; `rule_based_patients`.
        positive_from: category from which a reader's rating counts as malignant.
        seed: of the shuffles of the agreement's control.

    Raises:
        ConfigError: an option is unknown, or does not fit the ratings.
    """
    if positive_from is not None and positive_from not in CODES:
        raise ConfigError(
            f"positive_from is {positive_from!r}; expected one of {', '.join(CODES)}"
        )
    notes: list[str] = []
    if threshold == PAPER:
        threshold = _own_threshold(ratings)
        notes.append(
            f"PAPER MODE: the AI's threshold {threshold:.8g} was chosen on the cases "
            "that it is judged by; sensitivity, specificity and rule-based assistance "
            "look better than they are"
        )
    elif isinstance(threshold, str):
        raise ConfigError(f"threshold is {threshold!r}; expected a number, or paper")
    read = levels(
        ratings, threshold=threshold, policy=policy, patient_rule=patient_rule
    )
    aucs, comparisons = auc_table(read), comparison_table(read)
    notes += _notes(read, ratings, threshold, policy, patient_rule)
    return ReaderStudy(
        table_6=table_6(aucs, comparisons),
        table_6_naive=table_6(aucs, comparisons, "naive"),
        aucs=aucs,
        comparisons=comparisons,
        averages=reader_averages(read),
        agreement=agreement_table(read, policy, seed),
        operating_points=operating_points(read, positive_from),
        categories=category_table(read),
        policies=_policies(ratings, threshold),
        notes=tuple(notes),
    )


def _own_threshold(ratings: pd.DataFrame) -> float:
    given = image_readings(ratings, None)
    if given.ai is None:
        raise ConfigError("threshold is 'paper', but the ratings have no ai_score")
    return youden_threshold(given.labels, given.ai)


def _policies(ratings: pd.DataFrame, threshold: float | None) -> pd.DataFrame:
    """Return how much the untold rules matter; empty where there is nothing to move."""
    found = []
    is_recorded = (ratings["arm"] == "rule_based").any()
    has_two = (ratings["category"] == "2").any()
    if not is_recorded and threshold is not None:
        for policy in get_args(Policy):
            if has_two and policy != "guideline":
                continue
            for rule in get_args(PatientRule):
                read = levels(
                    ratings, threshold=threshold, policy=policy, patient_rule=rule
                )
                # Rules for patients are no matter of images.
                read = tuple(r for r in read if rule == "images" or r.unit == "patient")
                aucs = auc_table(read).query("arm == 'rule_based'")
                found.append(aucs.assign(policy=policy, patient_rule=rule))
    table = pd.concat(found) if found else pd.DataFrame(columns=POLICY_COLUMNS)
    return table[POLICY_COLUMNS].reset_index(drop=True)


def _notes(
    read: tuple[Readings, ...],
    ratings: pd.DataFrame,
    threshold: float | None,
    policy: Policy,
    patient_rule: PatientRule,
) -> list[str]:
    notes = []
    if (ratings["arm"] == "rule_based").any():
        notes.append("rule-based assistance as recorded in the ratings")
    elif "rule_based" in read[-1].arms:
        notes.append(
            f"rule-based assistance made from unaided categories: AI positive from "
            f"{threshold:.8g}, policy {policy}, patient rule {patient_rule}"
        )
    else:
        notes.append(
            "no rule-based arm: it needs unaided categories, ai_score and a threshold"
        )
    if read[0].unit == "patient":
        notes.append("rated by patient: there is no image level")
    n_readers = len(read[-1].readers)
    if n_readers < 2:
        notes.append("one reader: nothing can be said of other readers")
    return notes
