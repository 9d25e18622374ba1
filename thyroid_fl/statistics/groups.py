"""Groups of patients that share nobody, and the difference between two of them.

N cases; S seeds, that is, models trained on one fold.

So the generalisation gap is found, subgroups are compared, and the optimism of a split:
the variances add up, and to them comes what another training would change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.components import (
    read_cases,
    structural_components,
    variance,
)
from thyroid_fl.statistics.estimate import Comparison, FloatArray, compared
from thyroid_fl.statistics.means import clustered_mean


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupOutcome:
    """What the models of one fold come to on one group of patients."""

    by_seed: FloatArray
    """One value a seed, shape (S,)."""
    variance: float
    """Of the mean over seeds, from the patients alone."""
    n: int
    """Patients, or hospitals where those are what the variance is over."""
    n_positive: int | None = None


def group_auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
) -> GroupOutcome:
    """Return the AUCs of a fold's models, and the patients' variance of their mean.

    DeLong's, or Obuchowski's with clusters; the covariances between seeds are in it.
    Scores have shape (N,) or (N, S); NaN where that seed did not see the case.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is infinite.
    """
    table = np.asarray(scores, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    cases = read_cases(labels, table, clusters=clusters, by_seed=True)
    found = structural_components(cases)
    n_seeds = table.shape[1]
    return GroupOutcome(
        by_seed=found.aucs,
        variance=variance(found, np.full(n_seeds, 1 / n_seeds)),
        n=cases.n_clusters,
        n_positive=len(np.unique(cases.clusters[cases.is_malignant])),
    )


def group_mean(values: npt.ArrayLike, clusters: npt.ArrayLike) -> GroupOutcome:
    """Return the means of a fold's models, such as Dice, clustered by patient.

    Values have shape (N,) or (N, S).

    Raises:
        ConfigError: lengths differ, or a value is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[:, None] if table.ndim == 1 else table
    found = clustered_mean(table.mean(axis=1), clusters)
    return GroupOutcome(
        by_seed=table.mean(axis=0) if len(table) else np.full(table.shape[1], np.nan),
        variance=found.variance,
        n=found.n_clusters or 0,
    )


def independent_difference(
    folds: Sequence[tuple[GroupOutcome, GroupOutcome]],
    *,
    same_models: bool = True,
    level: float = 0.95,
) -> Comparison:
    """Return first minus second group of patients, the mean over folds.

    The groups share no patient, so their variances add up; to them comes the variance
    between seeds / S, of the differences seed by seed if the models are the same, else
    of either group. The interval is t with Satterthwaite's degrees of freedom:
    patients - 1 for the sampling parts, S - 1 for those between seeds. One fold and
    seed is Welch's test (as `compare_independent_aucs`).

    Args:
        folds: the two groups of each fold; folds are taken as independent.
        same_models: the same models were tested on both groups: internal minus
            external. False for models of two splits: the optimism of the random one.
        level: confidence level of the interval.

    Raises:
        ConfigError: there is no fold, or the same models have other seeds.
    """
    if not folds:
        raise ConfigError("no fold to compare; give at least one")
    differences, parts, dfs = [], [], []
    for first, second in folds:
        differences.append(float(first.by_seed.mean() - second.by_seed.mean()))
        parts += [first.variance, second.variance]
        dfs += [first.n - 1, second.n - 1]
        for between in _by_seed(first, second, same_models):
            parts.append(float(between.var(ddof=1)) / len(between))
            dfs.append(len(between) - 1)
    shares = np.array(parts) / len(folds) ** 2
    n_models = sum(len(first.by_seed) for first, _ in folds)
    seeds = " + variance between seeds / S" if len(parts) > 2 * len(folds) else ""
    return compared(
        float(np.mean(differences)),
        float(shares.sum()),
        f"separate patients, Welch t, {n_models} model(s){seeds}"
        + ("" if seeds else "; training variation not included"),
        level=level,
        df=satterthwaite(shares, dfs),
        n=sum(first.n + second.n for first, second in folds),
        n_positive=sum((a.n_positive or 0) + (b.n_positive or 0) for a, b in folds)
        if all(first.n_positive is not None for first, _ in folds)
        else None,
    )


def satterthwaite(parts: npt.ArrayLike, dfs: npt.ArrayLike) -> float:
    """Return the degrees of freedom of a sum of variances; NaN if one is NaN."""
    variances = np.asarray(parts, dtype=np.float64)
    freedom = np.asarray(dfs, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(variances.sum() ** 2 / np.sum(variances**2 / freedom))


def _by_seed(
    first: GroupOutcome, second: GroupOutcome, same_models: bool
) -> list[FloatArray]:
    """Return the values whose spread is that of training; none with one seed."""
    if same_models and len(first.by_seed) != len(second.by_seed):
        raise ConfigError(
            f"{len(first.by_seed)} seeds in one group and {len(second.by_seed)} in the "
            "other; expected the same models in both"
        )
    apart = [first.by_seed, second.by_seed]
    values = [first.by_seed - second.by_seed] if same_models else apart
    return [value for value in values if len(value) > 1]
