"""The reader study: radiologists alone, and with the AI in two ways.

From a table of ratings to the paper's Table 6 and what it lacks: intervals that know
that images of a patient belong together, adjusted p values, an analysis that speaks of
other readers than these, and agreement with its controls.
"""

from thyroid_fl.readers.assistance import (
    PatientRule,
    Policy,
    rule_based,
    rule_based_patients,
)
from thyroid_fl.readers.categories import (
    CATEGORIES,
    CODES,
    Category,
    acr_level,
    acr_points,
    as_codes,
    ctirads,
)
from thyroid_fl.readers.ratings import ARMS, read_ratings
from thyroid_fl.readers.readings import Readings, levels
from thyroid_fl.readers.study import ReaderStudy, reader_study

__all__ = [
    "ARMS",
    "CATEGORIES",
    "CODES",
    "Category",
    "PatientRule",
    "Policy",
    "ReaderStudy",
    "Readings",
    "acr_level",
    "acr_points",
    "as_codes",
    "ctirads",
    "levels",
    "read_ratings",
    "reader_study",
    "rule_based",
    "rule_based_patients",
]
