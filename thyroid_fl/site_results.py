"""The layout of a hospital's test results, which hospital and centre agree on.

One metric record: numbers and lists of numbers, no names. What a hospital tells at
least is what it tested and its own result; a finer level adds to that:

metrics    number of patients and pictures, and the hospital's own AUC with its
           variance; for a mean, such as Dice: the three sums of `MeanSums`
histogram  and how many patients of each class are in which bin of the score
scores     and the scores of each class, ascending, so that no order of files shows

A mean needs no finer level: the sums give the mean of all hospitals exactly.

What few patients reveal: the result of a hospital with one patient is that patient's;
with two patients of a class a histogram gives both scores to within a bin, and AUC and
counts together tell who was ranked wrongly, if there is only one. A histogram hides
which patient has which score, not the scores: with fewer patients than bins it is
about the list of the rounded scores. None of it names a patient or a picture.
"""

from typing import Final, Literal, get_args

Level = Literal["metrics", "histogram", "scores"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
"""From the coarsest on; a level travels as its place here."""

TEST: Final = "test"
"""Flower's action: the message's type is ``evaluate.test``."""
RECORD: Final = "results"
LEVEL, IS_EXTERNAL = "level", "is-external"
N_IMAGES, N_PATIENTS = "n-images", "n-patients"
CLASSES: Final = ("benign", "malignant")
AUC, AUC_VARIANCE = "auc", "auc-variance"


def count_key(of_class: str) -> str:
    """Return the key of the number of patients of a class."""
    return f"n-{of_class}"


def bins_key(of_class: str) -> str:
    """Return the key of a class's patients by bin."""
    return f"{of_class}-bins"


def scores_key(of_class: str) -> str:
    """Return the key of a class's scores."""
    return f"{of_class}-scores"


def sums_keys(mean: str) -> tuple[str, str, str]:
    """Return the keys of n, total and deviations of a mean.

    >>> sums_keys("dice")
    ('dice-n', 'dice-total', 'dice-deviations')
    """
    return f"{mean}-n", f"{mean}-total", f"{mean}-deviations"
