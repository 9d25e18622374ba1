"""The variance of empirical AUCs of binormal scores with equal variances, exactly.

The chance that a pair of patients is in right order is a normal probability, and two
pairs that share a patient depend on each other by a bivariate normal one.
"""

import math
from dataclasses import dataclass

from scipy.integrate import quad
from scipy.special import ndtri

from thyroid_fl.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """What the variance of an AUC, or of a difference, is made of."""

    malignant: float
    """Covariance of two pairs that share their malignant patient."""
    benign: float
    """Covariance of two pairs that share their benign patient."""
    both: float
    """Variance of one pair."""

    def variance(self, n_malignant: float, n_benign: float) -> float:
        """Return the sampling variance with this many patients."""
        return (
            (n_benign - 1) * self.malignant
            + (n_malignant - 1) * self.benign
            + self.both
        ) / (n_malignant * n_benign)


def spread_of_one(value: float) -> Spread:
    """Return the spread of one AUC."""
    return _shared(value, value, 1, 1)


def spread_of_pair(
    first: float, second: float, malignant: float, benign: float | None
) -> Spread:
    """Return the spread of the difference of two AUCs on the same patients.

    Args:
        first: the one AUC.
        second: the other one.
        malignant: correlation of the two scores of a malignant patient.
        benign: of a benign one; None: the same.

    Raises:
        ConfigError: a correlation is out of range.
    """
    benign = malignant if benign is None else benign
    one, other = spread_of_one(first), spread_of_one(second)
    shared = _shared(first, second, malignant, benign)
    return Spread(
        malignant=one.malignant + other.malignant - 2 * shared.malignant,
        benign=one.benign + other.benign - 2 * shared.benign,
        both=one.both + other.both - 2 * shared.both,
    )


def _shared(first: float, second: float, malignant: float, benign: float) -> Spread:
    """Return the covariances of two scores' pairs, given correlations by class."""
    for correlation in (malignant, benign):
        if not -1 <= correlation <= 1:
            raise ConfigError(f"a correlation is {correlation}; expected from -1 to 1")
    # A pair's difference has unit variance from each of its patients, so what one
    # patient shares is half the correlation.
    return Spread(
        malignant=_covariance(first, second, malignant / 2),
        benign=_covariance(first, second, benign / 2),
        both=_covariance(first, second, (malignant + benign) / 2),
    )


def _covariance(first: float, second: float, correlation: float) -> float:
    """Return P(X < h, Y < k) - P(X < h) P(Y < k), by Plackett's integral (1954).

    X and Y are standard normal with this correlation, h and k the quantiles of the
    two probabilities. Substituting sin(angle) takes away the pole at a correlation
    of 1.
    """
    h, k = float(ndtri(first)), float(ndtri(second))

    def density(angle: float) -> float:
        sine, cosine = math.sin(angle), math.cos(angle)
        if h == k:
            return math.exp(-h * h / (1 + sine)) if sine > -1 else 0.0
        if cosine < 1e-9:
            return 0.0
        return math.exp(-(h * h - 2 * h * k * sine + k * k) / (2 * cosine * cosine))

    angle = math.asin(correlation)
    integral, _ = quad(density, 0, angle, epsabs=1e-13, epsrel=1e-12, limit=200)
    return float(integral) / (2 * math.pi)
