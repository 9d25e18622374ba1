"""Calibration: whether a probability of malignancy means what it says.

N patients, one row each; K bins.

Logistic recalibration (Cox, Biometrika 1958;45:562) fits
logit P(malignant) = intercept + slope x logit(probability). A model that carries over
has slope 1 and intercept 0; a slope below 1 says that its probabilities are too
extreme. Calibration-in-the-large is the intercept with the slope held at 1: above 0,
malignancy is more frequent than was said (Van Calster et al., J Clin Epidemiol
2016;74:167).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.components import Cases, read_cases
from thyroid_fl.statistics.estimate import Estimate, FloatArray, half_width
from thyroid_fl.statistics.means import clustered_mean
from thyroid_fl.statistics.proportions import proportion

CLOSEST = 1e-6
"""Probabilities are kept this far from 0 and 1, whose logits are infinite."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The line of logistic recalibration, and the intercept alone."""

    slope: Estimate
    """1 is perfect."""
    intercept: Estimate
    """Of the same fit as the slope, on the logit scale; 0 is perfect."""
    in_the_large: Estimate
    """Intercept with the slope held at 1, on the logit scale; 0 is perfect."""


@dataclass(frozen=True, slots=True)
class CalibrationCurve:
    """How frequent malignancy is among patients of similar probability."""

    predicted: FloatArray
    """Mean probability of each bin, shape (K,), ascending."""
    observed: FloatArray
    """Share of malignant patients of each bin, shape (K,)."""
    low: FloatArray
    """Lower limit of the share (Wilson), shape (K,)."""
    high: FloatArray
    """Upper limit of the share (Wilson), shape (K,)."""
    n: npt.NDArray[np.int64]
    """Patients of each bin, shape (K,)."""


@dataclass(frozen=True, slots=True)
class Brier:
    """The Brier score, and what it consists of, over the bins of the curve.

    score = reliability - resolution + uncertainty + within, exactly.
    """

    score: Estimate
    """Mean squared error of the probability; 0 is perfect."""
    reliability: float
    """Mean squared distance of the bins from the diagonal; 0 is perfect."""
    resolution: float
    """How far the bins' shares are from the overall one; more is better."""
    uncertainty: float
    """Share of malignant times share of benign patients: the cohort's, no model's."""
    within: float
    """What the bins hide: variance of the probability within them minus twice its
    covariance with the label (Stephenson et al. 2008)."""


def calibration(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, level: float = 0.95
) -> Calibration:
    """Return slope, intercept and calibration-in-the-large, with normal intervals.

    Maximum likelihood; Wald intervals, of patients that are independent. NaN where a
    class is absent; slope and intercept also where all probabilities are equal, or a
    threshold separates the classes, for then no finite slope is best.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        probabilities: of malignancy, from 0 to 1; shape (N,).
        level: confidence level of the intervals.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a probability is not
            from 0 to 1.
    """
    cases = _read(labels, probabilities)
    said = cases.scores[:, 0]
    n_cut = int(np.sum((said < CLOSEST) | (said > 1 - CLOSEST)))
    logits = logit(np.clip(said, CLOSEST, 1 - CLOSEST))
    method = "logistic recalibration, Wald"
    method += f"; {n_cut} probabilities cut to {CLOSEST:g} from 0 or 1" * (n_cut > 0)
    undefined = (math.nan, math.nan)
    line, large = (undefined, undefined), undefined
    if 0 < cases.n_positive < cases.n:
        ones = np.ones((cases.n, 1))
        large = _fit(cases, ones, offset=logits)[0]
        if _overlap(cases):
            intercept, slope = _fit(cases, np.column_stack([ones, logits]))
            line = (slope, intercept)
        else:
            method += "; slope undefined: the classes do not overlap"
    return Calibration(*(_wald(cases, *p, method, level) for p in (*line, large)))


def calibration_curve(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int = 10,
    level: float = 0.95,
) -> CalibrationCurve:
    """Return the calibration curve over bins of about equally many patients.

    Binned, not smoothed: every point is a count, with Wilson's interval. Equal
    probabilities stay in one bin, so there may be fewer bins than asked for; no
    patients give no bin. Arguments are as in `calibration`.

    Raises:
        ConfigError: as `calibration`, or `n_bins` is below 1.
    """
    cases = _read(labels, probabilities)
    codes, n = _bins(cases, n_bins)
    n_malignant = np.bincount(codes, cases.is_malignant, len(n))
    shares = [
        proportion(int(x), int(size), level=level)
        for x, size in zip(n_malignant, n, strict=True)
    ]
    return CalibrationCurve(
        predicted=np.bincount(codes, cases.scores[:, 0], len(n)) / n,
        observed=np.array([share.value for share in shares]),
        low=np.array([share.low for share in shares]),
        high=np.array([share.high for share in shares]),
        n=n,
    )


def brier(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    n_bins: int = 10,
    level: float = 0.95,
) -> Brier:
    """Return the Brier score (1950) with a t interval, and Murphy's parts of it (1973).

    NaN without patients. Arguments are as in `calibration_curve`.

    Raises:
        ConfigError: as `calibration_curve`.

    >>> round(brier([0, 1, 1], [0.2, 0.6, 0.9]).score.value, 3)
    0.07
    """
    cases = _read(labels, probabilities)
    errors = (cases.scores[:, 0] - cases.is_malignant) ** 2
    mean = clustered_mean(errors, np.arange(cases.n), level=level)
    score = Estimate(
        value=mean.value,
        low=float(np.maximum(mean.low, 0)),  # unlike max, keeps NaN
        high=float(np.minimum(mean.high, 1)),
        n=cases.n,
        method="t interval over patients",
        unit="patient",
        variance=mean.variance,
        n_positive=cases.n_positive,
    )
    if cases.n == 0:
        return Brier(score, *[math.nan] * 4)
    curve = calibration_curve(labels, probabilities, n_bins=n_bins, level=level)
    weights, share = curve.n / cases.n, cases.n_positive / cases.n
    reliability = float(weights @ (curve.predicted - curve.observed) ** 2)
    resolution = float(weights @ (curve.observed - share) ** 2)
    uncertainty = share * (1 - share)
    within = score.value - reliability + resolution - uncertainty
    return Brier(score, reliability, resolution, uncertainty, within)


def _read(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> Cases:
    cases = read_cases(labels, probabilities)
    if np.any((cases.scores < 0) | (cases.scores > 1)):
        odd = float(cases.scores[(cases.scores < 0) | (cases.scores > 1)][0])
        raise ConfigError(
            f"a probability is {odd:g}; expected 0 to 1: scores such as logits or "
            "categories have no calibration"
        )
    return cases


def _overlap(cases: Cases) -> bool:
    """Return whether a finite slope is most likely: no threshold separates."""
    scores = cases.scores[:, 0]
    malignant, benign = scores[cases.is_malignant], scores[~cases.is_malignant]
    return bool(malignant.min() < benign.max() and benign.min() < malignant.max())


def _fit(
    cases: Cases, terms: FloatArray, offset: FloatArray | None = None
) -> list[tuple[float, float]]:
    """Return each coefficient of the logistic regression, and its variance."""
    labels = cases.is_malignant.astype(np.float64)
    fit = GLM(labels, terms, family=Binomial(), offset=offset).fit(tol=1e-12)
    return [
        (float(b), float(se) ** 2) for b, se in zip(fit.params, fit.bse, strict=True)
    ]


def _wald(
    cases: Cases, value: float, variance: float, method: str, level: float
) -> Estimate:
    half = half_width(variance, level)
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=cases.n,
        method=method,
        unit="patient",
        variance=variance,
        n_positive=cases.n_positive,
    )


def _bins(
    cases: Cases, n_bins: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Return each patient's bin, and the bins' sizes; equal scores share a bin."""
    if n_bins < 1:
        raise ConfigError(f"n_bins is {n_bins}; expected at least 1")
    scores = cases.scores[:, 0]
    places = np.searchsorted(np.sort(scores), scores)  # equal scores, equal place
    _, codes = np.unique(places * n_bins // max(cases.n, 1), return_inverse=True)
    return codes, np.bincount(codes).astype(np.int64)
