"""Proportions with binomial intervals, and the difference of two."""

import math
from typing import Literal, get_args

import numpy as np
from scipy.special import ndtri
from scipy.stats import binomtest
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import Comparison, Estimate, half_width

ProportionMethod = Literal[
    "wilson", "clopper_pearson", "wald", "wilson_cc", "agresti_coull", "jeffreys"
]


def proportion(
    successes: int,
    n: int,
    *,
    method: ProportionMethod = "wilson",
    level: float = 0.95,
) -> Estimate:
    """Return successes / n with a binomial interval; NaN where n is 0.

    Conventions are those of R: Wald and Agresti-Coull are not cut at 0 and 1; Jeffreys
    is exactly 0 or 1 at no or only successes; Wilson's continuity correction vanishes
    at successes = n / 2, as in ``prop.test``.

    Raises:
        ConfigError: not 0 <= successes <= n, or the method is unknown.

    >>> estimate = proportion(3, 7)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.158, 0.75)
    """
    if method not in get_args(ProportionMethod):
        known = ", ".join(get_args(ProportionMethod))
        raise ConfigError(f"method is {method!r}; expected one of: {known}")
    x, n = _counts(successes, n)
    half_width(1, level)  # refuses a level out of range
    low, high = _interval(x, n, method, level) if n else (math.nan, math.nan)
    return Estimate(
        value=x / n if n else math.nan,
        low=float(low),
        high=float(high),
        n=n,
        method=method.replace("_", " ").title(),
        unit="patient",
    )


def compare_proportions(
    successes1: int, n1: int, successes2: int, n2: int, *, level: float = 0.95
) -> Comparison:
    """Return the first proportion minus the second, of two groups of patients.

    As R's ``prop.test(correct = FALSE)``: the test is Pearson's chi-square (1900), of
    which the statistic is the signed root, and the interval Wald's, cut at -1 and 1.
    For two models on the same patients use a paired test.

    Args:
        successes1: successes in the first group.
        n1: size of the first group.
        successes2: successes in the second group.
        n2: size of the second group.
        level: confidence level of the interval.

    Returns:
        NaN where a group is empty; without a test where all, or none, succeed.

    Raises:
        ConfigError: not 0 <= successes <= n in both.

    >>> found = compare_proportions(1609, 7016, 278, 1020)
    >>> round(found.difference, 3), round(found.p_value, 4)
    (-0.043, 0.0023)
    """
    (x1, n1), (x2, n2) = _counts(successes1, n1), _counts(successes2, n2)
    half_width(1, level)
    difference = low = high = z = p_value = variance = math.nan
    if n1 and n2:
        p1, p2 = x1 / n1, x2 / n2
        difference = p1 - p2
        variance = p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2
        low, high = confint_proportions_2indep(
            x1, n1, x2, n2, method="wald", alpha=1 - level
        )
        if 0 < x1 + x2 < n1 + n2:
            z, p_value = proportions_ztest([x1, x2], [n1, n2])
    return Comparison(
        difference=difference,
        low=float(np.clip(low, -1, 1)),
        high=float(np.clip(high, -1, 1)),
        statistic=float(z),
        p_value=float(p_value),
        method="chi-square, Wald",
        variance=variance,
        n=n1 + n2,
    )


def _counts(successes: int, n: int) -> tuple[int, int]:
    if not (0 <= successes <= n and successes == int(successes) and n == int(n)):
        raise ConfigError(
            f"{successes} successes of {n}; expected whole numbers, 0 <= successes <= n"
        )
    return int(successes), int(n)


def _interval(
    x: int, n: int, method: ProportionMethod, level: float
) -> tuple[float, float]:
    z = float(ndtri((1 + level) / 2))
    low: float
    high: float
    if method == "wald":  # statsmodels cuts this one and the next at 0 and 1
        return _around(x / n, n, z)
    if method == "agresti_coull":
        return _around((x + z**2 / 2) / (n + z**2), n + z**2, z)
    if method == "wilson_cc" and 2 * x != n:
        low, high = binomtest(x, n).proportion_ci(level, method="wilsoncc")
        return low, high
    names = {"clopper_pearson": "beta", "wilson_cc": "wilson"}
    low, high = proportion_confint(x, n, 1 - level, names.get(method, method))
    if method == "jeffreys":
        return (0.0 if x == 0 else low), (1.0 if x == n else high)
    return low, high


def _around(centre: float, n: float, z: float) -> tuple[float, float]:
    half = z * math.sqrt(centre * (1 - centre) / n)
    return centre - half, centre + half
