"""Means of a per-image measure over folds and seeds, and the difference of two models.

N test images of a fold; S seeds, that is, models trained on that fold.

As for AUCs (`thyroid_fl.statistics.mean_auc`): an image's values are averaged over the
seeds before patients are counted, so that ten models tested on the same patients do
not make the patients ten times as many; the variance between the seeds' means, s^2 / S,
is added; folds are independent. The interval is t, with Satterthwaite's degrees of
freedom: patients - 1 for the sampling part of a fold, S - 1 for the part between seeds.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import (
    Comparison,
    Estimate,
    FloatArray,
    compared,
    half_width,
)
from thyroid_fl.statistics.means import clustered_mean

Fold = tuple[npt.ArrayLike, npt.ArrayLike]
"""Values (N, S), and patients (N,)."""


def mean_over_seeds(
    folds: Sequence[Fold], *, unit: str = "image", level: float = 0.95
) -> Estimate:
    """Return the mean over folds of the mean over images and seeds.

    The variance is derived at the head of the module. n counts images of all folds.

    Args:
        folds: one or more.
        unit: what a value is of: image, or patient.
        level: confidence level of the interval.

    Raises:
        ConfigError: there is no fold, lengths differ, or a value is not finite.
    """
    value, variance, df, n, n_clusters = _mean(folds)
    half = half_width(variance, level, df)
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        method=_method(folds),
        unit=unit,
        variance=variance,
        n_clusters=n_clusters,
    )


def compare_over_seeds(folds: Sequence[Fold], *, level: float = 0.95) -> Comparison:
    """Return the mean of paired differences over folds and seeds, with its t test.

    Args:
        folds: the values are those of the first model minus those of the second, of
            the same image and seed.
        level: confidence level of the interval.

    Raises:
        ConfigError: there is no fold, lengths differ, or a value is not finite.
    """
    value, variance, df, n, _ = _mean(folds)
    method = f"paired differences; {_method(folds)}"
    return compared(value, variance, method, level=level, df=df, n=n)


def mean_of_estimates(
    folds: Sequence[Sequence[Estimate]], *, level: float = 0.95
) -> Estimate:
    """Return the mean of estimates over folds and, within them, seeds.

    For what is no mean over patients, such as a slope. The seeds of a fold share their
    patients, by an unknown covariance; the square of their mean standard error is the
    most that the variance of their mean can be (Cauchy-Schwarz), and is taken. To it
    comes the variance between seeds / S. NaN if one of them is undefined. n counts one
    seed of each fold.

    Args:
        folds: the estimates of each fold's seeds; one or more.
        level: confidence level of the interval.

    Raises:
        ConfigError: there is no fold, or a fold without estimates.
    """
    if not folds or not all(folds):
        raise ConfigError("a fold has no estimate; expected at least one of each")
    values = [np.array([one.value for one in fold]) for fold in folds]
    sampling = [np.mean([np.sqrt(one.variance) for one in fold]) ** 2 for fold in folds]
    between = [
        float(by_seed.var(ddof=1)) / len(by_seed) if len(by_seed) > 1 else 0.0
        for by_seed in values
    ]
    n_folds = len(folds)
    total = float(sum(sampling) + sum(between)) / n_folds**2
    uncertain = sum(
        (part / n_folds**2) ** 2 / max(len(by_seed) - 1, 1)
        for part, by_seed in zip(between, values, strict=True)
    )
    half = half_width(total, level, total**2 / uncertain if uncertain > 0 else np.inf)
    value = float(np.mean([by_seed.mean() for by_seed in values]))
    first = [fold[0] for fold in folds]
    positives = [one.n_positive for one in first if one.n_positive is not None]
    n_models = sum(map(len, folds))
    return Estimate(
        value=value,
        low=value - half,
        high=value + half,
        n=sum(one.n for one in first),
        method=f"mean of {n_models} models; {first[0].method}",
        unit=first[0].unit,
        variance=total,
        n_positive=sum(positives) if len(positives) == len(first) else None,
    )


def _mean(folds: Sequence[Fold]) -> tuple[float, float, float, int, int]:
    """Return mean, variance, degrees of freedom, images and patients."""
    if not folds:
        raise ConfigError("there is no fold; expected at least one")
    values, parts, dfs, n, n_clusters = [], [], [], 0, 0
    for by_seed, clusters in folds:
        table: FloatArray = np.asarray(by_seed, dtype=np.float64)
        sampled = clustered_mean(table.mean(axis=1), clusters)
        values.append(sampled.value)
        parts.append(sampled.variance)
        dfs.append((sampled.n_clusters or 0) - 1)
        n_seeds = table.shape[1]
        if n_seeds > 1:
            parts.append(float(table.mean(axis=0).var(ddof=1)) / n_seeds)
            dfs.append(n_seeds - 1)
        n, n_clusters = n + sampled.n, n_clusters + (sampled.n_clusters or 0)
    shares = np.array(parts) / len(folds) ** 2
    total = float(shares.sum())
    weights = shares**2 / np.maximum(dfs, 1)
    df = total**2 / float(weights.sum()) if total > 0 else float(max(dfs))
    return float(np.mean(values)), total, df, n, n_clusters


def _method(folds: Sequence[Fold]) -> str:
    n_seeds = sum(np.shape(values)[1] for values, _ in folds)
    method = "clustered by patient, t interval"
    return f"mean of {n_seeds} models; {method}" if n_seeds > 1 else method
