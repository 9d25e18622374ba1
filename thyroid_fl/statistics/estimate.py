"""What a statistic returns: a value or a difference, its interval, and its basis."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from thyroid_fl.errors import ConfigError

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; NaN where undefined."""

    value: float
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end of the interval."""
    n: int
    """How many of `unit` it rests on."""
    method: str
    """How value and interval were found, in words."""
    unit: str
    """What was counted: image, nodule, patient, or hospital."""
    variance: float = math.nan
    """Sampling variance of the value, where the method has one."""
    n_positive: int | None = None
    """How many of the n are malignant, where that has a meaning."""
    n_clusters: int | None = None
    """How many clusters the n fall into, where there are clusters."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """First minus second, with its interval and two-sided test; NaN where undefined."""

    difference: float
    low: float
    """Lower end of the interval of the difference."""
    high: float
    """Upper end of the interval of the difference."""
    statistic: float
    """z where `df` is infinite, else t."""
    p_value: float
    """Two-sided."""
    method: str
    """How the difference and its interval were found, in words."""
    df: float = math.inf
    """Degrees of freedom of the statistic."""
    variance: float = math.nan
    """Sampling variance of the difference."""
    n: int | None = None
    """How many cases it rests on."""
    n_positive: int | None = None
    """How many of the n are malignant."""


def half_width(variance: float, level: float, df: float = math.inf) -> float:
    """Return half the width of the t interval (normal where `df` is infinite).

    Raises:
        ConfigError: `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; expected between 0 and 1, such as 0.95")
    if variance == 0:  # whatever the degrees of freedom, even 0/0
        return 0.0
    # Not math.sqrt: NaN must pass through. Infinite df gives the normal quantile.
    return float(stdtrit(df, (1 + level) / 2) * np.sqrt(variance))


def compared(
    difference: float,
    variance: float,
    method: str,
    *,
    level: float,
    df: float = math.inf,
    n: int,
    n_positive: int | None = None,
) -> Comparison:
    """Return the two-sided test of a difference against zero.

    No variance and no difference gives statistic 0 and p 1 (as pROC 1.18.0); no
    variance but a difference gives an infinite statistic and p 0.
    """
    half = half_width(variance, level, df)
    if variance == 0:
        statistic = math.copysign(math.inf, difference) if difference else 0.0
        df = math.inf
    else:
        statistic = float(difference / np.sqrt(variance))
    return Comparison(
        difference=difference,
        low=difference - half,
        high=difference + half,
        statistic=statistic,
        p_value=float(2 * stdtr(df, -abs(statistic))),
        method=method,
        df=df,
        variance=variance,
        n=n,
        n_positive=n_positive,
    )
