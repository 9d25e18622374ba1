"""Agreement between readers."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc
from scipy.stats import rankdata

from thyroid_fl.errors import ConfigError


@dataclass(frozen=True, slots=True)
class KendallW:
    """Kendall's coefficient of concordance and its test; NaN where undefined."""

    w: float
    """From 0 (no agreement) to 1; m readers reach about 1/m by chance."""
    chi2: float
    """Friedman's statistic, m (n - 1) W."""
    df: int
    """Items minus 1."""
    p_value: float
    n: int
    """How many items were rated."""
    n_raters: int


def kendall_w(ratings: npt.ArrayLike) -> KendallW:
    """Return Kendall's W with correction for ties (Kendall & Babington Smith 1939).

    NaN where fewer than two items or raters, or where every rater gives all items the
    same rating.

    Args:
        ratings: one row an item, one column a rater.

    Raises:
        ConfigError: the ratings are not a table of finite numbers.

    >>> kendall_w([[1, 1], [2, 2], [3, 3]]).w
    1.0
    """
    table = np.asarray(ratings, dtype=np.float64)
    if table.ndim != 2 or not np.all(np.isfinite(table)):
        raise ConfigError(
            "the ratings have gaps; expected a table of finite numbers, "
            "one row an item, one column a rater"
        )
    n, m = table.shape
    ranks = rankdata(table, axis=0)
    ties = sum(
        float((counts**3 - counts).sum())
        for counts in (np.unique(column, return_counts=True)[1] for column in table.T)
    )
    sums = ranks.sum(axis=1)
    most = m**2 * (n**3 - n) - m * ties
    spread = float(((sums - m * (n + 1) / 2) ** 2).sum())
    w = 12 * spread / most if n > 1 and m > 1 and most > 0 else math.nan
    chi2 = m * (n - 1) * w
    return KendallW(
        w=w,
        chi2=chi2,
        df=n - 1,
        p_value=float(chdtrc(n - 1, chi2)),
        n=n,
        n_raters=m,
    )
