"""Sample size and power as pROC 1.18.0 gives them (``power.roc.test``).

For comparison with papers that used it, this one's among them. The paired formula is
Obuchowski & McClish's (Stat Med 1997;16:1529) as pROC has it: its variance of one AUC
lacks the term f g A B that its covariance has, so it asks for more patients than are
needed, and its null variance counts the first AUC's variance twice. Plan with `power`.
"""

import math
from dataclasses import dataclass

from scipy.special import ndtr, ndtri

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.power import SampleSize, check_design, normal_quantile

METHOD = "pROC-compatible (power.roc.test 1.18.0)"
NULL_VARIANCE = 0.0792
"""Of an AUC of 0.5, for one patient a class, as pROC has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Binormal:
    """A binormal ROC curve: sensitivity Phi(a + b z) at 1 - specificity Phi(z).

    With malignant scores of standard deviation 1, `b` is that of the benign ones and
    `a` the distance of the means.
    """

    a: float
    b: float = 1.0

    @property
    def auc(self) -> float:
        """The area under the curve."""
        return float(ndtr(self.a / math.sqrt(1 + self.b**2)))


def proc_sample_size(
    value: float, *, power: float = 0.8, alpha: float = 0.05, kappa: float = 1.0
) -> SampleSize:
    """Return the patients needed to tell an AUC from 0.5; arguments as `power`'s.

    Raises:
        ConfigError: a number is out of range, or the AUC is 0.5.
    """
    check_design(value, 0.5, power=power, alpha=alpha, kappa=kappa)
    null, alternative = _single_deviations(value, kappa)
    z = normal_quantile(alpha) * null + float(ndtri(power)) * alternative
    return _size((z / (value - 0.5)) ** 2, kappa)


def proc_power(
    value: float, n_malignant: float, n_benign: float, *, alpha: float = 0.05
) -> float:
    """Return the power to tell an AUC from 0.5; see `proc_sample_size`."""
    check_design(value, 0.5, n_malignant=n_malignant, n_benign=n_benign, alpha=alpha)
    null, alternative = _single_deviations(value, n_benign / n_malignant)
    shift = math.sqrt(n_malignant) * abs(value - 0.5)
    return float(ndtr((shift - normal_quantile(alpha) * null) / alternative))


def proc_paired_sample_size(
    first: Binormal,
    second: Binormal,
    *,
    correlation_malignant: float,
    correlation_benign: float,
    difference: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    kappa: float = 1.0,
) -> SampleSize:
    """Return the patients needed to tell two curves on the same patients apart.

    Args:
        first: the curve whose variance stands for both under the null hypothesis.
        second: the other curve.
        correlation_malignant: of the two scores of a malignant patient (pROC's ra).
        correlation_benign: of a benign patient (pROC's rn).
        difference: of the AUCs (pROC's delta); without, that of the curves.
        power: the chance to find the difference.
        alpha: level of the two-sided test.
        kappa: benign patients for each malignant one.

    Raises:
        ConfigError: a number is out of range, or there is no difference.
    """
    check_design(power=power, alpha=alpha, kappa=kappa)
    correlations = (correlation_malignant, correlation_benign)
    null, alternative = _paired_deviations(first, second, correlations, kappa)
    z = normal_quantile(alpha) * null + float(ndtri(power)) * alternative
    return _size((z / _difference(first, second, difference)) ** 2, kappa)


def proc_paired_power(
    first: Binormal,
    second: Binormal,
    n_malignant: float,
    n_benign: float,
    *,
    correlation_malignant: float,
    correlation_benign: float,
    difference: float | None = None,
    alpha: float = 0.05,
) -> float:
    """Return the power to tell two curves apart; see `proc_paired_sample_size`."""
    check_design(n_malignant=n_malignant, n_benign=n_benign, alpha=alpha)
    correlations = (correlation_malignant, correlation_benign)
    null, alternative = _paired_deviations(
        first, second, correlations, n_benign / n_malignant
    )
    shift = math.sqrt(n_malignant) * abs(_difference(first, second, difference))
    return float(ndtr((shift - normal_quantile(alpha) * null) / alternative))


def _size(n_malignant: float, kappa: float) -> SampleSize:
    return SampleSize(
        n_malignant=n_malignant, n_benign=kappa * n_malignant, method=METHOD
    )


def _difference(first: Binormal, second: Binormal, given: float | None) -> float:
    difference = first.auc - second.auc if given is None else given
    if difference == 0:
        raise ConfigError("the difference is 0; no study can tell the curves apart")
    return difference


def _single_deviations(value: float, kappa: float) -> tuple[float, float]:
    """Return the standard deviations for one malignant patient: null, alternative."""
    a = 1.414 * float(ndtri(value))  # pROC's rounding of the square root of 2
    alternative = 0.0099 * math.exp(-(a**2) / 2) * ((5 * a**2 + 8) + (a**2 + 8) / kappa)
    return math.sqrt(NULL_VARIANCE * (1 + 1 / kappa)), math.sqrt(alternative)


def _paired_deviations(
    first: Binormal, second: Binormal, correlations: tuple[float, float], kappa: float
) -> tuple[float, float]:
    """Return the same of a difference of two curves."""
    for correlation in correlations:
        if not -1 <= correlation <= 1:
            raise ConfigError(f"a correlation is {correlation}; expected from -1 to 1")
    covariance = _covariance(first, second, correlations, kappa)
    one, other = _variance(first, kappa), _variance(second, kappa)
    null, alternative = 2 * (one - covariance), one + other - 2 * covariance
    if null < 0 or alternative <= 0:
        raise ConfigError(
            f"with correlations {correlations} pROC's formula has no variance left; "
            "use smaller ones, or the exact formula"
        )
    return math.sqrt(null), math.sqrt(alternative)


def _slopes(curve: Binormal) -> tuple[float, float]:
    """Return the derivatives of the AUC by a and by b."""
    spread = 1 + curve.b**2
    by_a = math.exp(-(curve.a**2) / (2 * spread)) / math.sqrt(2 * math.pi * spread)
    return by_a, -curve.a * curve.b * by_a / spread


def _variance(curve: Binormal, kappa: float) -> float:
    f, g = _slopes(curve)
    a2, b2 = curve.a**2, curve.b**2
    return f**2 * (1 + b2 / kappa + a2 / 2) + g**2 * b2 * (1 + kappa) / (2 * kappa)


def _covariance(
    first: Binormal, second: Binormal, correlations: tuple[float, float], kappa: float
) -> float:
    malignant, benign = correlations
    f1, g1 = _slopes(first)
    f2, g2 = _slopes(second)
    a1, b1, a2, b2 = first.a, first.b, second.a, second.b
    squared = malignant**2
    return (
        f1 * f2 * (malignant + benign * b1 * b2 / kappa + squared * a1 * a2 / 2)
        + g1 * g2 * b1 * b2 * (benign**2 + kappa * squared) / (2 * kappa)
        + f1 * g2 * squared * a1 * b2 / 2
        + f2 * g1 * squared * a2 * b1 / 2
    )
