"""Several readers read the same cases in several arms: do the arms differ?

T arms (treatments), R readers, N cases. Obuchowski & Rockette (Commun Stat Simul Comput
1995;24:285) analyse the T x R AUCs by an analysis of variance whose errors are
correlated, because all AUCs come from the same cases; Hillis (Stat Med 2007;26:596,
2014;33:330) gives the degrees of freedom. The covariances are DeLong's, or Obuchowski's
with several images a patient, averaged over pairs of AUCs of

cov1  one reader, two arms
cov2  two readers, one arm
cov3  two readers, two arms

With random readers the result speaks of readers like these, with fixed ones of these.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, fdtrc

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.auc import auc_estimate
from thyroid_fl.statistics.components import (
    covariance,
    read_cases,
    structural_components,
)
from thyroid_fl.statistics.estimate import Comparison, Estimate, FloatArray, compared

Readers = Literal["random", "fixed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiReader:
    """Reader-averaged AUCs of the arms, and the test that they are all the same."""

    aucs: tuple[Estimate, ...]
    """Mean over the readers, one an arm."""
    differences: tuple[Comparison, ...]
    """Earlier minus later arm, of all pairs of arms in order."""
    f: float
    df: int
    """Degrees of freedom of the numerator, T - 1."""
    ddf: float
    """Those of the denominator, Hillis's; infinite with fixed readers."""
    p_value: float
    ms_arm: float
    """Mean square of the arms."""
    ms_interaction: float
    """Mean square of arms x readers."""
    variance: float
    """Mean variance of the T x R AUCs."""
    cov1: float
    cov2: float
    cov3: float
    n_readers: int
    readers: Readers


def compare_readings(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    readers: Readers = "random",
    level: float = 0.95,
) -> MultiReader:
    """Return the Obuchowski-Rockette analysis of AUCs; cases are random.

    Undefined (NaN) with one reader unless readers are fixed; with one fixed reader and
    two arms it is the paired test of DeLong.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (T, R, N), at least two arms.
        clusters: patient of each case, shape (N,).
        readers: whether they stand for readers like them (random) or for themselves.
        level: confidence level of the intervals.

    Raises:
        ConfigError: the shapes do not fit, a label is not 0 or 1, or a score is not
            finite.
    """
    table = _read_scores(scores, readers)
    arms, n_readers, n = table.shape
    cases = read_cases(labels, *table.reshape(arms * n_readers, n), clusters=clusters)
    components = structural_components(cases)
    moments = _moments(
        components.aucs.reshape(arms, n_readers),
        covariance(components).reshape(arms, n_readers, arms, n_readers),
    )
    f, ddf, p_value = _test(moments, readers)
    return MultiReader(
        aucs=_arm_means(
            moments,
            readers,
            level,
            n=n,
            unit="patient" if clusters is None else "image",
            n_positive=cases.n_positive,
            n_clusters=cases.n_clusters,
        ),
        differences=_differences(moments, readers, level, n, cases.n_positive),
        f=f,
        df=arms - 1,
        ddf=ddf,
        p_value=p_value,
        ms_arm=moments.ms_arm,
        ms_interaction=moments.ms_interaction,
        variance=moments.variance,
        cov1=moments.cov1,
        cov2=moments.cov2,
        cov3=moments.cov3,
        n_readers=n_readers,
        readers=readers,
    )


def _read_scores(scores: npt.ArrayLike, readers: Readers) -> FloatArray:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 3 or table.shape[0] < 2 or table.shape[1] < 1:
        raise ConfigError(
            f"the scores have shape {table.shape}; "
            "expected (arms, readers, cases) with at least two arms"
        )
    if readers not in get_args(Readers):
        raise ConfigError(f"readers is {readers!r}; expected random or fixed")
    return table


@dataclass(frozen=True, kw_only=True, slots=True)
class _Moments:
    """Mean squares and mean covariances of the T x R AUCs."""

    aucs: FloatArray
    """Shape (T, R)."""
    ms_arm: float
    ms_interaction: float
    variance: float
    cov1: float
    cov2: float
    cov3: float
    arm_variance: FloatArray
    """Mean variance within each arm, shape (T,)."""
    arm_cov2: FloatArray
    """Mean covariance of two readers within each arm, shape (T,)."""


def _moments(aucs: FloatArray, covariances: FloatArray) -> _Moments:
    """Return the moments; covariances have shape (T, R, T, R)."""
    arms, n_readers = aucs.shape
    arm_means, grand = aucs.mean(axis=1), aucs.mean()
    residual = aucs - arm_means[:, None] - aucs.mean(axis=0) + grand
    n_free = (arms - 1) * (n_readers - 1)
    same_reader = np.einsum("irjr->ij", covariances)  # (T, T), sum over readers
    all_readers = covariances.sum(axis=(1, 3))  # (T, T), sum over pairs of readers
    # With one reader there are no two: what they share is not known, and not used.
    pairs = n_readers * (n_readers - 1)
    two_readers = (all_readers - same_reader) / pairs if pairs else 0 * same_reader
    one_reader = same_reader / n_readers
    other_arm = ~np.eye(arms, dtype=bool)
    return _Moments(
        aucs=aucs,
        ms_arm=float(n_readers * ((arm_means - grand) ** 2).sum() / (arms - 1)),
        ms_interaction=float((residual**2).sum() / n_free) if n_free else math.nan,
        variance=float(np.diag(one_reader).mean()),
        cov1=float(one_reader[other_arm].mean()),
        cov2=float(np.diag(two_readers).mean()),
        cov3=float(two_readers[other_arm].mean()),
        arm_variance=np.diag(one_reader),
        arm_cov2=np.diag(two_readers),
    )


def _noise(moments: _Moments, readers: Readers) -> tuple[float, float]:
    """Return what F divides by, and its degrees of freedom (Hillis 2007)."""
    arms, n_readers = moments.aucs.shape
    shared = _not_negative(moments.cov2 - moments.cov3)
    if readers == "fixed":
        own = moments.variance - moments.cov1
        return own + (n_readers - 1) * shared, math.inf
    noise = moments.ms_interaction + n_readers * shared
    return noise, _satterthwaite(
        noise, moments.ms_interaction, (arms - 1) * (n_readers - 1)
    )


def _test(moments: _Moments, readers: Readers) -> tuple[float, float, float]:
    noise, ddf = _noise(moments, readers)
    df = len(moments.aucs) - 1
    if noise == 0:  # as a paired test without variance
        return (math.inf, ddf, 0.0) if moments.ms_arm > 0 else (0.0, ddf, 1.0)
    f = moments.ms_arm / noise
    p_value = chdtrc(df, df * f) if math.isinf(ddf) else fdtrc(df, ddf, f)
    return f, ddf, float(p_value)


def _differences(
    moments: _Moments, readers: Readers, level: float, n: int, n_positive: int
) -> tuple[Comparison, ...]:
    noise, ddf = _noise(moments, readers)
    arms, n_readers = moments.aucs.shape
    means = moments.aucs.mean(axis=1)
    return tuple(
        compared(
            float(means[first] - means[second]),
            2 * noise / n_readers,
            f"Obuchowski-Rockette, Hillis df, {n_readers} {readers} readers",
            level=level,
            df=ddf,
            n=n,
            n_positive=n_positive,
        )
        for first, second in combinations(range(arms), 2)
    )


def _arm_means(
    moments: _Moments,
    readers: Readers,
    level: float,
    *,
    n: int,
    unit: str,
    n_positive: int,
    n_clusters: int,
) -> tuple[Estimate, ...]:
    """Return each arm's mean from its own readings alone (Hillis 2014)."""
    n_readers = moments.aucs.shape[1]
    found = []
    for aucs, variance, cov2 in zip(
        moments.aucs, moments.arm_variance, moments.arm_cov2, strict=True
    ):
        shared = _not_negative(float(cov2))
        if readers == "fixed":
            noise, df = float(variance) + (n_readers - 1) * shared, math.inf
        else:
            spread = float(np.var(aucs, ddof=1)) if n_readers > 1 else math.nan
            noise = spread + n_readers * shared
            df = _satterthwaite(noise, spread, n_readers - 1)
        found.append(
            auc_estimate(
                float(aucs.mean()),
                noise / n_readers,
                f"mean of {n_readers} {readers} readers, Obuchowski-Rockette",
                level=level,
                df=df,
                n=n,
                unit=unit,
                n_positive=n_positive,
                n_clusters=n_clusters,
            )
        )
    return tuple(found)


def _satterthwaite(noise: float, mean_square: float, df: int) -> float:
    """Return the degrees of freedom of a mean square plus what is taken as known."""
    if mean_square == 0:
        return math.inf
    return noise**2 / (mean_square**2 / df) if df else math.nan


def _not_negative(value: float) -> float:
    return 0.0 if value < 0 else value  # unlike max, keeps NaN
