"""Means over images of patients, and over hospitals."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.components import group_codes
from thyroid_fl.statistics.estimate import Estimate, FloatArray, half_width


@dataclass(frozen=True, slots=True)
class RandomEffects(Estimate):
    """A mean over hospitals (`value`), and what to expect of the next hospital."""

    tau2: float = math.nan
    """Variance between hospitals."""
    i2: float = math.nan
    """Share of the variation that is between hospitals, from 0 to 1."""
    prediction_low: float = math.nan
    """Lower end of the prediction interval for a new hospital."""
    prediction_high: float = math.nan
    """Upper end of the prediction interval for a new hospital."""

    @property
    def mean(self) -> float:
        """The mean over hospitals."""
        return self.value


def clustered_mean(
    values: npt.ArrayLike, clusters: npt.ArrayLike, *, level: float = 0.95
) -> Estimate:
    """Return the mean over images with an interval that respects patients.

    The variance is linearised and cluster-robust (an independence GEE's) times
    I / (I - 1), the interval t with I - 1 degrees of freedom for I patients. NaN
    without images; no interval with one patient.

    Args:
        values: one number an image (such as Dice), shape (N,).
        clusters: patient of each image, shape (N,).
        level: confidence level of the interval.

    Raises:
        ConfigError: lengths differ, or a value is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    codes = group_codes(clusters)
    if numbers.shape != codes.shape or not np.all(np.isfinite(numbers)):
        raise ConfigError(
            f"{len(numbers)} values for {len(codes)} clusters; expected as many, all "
            "finite: leave out undefined values and say how many"
        )
    sums = np.bincount(codes, weights=numbers)
    mean, variance = ratio_of_sums(sums, np.bincount(codes))
    half = half_width(variance, level, len(sums) - 1)
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        n=len(numbers),
        method="clustered by patient, t interval",
        unit="image",
        variance=variance,
        n_clusters=len(sums),
    )


def ratio_of_sums(totals: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[float, float]:
    """Return sum(totals) / sum(counts) and its variance over clusters.

    Both have shape (I,), one number a cluster. The variance is linearised, times
    I / (I - 1); NaN for fewer than two clusters.
    """
    sums = np.asarray(totals, dtype=np.float64)
    sizes = np.asarray(counts, dtype=np.float64)
    n_clusters, size = len(sizes), sizes.sum()
    if size == 0:
        return math.nan, math.nan
    ratio = float(sums.sum() / size)
    if n_clusters < 2:
        return ratio, math.nan
    residuals = (sums - ratio * sizes) / size
    return ratio, float(n_clusters / (n_clusters - 1) * (residuals @ residuals))


def random_effects_mean(
    values: npt.ArrayLike, variances: npt.ArrayLike, *, level: float = 0.95
) -> RandomEffects:
    """Return the mean over hospitals, of which these are a sample.

    DerSimonian-Laird variance between hospitals, cut at 0; interval of Hartung-Knapp-
    Sidik-Jonkman (t, k - 1, unmodified); prediction interval for a new hospital
    (Higgins 2009; t, k - 2). NaN where k hospitals do not suffice (k < 2; for the
    prediction k < 3).

    Args:
        values: one estimate a hospital, shape (k,).
        variances: their sampling variances, all positive, shape (k,).
        level: confidence level of both intervals.

    Raises:
        ConfigError: lengths differ, a number is not finite, or a variance is not
            positive.
    """
    y = np.asarray(values, dtype=np.float64)
    v = np.asarray(variances, dtype=np.float64)
    _check_hospitals(y, v)
    k = len(y)
    tau2, i2 = _between(y, v)
    # With one hospital tau2 is unknown, and the mean is that hospital's value.
    weights = 1 / (v + (tau2 if k > 1 else 0))
    mean = float(weights @ y / weights.sum()) if k else math.nan
    spread = float(weights @ (y - mean) ** 2)
    hksj = spread / ((k - 1) * weights.sum()) if k > 1 else math.nan
    half = half_width(hksj, level, k - 1)
    reach = half_width(tau2 + 1 / weights.sum(), level, k - 2) if k > 2 else math.nan
    return RandomEffects(
        value=mean,
        low=mean - half,
        high=mean + half,
        n=k,
        method="random effects: DerSimonian-Laird, Hartung-Knapp interval",
        unit="hospital",
        variance=hksj,
        tau2=tau2,
        i2=i2,
        prediction_low=mean - reach,
        prediction_high=mean + reach,
    )


def _between(y: FloatArray, v: FloatArray) -> tuple[float, float]:
    """Return tau2 (DerSimonian & Laird 1986) and I2."""
    k = len(y)
    if k < 2:
        return math.nan, math.nan
    weights = 1 / v
    q = float(weights @ (y - weights @ y / weights.sum()) ** 2)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    excess = max(q - (k - 1), 0.0)
    return float(excess / scale), (excess / q if excess else 0.0)


def _check_hospitals(y: FloatArray, v: FloatArray) -> None:
    if y.ndim != 1 or y.shape != v.shape:
        raise ConfigError(
            f"values have shape {y.shape} and variances {v.shape}; expected one of "
            "each a hospital"
        )
    if not (np.all(np.isfinite(y)) and np.all(np.isfinite(v))):
        raise ConfigError(
            "a hospital's value or variance is NaN or infinite; leave it out and count "
            "it, or pool it with others"
        )
    if np.any(v <= 0):
        raise ConfigError(
            f"a variance is {v.min():g}; expected all positive: a hospital whose AUC "
            "is exactly 0 or 1 has none, so leave it out and count it, or pool it "
            "with others"
        )
