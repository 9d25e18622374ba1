"""Proportions with binomial intervals."""

import math
from typing import Literal, get_args

from scipy.special import ndtri
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import Estimate, half_width

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
    if not (0 <= successes <= n and successes == int(successes) and n == int(n)):
        raise ConfigError(
            f"{successes} successes of {n}; expected whole numbers, 0 <= successes <= n"
        )
    half_width(1, level)  # refuses a level out of range
    x, n = int(successes), int(n)
    low, high = _interval(x, n, method, level) if n else (math.nan, math.nan)
    return Estimate(
        value=x / n if n else math.nan,
        low=float(low),
        high=float(high),
        n=n,
        method=method.replace("_", " ").title(),
        unit="patient",
    )


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
