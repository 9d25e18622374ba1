"""Tests of paired values, such as one model's Dice minus another's, and many tests."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, wilcoxon
from statsmodels.stats.multitest import multipletests

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import Comparison, FloatArray, compared

Adjustment = Literal["holm", "benjamini_hochberg", "bonferroni"]
_STATSMODELS = {"holm": "holm", "benjamini_hochberg": "fdr_bh"}


@dataclass(frozen=True, slots=True)
class SignedRank:
    """Wilcoxon's signed rank test; NaN where undefined."""

    statistic: float
    """Sum of the ranks of the positive differences (R's V)."""
    p_value: float
    """Two-sided, by the normal approximation."""
    n: int
    """How many pairs there are."""
    n_unequal: int
    """How many of them differ; the others tell nothing and are left out."""
    method: str


def paired_t(
    first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95
) -> Comparison:
    """Return the mean of first minus second with Student's paired t test.

    One patient a pair; for images use a test that is clustered by patient. All
    differences 0 gives t = 0 and p = 1, one pair NaN.

    Args:
        first: values, shape (N,).
        second: the values of the same patients, shape (N,).
        level: confidence level of the interval.

    Raises:
        ConfigError: lengths differ, or a value is not finite.
    """
    differences = _differences(first, second)
    n = len(differences)
    variance = float(np.var(differences, ddof=1)) / n if n > 1 else math.nan
    return compared(
        float(differences.mean()) if n else math.nan,
        variance,
        "paired t",
        level=level,
        df=n - 1,
        n=n,
    )


def signed_rank(
    first: npt.ArrayLike, second: npt.ArrayLike, *, continuity: bool = True
) -> SignedRank:
    """Return Wilcoxon's signed rank test (1945) of paired values.

    As R's ``wilcox.test(paired = TRUE, exact = FALSE)``: equal pairs are left out,
    ties get midranks. NaN where no pair differs.

    Args:
        first: values, shape (N,).
        second: the values of the same patients, shape (N,).
        continuity: whether to correct for continuity.

    Raises:
        ConfigError: lengths differ, or a value is not finite.

    >>> signed_rank([1, 2, 3, 4], [2, 1, 1, 1]).statistic
    8.5
    """
    differences = _differences(first, second)
    unequal = differences[differences != 0]
    ranks = rankdata(np.abs(unequal))
    p_value = math.nan
    if len(unequal):
        p_value = float(
            wilcoxon(unequal, correction=continuity, method="asymptotic").pvalue
        )
    return SignedRank(
        statistic=float(ranks[unequal > 0].sum()),
        p_value=p_value,
        n=len(differences),
        n_unequal=len(unequal),
        method="Wilcoxon signed rank, normal approximation"
        + (", continuity correction" if continuity else ""),
    )


def adjusted(p_values: npt.ArrayLike, method: Adjustment = "holm") -> FloatArray:
    """Return the p values of a family of tests, adjusted for their number.

    Holm (1979) and Bonferroni hold the chance of any false finding, Benjamini &
    Hochberg (1995) the share of false ones among the findings. NaN stays NaN, and
    does not count as a test (as R's ``p.adjust``).

    Raises:
        ConfigError: the method is unknown, or a p value is not from 0 to 1.

    >>> adjusted([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    if method not in get_args(Adjustment):
        known = ", ".join(get_args(Adjustment))
        raise ConfigError(f"method is {method!r}; expected one of: {known}")
    family = np.asarray(p_values, dtype=np.float64)
    is_test = ~np.isnan(family)
    if np.any((family[is_test] < 0) | (family[is_test] > 1)):
        raise ConfigError("a p value is below 0 or above 1")
    together = family.copy()
    if np.any(is_test):
        name = _STATSMODELS.get(method, method)
        together[is_test] = multipletests(family[is_test], method=name)[1]
    return together


def _differences(first: npt.ArrayLike, second: npt.ArrayLike) -> FloatArray:
    one = np.asarray(first, dtype=np.float64)
    other = np.asarray(second, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise ConfigError(
            f"the values have shapes {one.shape} and {other.shape}; "
            "expected two lists of one length, one value a patient"
        )
    if not (np.all(np.isfinite(one)) and np.all(np.isfinite(other))):
        raise ConfigError("a value is NaN or infinite; leave out that pair")
    return np.asarray(one - other)
