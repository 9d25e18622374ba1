"""The worst hospitals: endpoints that a mean over hospitals hides.

k hospitals, each with a value, such as an AUC or a gain, and its sampling variance.

The worst of k noisy values is worse than the truth, the more so the smaller the
hospitals. So the interval is made for all k hospitals at once (Bonferroni): if it holds
the truth of each, the d smallest true values lie, in the mean, between the d smallest
lower and the d smallest upper limits, whichever hospitals these belong to.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import Estimate, FloatArray, half_width
from thyroid_fl.statistics.proportions import proportion


def worst_mean(
    values: npt.ArrayLike,
    variances: npt.ArrayLike,
    *,
    share: float = 0.0,
    dfs: npt.ArrayLike = math.inf,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of the worst hospitals, with an interval for the true one.

    The value is that of the data, and too low; the interval is simultaneous over
    hospitals, as at the head of the module. A hospital with NaN is left out and not
    counted in n; one without a variance leaves no interval. NaN without hospitals.

    Args:
        values: higher is better, shape (k,).
        variances: their sampling variances, shape (k,).
        share: of the hospitals, rounded up to whole ones; 0 is the worst alone, 0.1
            the worst decile.
        dfs: degrees of freedom of each variance, shape (k,), or one for all.
        level: confidence level.

    Raises:
        ConfigError: lengths differ, or the share is not from 0 to 1.

    >>> worst_mean([0.9, 0.7, 0.8], [0.0, 0.0, 0.0]).value
    0.7
    """
    y = np.asarray(values, dtype=np.float64)
    v = np.asarray(variances, dtype=np.float64)
    df = np.broadcast_to(np.asarray(dfs, dtype=np.float64), y.shape)
    if y.ndim != 1 or y.shape != v.shape or not 0 <= share <= 1:
        raise ConfigError(
            f"{y.shape} values, {v.shape} variances, share {share}; expected one of "
            "each a hospital, and a share from 0 to 1"
        )
    half_width(1, level)  # refuses a level out of range
    is_known = ~np.isnan(y)
    y, v, df = y[is_known], v[is_known], df[is_known]
    k = len(y)
    n_worst = max(1, math.ceil(share * k - 1e-9))  # .1 x 30 is 3.0000000000000004
    each = 1 - (1 - level) / max(k, 1)
    half = np.array([half_width(v[i], each, df[i]) for i in range(k)])
    value, low, high = (
        _smallest(limits, n_worst) for limits in (y, y - half, y + half)
    )
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=k,
        method=f"mean of the worst {min(n_worst, k)} of {k} hospitals, simultaneous "
        "interval (Bonferroni)",
        unit="hospital",
    )


def share_below(
    values: npt.ArrayLike, bound: float, *, level: float = 0.95
) -> Estimate:
    """Return the share of hospitals whose value is below a bound (Wilson).

    The bound is taken as given, such as the lower limit of the internal estimate.
    Values of NaN do not count; NaN where the bound is NaN or no hospital is left.
    """
    y = np.asarray(values, dtype=np.float64)
    y = y[~np.isnan(y)]
    found = proportion(int(np.sum(y < bound)), len(y), level=level)
    found = replace(found, unit="hospital", method=f"{found.method}; below {bound:.4g}")
    if math.isnan(bound):
        return replace(found, value=math.nan, low=math.nan, high=math.nan)
    return found


def _smallest(limits: FloatArray, n: int) -> float:
    """Return the mean of the n smallest; NaN if one of all is, or there is none."""
    if not len(limits) or np.any(np.isnan(limits)):
        return math.nan
    return float(np.sort(limits)[:n].mean())
