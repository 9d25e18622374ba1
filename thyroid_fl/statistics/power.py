"""How many patients a study of AUCs needs, and what it can show: the exact formulae.

Scores are binormal with equal variances: the score of a malignant patient is normal
around a mean above that of the benign ones. Then a pair of patients is in right order
with a chance that is a normal probability, two pairs that share a patient depend on
each other by a bivariate normal one, and the variance of the Mann-Whitney AUC is exact
for every number of patients. Power is that of DeLong's test, whose variance is taken
as known, without the negligible chance of a significant result on the wrong side.

pROC's ``power.roc.test``, which asks for more patients, is in `power_proc`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtr, ndtri

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.binormal import Spread, spread_of_one, spread_of_pair


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSize:
    """How many patients a study needs."""

    n_malignant: float
    """As the formula gives it, not rounded."""
    n_benign: float
    method: str
    """Which formula, in words."""

    @property
    def whole(self) -> tuple[int, int]:
        """Malignant and benign patients in whole numbers, never fewer of either.

        The benign are in proportion to the whole number of the malignant.
        """
        n_malignant = math.ceil(self.n_malignant)
        return n_malignant, math.ceil(n_malignant * self.n_benign / self.n_malignant)


def auc_variance(value: float, n_malignant: float, n_benign: float) -> float:
    """Return the sampling variance of an empirical AUC of binormal scores.

    Raises:
        ConfigError: the AUC is not between 0 and 1, or there is no patient of a class.

    >>> round(auc_variance(0.90, 639, 381) ** 0.5, 5)
    0.0097
    """
    check_design(value, n_malignant=n_malignant, n_benign=n_benign)
    return spread_of_one(value).variance(n_malignant, n_benign)


def auc_sample_size(
    value: float,
    *,
    reference: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
    kappa: float = 1.0,
) -> SampleSize:
    """Return the patients needed to tell an AUC from a fixed reference.

    Args:
        value: the AUC that is expected.
        reference: the AUC of the null hypothesis.
        power: the chance to find the difference.
        alpha: level of the two-sided test.
        kappa: benign patients for each malignant one.

    Raises:
        ConfigError: a number is out of range, or the two AUCs are the same.
    """
    check_design(value, reference, power=power, alpha=alpha, kappa=kappa)
    return _sample_size(spread_of_one(value), value - reference, power, alpha, kappa)


def auc_power(
    value: float,
    n_malignant: float,
    n_benign: float,
    *,
    reference: float = 0.5,
    alpha: float = 0.05,
) -> float:
    """Return the power to tell an AUC from a fixed reference; see `auc_sample_size`."""
    check_design(
        value, reference, n_malignant=n_malignant, n_benign=n_benign, alpha=alpha
    )
    spread = spread_of_one(value)
    return _power(spread, value - reference, n_malignant, n_benign, alpha)


def paired_auc_sample_size(
    first: float,
    second: float,
    *,
    correlation: float,
    correlation_benign: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    kappa: float = 1.0,
) -> SampleSize:
    """Return the patients needed to tell two AUCs on the same patients apart.

    Args:
        first: the one AUC that is expected.
        second: the other one.
        correlation: of the two scores within a class (their latent normal scores).
        correlation_benign: of the benign patients, where it differs.
        power: the chance to find the difference.
        alpha: level of the two-sided test.
        kappa: benign patients for each malignant one.

    Raises:
        ConfigError: a number is out of range, or the two AUCs are the same.

    >>> paired_auc_sample_size(0.90, 0.85, correlation=0.5, kappa=381 / 639).whole
    (285, 170)
    """
    check_design(first, second, power=power, alpha=alpha, kappa=kappa)
    spread = spread_of_pair(first, second, correlation, correlation_benign)
    return _sample_size(spread, first - second, power, alpha, kappa)


def paired_auc_power(
    first: float,
    second: float,
    n_malignant: float,
    n_benign: float,
    *,
    correlation: float,
    correlation_benign: float | None = None,
    alpha: float = 0.05,
) -> float:
    """Return the power to tell two AUCs apart; see `paired_auc_sample_size`.

    >>> round(paired_auc_power(0.90, 0.88, 639, 381, correlation=0.5), 3)
    0.441
    """
    check_design(first, second, n_malignant=n_malignant, n_benign=n_benign, alpha=alpha)
    spread = spread_of_pair(first, second, correlation, correlation_benign)
    return _power(spread, first - second, n_malignant, n_benign, alpha)


def design_effect(n_per_patient: float, icc: float) -> float:
    """Return by how much images of the same patients need be more: 1 + (n - 1) ICC.

    Args:
        n_per_patient: mean number of images of a patient.
        icc: correlation of the images of a patient, from 0 to 1.

    Raises:
        ConfigError: fewer than one image a patient, or an ICC out of range.

    >>> design_effect(3, 0.5)
    2.0
    """
    if not (n_per_patient >= 1 and 0 <= icc <= 1):
        raise ConfigError(
            f"{n_per_patient} images a patient with ICC {icc}; "
            "expected at least 1 image, and an ICC from 0 to 1"
        )
    return 1 + (n_per_patient - 1) * icc


def check_design(
    *aucs: float,
    power: float = 0.8,
    alpha: float = 0.05,
    kappa: float = 1.0,
    n_malignant: float = 1,
    n_benign: float = 1,
) -> None:
    """Refuse a design that cannot be.

    Raises:
        ConfigError: a number is out of range, or the two AUCs are the same.
    """
    shares = {"AUC": aucs, "power": (power,), "alpha": (alpha,)}
    for name, values in shares.items():
        for value in values:
            if not 0 < value < 1:
                raise ConfigError(f"{name} is {value}; expected between 0 and 1")
    if len(set(aucs)) < len(aucs):
        raise ConfigError(f"both AUCs are {aucs[0]}; no study can tell them apart")
    if not 0 < kappa < math.inf:
        raise ConfigError(f"kappa is {kappa}; expected benign patients a malignant one")
    if not (n_malignant >= 1 and n_benign >= 1):
        raise ConfigError(
            f"{n_malignant} malignant and {n_benign} benign patients; "
            "expected at least one of each"
        )


def _sample_size(
    spread: Spread, difference: float, power: float, alpha: float, kappa: float
) -> SampleSize:
    """Solve z^2 variance(m, kappa m) = difference^2 for m, a quadratic equation."""
    z2 = (normal_quantile(alpha) + float(ndtri(power))) ** 2
    a = difference**2 * kappa
    b = -z2 * (kappa * spread.malignant + spread.benign)
    c = -z2 * (spread.both - spread.malignant - spread.benign)
    n_malignant = (-b + math.sqrt(b * b - 4 * a * c)) / (2 * a)
    return SampleSize(
        n_malignant=n_malignant,
        n_benign=kappa * n_malignant,
        method="exact binormal variance of the Mann-Whitney AUC",
    )


def _power(
    spread: Spread,
    difference: float,
    n_malignant: float,
    n_benign: float,
    alpha: float,
) -> float:
    variance = spread.variance(n_malignant, n_benign)
    if variance <= 0:
        return 1.0
    return float(ndtr(abs(difference) / math.sqrt(variance) - normal_quantile(alpha)))


def normal_quantile(alpha: float, sides: Literal[1, 2] = 2) -> float:
    """Return the critical value of a normal test."""
    return -float(ndtri(alpha / sides))
