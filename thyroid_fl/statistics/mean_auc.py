"""AUCs averaged over folds and seeds, and the difference of two such means.

N test cases of a fold; S seeds, that is, models trained on that fold.

The AUC is linear in its structural components, so the mean over seeds of a fold's
AUCs has the mean of their components, and Obuchowski's formula gives its sampling
variance with all covariances between seeds: averaging ten models tested on the same
patients does not make the patients ten times as many. To it the variance between
seeds, s^2 / S, is added: what another set of seeds would change. s^2 also holds a
little of the sampling variance, so the sum errs on the safe side. Folds have different
patients and are taken as independent: the mean of F folds has 1 / F^2 of the sum of
their variances. With S >= 2 the interval is t with Satterthwaite's degrees of freedom,
S - 1 a fold for the part between seeds and infinite for the sampling part; with one
seed it is normal and knows nothing of the variation of training.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.auc import auc_estimate
from thyroid_fl.statistics.components import (
    Cases,
    read_cases,
    structural_components,
    variance,
)
from thyroid_fl.statistics.estimate import Comparison, Estimate, FloatArray, compared

Clusters = npt.ArrayLike | None
Fold = tuple[npt.ArrayLike, npt.ArrayLike, Clusters]
"""Labels (N,), scores (N, S), and patients (N,) or None for one row a patient."""
PairedFold = tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike, Clusters]
"""As `Fold`, with the scores of the first and of the second model, both (N, S)."""


def mean_auc(folds: Sequence[Fold], *, level: float = 0.95) -> Estimate:
    """Return the mean AUC over folds and their seeds; NaN if one of them is undefined.

    A score may be NaN where that seed's model did not test the case. The variance is
    derived at the head of the module. n counts the test cases of all folds.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is infinite.
    """
    read = [
        read_cases(labels, scores, clusters=clusters, by_seed=True)
        for labels, scores, clusters in folds
    ]
    value, total, df = _mean(read, [np.eye(cases.scores.shape[1]) for cases in read])
    is_by_patient = all(clusters is None for _, _, clusters in folds)
    return auc_estimate(
        value,
        total,
        _method(read, "DeLong" if is_by_patient else "Obuchowski", n_models=1),
        level=level,
        df=df,
        n=sum(cases.n for cases in read),
        unit="patient" if is_by_patient else "image",
        n_positive=sum(cases.n_positive for cases in read),
        n_clusters=sum(cases.n_clusters for cases in read),
    )


def compare_mean_aucs(
    folds: Sequence[PairedFold], *, level: float = 0.95
) -> Comparison:
    """Return first minus second mean AUC over folds and seeds, on the same cases.

    Seed by seed and case by case paired; otherwise as `mean_auc`.

    Raises:
        ConfigError: lengths or numbers of seeds differ, a label is not 0 or 1, or a
            score is infinite.
    """
    for _, first, second, _ in folds:
        if np.shape(first) != np.shape(second):
            raise ConfigError(
                f"first has shape {np.shape(first)} and second {np.shape(second)}; "
                "expected the same cases and seeds of both"
            )
    read = [
        read_cases(labels, first, second, clusters=clusters, by_seed=True)
        for labels, first, second, clusters in folds
    ]
    contrasts = []
    for cases in read:
        identity = np.eye(cases.scores.shape[1] // 2)
        contrasts.append(np.vstack([identity, -identity]))
    value, total, df = _mean(read, contrasts)
    is_by_patient = all(clusters is None for *_, clusters in folds)
    base = "paired DeLong" if is_by_patient else "paired Obuchowski"
    return compared(
        value,
        total,
        _method(read, base, n_models=2),
        level=level,
        df=df,
        n=sum(cases.n for cases in read),
        n_positive=sum(cases.n_positive for cases in read),
    )


def _mean(
    folds: Sequence[Cases], contrasts: Sequence[FloatArray]
) -> tuple[float, float, float]:
    """Return mean, variance and degrees of freedom.

    A fold's contrast, shape (columns, S), makes of its AUCs the S numbers to average.
    """
    if not folds:
        raise ConfigError("no fold to average; give at least one")
    means, sampling, between, seed_df = [], [], [], []
    for cases, contrast in zip(folds, contrasts, strict=True):
        components = structural_components(cases)
        by_seed = components.aucs @ contrast  # (S,)
        n_seeds = len(by_seed)
        means.append(by_seed.mean())
        sampling.append(variance(components, contrast.mean(axis=1)))
        between.append(by_seed.var(ddof=1) / n_seeds if n_seeds > 1 else 0.0)
        seed_df.append(max(n_seeds - 1, 1))
    n_folds = len(folds)
    total = (sum(sampling) + sum(between)) / n_folds**2
    uncertain = sum(
        (part / n_folds**2) ** 2 / df for part, df in zip(between, seed_df, strict=True)
    )
    df = float(total**2 / uncertain) if uncertain > 0 else math.inf
    return float(np.mean(means)), float(total), df


def _method(folds: Sequence[Cases], base: str, *, n_models: int) -> str:
    seeds = sorted({cases.scores.shape[1] // n_models for cases in folds})
    n_seeds = "-".join(map(str, seeds[:: max(len(seeds) - 1, 1)]))
    text = f"mean of {len(folds)} fold(s) x {n_seeds} seed(s), {base}"
    if seeds[-1] > 1:
        return text + " + variance between seeds / S"
    return text + "; training variation not included"
