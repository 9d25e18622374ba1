"""The structural components that every AUC variance of this package is built from.

N cases, m of them malignant and n benign, in I clusters; S columns of scores.

The AUC is a mean over pairs, so each case has a component: of a malignant case the
share of benign cases that it outranks, V10; of a benign case the share of malignant
cases that outrank it, V01 (DeLong 1988). Their deviations from the AUC, summed within
clusters, give Obuchowski's variance (Biometrics 1997;53:567). With one case a cluster
it is DeLong's, so there is one formula. The components are linear: those of a mean
or a difference of AUCs are the mean or the difference of the components.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.estimate import FloatArray


@dataclass(frozen=True, slots=True)
class Cases:
    """Checked cases: what an AUC is computed from."""

    is_malignant: npt.NDArray[np.bool_]
    """Shape (N,)."""
    scores: FloatArray
    """Shape (N, S)."""
    clusters: npt.NDArray[np.intp]
    """Cluster of each case, shape (N,), from 0 to I - 1."""

    @property
    def n(self) -> int:
        """How many cases there are."""
        return len(self.is_malignant)

    @property
    def n_positive(self) -> int:
        """How many of them are malignant."""
        return int(self.is_malignant.sum())

    @property
    def n_clusters(self) -> int:
        """How many clusters they fall into."""
        return int(self.clusters.max(initial=-1)) + 1


@dataclass(frozen=True, slots=True)
class Components:
    """AUCs and their structural components, summed by cluster."""

    aucs: FloatArray
    """Shape (S,)."""
    malignant: FloatArray
    """Sum over the cluster's malignant cases of (V10 - AUC) / m, shape (I, S)."""
    benign: FloatArray
    """Sum over the cluster's benign cases of (V01 - AUC) / n, shape (I, S)."""
    n_malignant_clusters: int
    """Clusters with a malignant case (I10)."""
    n_benign_clusters: int
    """Clusters with a benign case (I01)."""


def read_cases(
    labels: npt.ArrayLike,
    *scores: npt.ArrayLike,
    clusters: npt.ArrayLike | None = None,
    by_seed: bool = False,
) -> Cases:
    """Return the cases, checked, with all scores side by side.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; each of shape (N,).
        clusters: which patient each case belongs to, numbers or names, shape (N,);
            without, every case is its own cluster.
        by_seed: scores have shape (N, seeds), NaN where that seed's model did not see
            the case.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    truth = np.asarray(labels)
    blocks = [np.asarray(block, dtype=np.float64) for block in scores]
    codes = np.arange(len(truth)) if clusters is None else group_codes(clusters)
    shapes = [block.shape for block in blocks]
    n_axes = 2 if by_seed else 1
    if any(len(shape) != n_axes for shape in shapes) or any(
        array.shape[:1] != truth.shape for array in (*blocks, codes)
    ):
        raise ConfigError(
            f"labels have shape {truth.shape}, scores {shapes} and clusters "
            f"{codes.shape}; expected as many of each, one a case"
        )
    is_odd = (truth != 0) & (truth != 1)
    if np.any(is_odd):
        odd = truth[is_odd].tolist()[0]
        raise ConfigError(f"a label is {odd!r}; expected 1 (malignant) or 0 (benign)")
    columns = np.column_stack(blocks)
    if np.any(np.isinf(columns)) or (not by_seed and np.any(np.isnan(columns))):
        raise ConfigError(
            "a score is NaN or infinite; leave out the case, or mend the model"
        )
    return Cases(truth == 1, columns, codes)


def group_codes(groups: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """Return the groups (patients, hospitals) numbered from 0 in order of appearance.

    Raises:
        ConfigError: a group is missing.
    """
    codes, _ = pd.factorize(pd.Series(groups))
    if np.any(codes < 0):
        raise ConfigError("a case has no patient or hospital; name it, or leave it out")
    return codes


def structural_components(cases: Cases) -> Components:
    """Return the components of each column's AUC, in O(N log N) by midranks.

    Sun & Xu 2014 (IEEE Signal Process Lett 21:1389); ties count 1/2. The AUC is NaN
    where a class is absent.
    """
    is_malignant, scores = cases.is_malignant, cases.scores
    is_scored = ~np.isnan(scores)
    m = is_scored[is_malignant].sum(axis=0)  # (S,)
    n = is_scored[~is_malignant].sum(axis=0)
    ranks = _midranks(scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        v10 = (ranks[is_malignant] - _midranks(scores[is_malignant])) / n
        v01 = 1 - (ranks[~is_malignant] - _midranks(scores[~is_malignant])) / m
        aucs = np.where((m > 0) & (n > 0), np.nansum(v10, axis=0) / m, np.nan)
        deviations = np.empty_like(scores)
        deviations[is_malignant] = (v10 - aucs) / m
        deviations[~is_malignant] = (v01 - aucs) / n
    deviations[~is_scored] = 0  # a case that a model did not see tells nothing of it
    sums = np.zeros((2, cases.n_clusters, scores.shape[1]))
    np.add.at(sums, (is_malignant.astype(int), cases.clusters), deviations)
    return Components(
        aucs=aucs,
        malignant=sums[1],
        benign=sums[0],
        n_malignant_clusters=len(np.unique(cases.clusters[is_malignant])),
        n_benign_clusters=len(np.unique(cases.clusters[~is_malignant])),
    )


def variance(components: Components, weights: npt.ArrayLike) -> float:
    """Return the variance of the weighted sum of the AUCs; weights have shape (S,).

    Obuchowski 1997, with cluster sums already divided by m and n. NaN where a class
    has fewer than two clusters.
    """
    malignant = components.malignant @ np.asarray(weights)  # (I,)
    benign = components.benign @ np.asarray(weights)
    return float(
        _small_sample(components.n_malignant_clusters) * (malignant @ malignant)
        + _small_sample(components.n_benign_clusters) * (benign @ benign)
        + 2 * _small_sample(len(malignant)) * (malignant @ benign)
    )


def covariance(components: Components) -> FloatArray:
    """Return the covariance matrix of the AUCs, shape (S, S); see `variance`."""
    malignant, benign = components.malignant, components.benign
    mixed = malignant.T @ benign
    return np.asarray(
        _small_sample(components.n_malignant_clusters) * (malignant.T @ malignant)
        + _small_sample(components.n_benign_clusters) * (benign.T @ benign)
        + _small_sample(len(malignant)) * (mixed + mixed.T)
    )


def _small_sample(n_clusters: int) -> float:
    return n_clusters / (n_clusters - 1) if n_clusters > 1 else np.nan


def _midranks(scores: FloatArray) -> FloatArray:
    ranks: FloatArray = rankdata(scores, axis=0, nan_policy="omit")
    return ranks
