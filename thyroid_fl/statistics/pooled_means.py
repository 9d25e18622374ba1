"""A mean over the patients of hospitals that report sums: exact, with its variance.

Of each hospital: the number of its patients, the sum of their values, and the sum of
squared deviations from its own mean. They add up to those of all patients (Chan, Golub
& LeVeque, Am Stat 1983;37:242), without the loss of digits that raw squares have.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import Estimate, half_width


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanSums:
    """What one hospital reports of a number a patient, such as Dice."""

    n: int
    """Patients whose value is known."""
    total: float
    """Sum of their values."""
    deviations: float
    """Sum of the squared differences from their mean; 0 for fewer than two."""


def mean_sums(values: npt.ArrayLike) -> MeanSums:
    """Return the sums of one value a patient, shape (N,); NaN is left out.

    Raises:
        ConfigError: a value is infinite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    if not np.all(np.isfinite(known)):
        raise ConfigError("a value is infinite; leave out the case, or mend the model")
    if len(known) == 0 or np.ptp(known) == 0:  # rounding of the mean is no deviation
        return MeanSums(n=len(known), total=float(known.sum()), deviations=0.0)
    deviations = float(np.square(known - known.mean()).sum())
    return MeanSums(n=len(known), total=float(known.sum()), deviations=deviations)


def mean_of_sums(sites: Sequence[MeanSums], *, level: float = 0.95) -> Estimate:
    """Return the mean over all patients of the hospitals, t interval over patients.

    The same as `clustered_mean` of all values with a cluster a patient: NaN without
    patients, no interval with one.
    """
    known = [site for site in sites if site.n]
    n = sum(site.n for site in known)
    mean = sum(site.total for site in known) / n if n else math.nan
    deviations = sum(
        site.deviations + site.n * (site.total / site.n - mean) ** 2 for site in known
    )
    variance = deviations / (n * (n - 1)) if n > 1 else math.nan
    half = half_width(variance, level, n - 1)
    return Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        n=n,
        method="t interval over patients",
        unit="patient",
        variance=variance,
        n_clusters=n,
    )
