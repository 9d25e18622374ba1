"""The area under the ROC curve (AUC), alone and in comparison.

N cases. Without clusters the rows are independent, one a patient; with several images
a patient, `clusters` names the patient of each.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from thyroid_fl.statistics.components import (
    Cases,
    read_cases,
    structural_components,
    variance,
)
from thyroid_fl.statistics.estimate import (
    Comparison,
    Estimate,
    FloatArray,
    compared,
    half_width,
)
from thyroid_fl.statistics.means import ratio_of_sums


@dataclass(frozen=True, slots=True)
class WithinSiteAuc(Estimate):
    """The AUC within sites (`value`), and what pooling the sites makes of it."""

    pooled: float = math.nan
    """AUC over all pairs; it also holds differences in level between sites."""
    between: float = math.nan
    """AUC over pairs from two different sites."""


def auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the AUC: the chance that a malignant case outranks a benign one.

    Ties count 1/2. The interval is normal, from DeLong's variance (1988), or
    Obuchowski's (1997) with clusters, cut at 0 and 1. One member in a class: no
    interval; one class: NaN (as pROC 1.18.0). Where the variance is 0 the interval
    has no width, and `method` says that it is degenerate.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).
        clusters: patient of each case, shape (N,).
        level: confidence level of the interval.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.

    >>> round(auc([1, 0, 1, 0], [0.9, 0.6, 0.6, 0.1]).value, 3)
    0.875
    """
    cases = read_cases(labels, scores, clusters=clusters)
    components = structural_components(cases)
    return auc_estimate(
        float(components.aucs[0]),
        variance(components, [1.0]),
        "DeLong" if clusters is None else "Obuchowski, clustered by patient",
        level=level,
        n=cases.n,
        unit="patient" if clusters is None else "image",
        n_positive=cases.n_positive,
        n_clusters=cases.n_clusters,
    )


def auc_estimate(
    value: float,
    sampling_variance: float,
    method: str,
    *,
    level: float,
    df: float = math.inf,
    n: int,
    unit: str,
    n_positive: int,
    n_clusters: int,
) -> Estimate:
    """Return an AUC with its interval cut at 0 and 1."""
    half = half_width(sampling_variance, level, df)
    if sampling_variance == 0:
        method += " (degenerate: variance 0)"
    return Estimate(
        value=value,
        low=float(np.maximum(value - half, 0)),  # unlike max, keeps NaN
        high=float(np.minimum(value + half, 1)),
        n=n,
        method=method,
        unit=unit,
        variance=sampling_variance,
        n_positive=n_positive,
        n_clusters=n_clusters,
    )


def compare_aucs(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Return first minus second AUC of two models on the same cases.

    The paired test of DeLong (1988), or of Obuchowski (1997) with clusters. Arguments
    are as in `auc`; both scores have shape (N,).

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    cases = read_cases(labels, first, second, clusters=clusters)
    components = structural_components(cases)
    return compared(
        float(components.aucs[0] - components.aucs[1]),
        variance(components, [1.0, -1.0]),
        "paired DeLong" if clusters is None else "paired Obuchowski, by patient",
        level=level,
        n=cases.n,
        n_positive=cases.n_positive,
    )


def compare_independent_aucs(
    labels_a: npt.ArrayLike,
    scores_a: npt.ArrayLike,
    labels_b: npt.ArrayLike,
    scores_b: npt.ArrayLike,
    *,
    level: float = 0.95,
) -> Comparison:
    """Return AUC a minus AUC b of two separate groups of patients.

    DeLong's variances and a t statistic with Welch-Satterthwaite degrees of freedom
    on the numbers of patients (as pROC 1.18.0). Arguments are as in `auc`.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    a, b = auc(labels_a, scores_a), auc(labels_b, scores_b)
    total = a.variance + b.variance
    with np.errstate(invalid="ignore", divide="ignore"):
        df = np.float64(total) ** 2 / (
            np.divide(a.variance**2, a.n - 1) + np.divide(b.variance**2, b.n - 1)
        )
    return compared(
        a.value - b.value,
        total,
        "unpaired DeLong, Welch t",
        level=level,
        df=float(df),
        n=a.n + b.n,
        n_positive=(a.n_positive or 0) + (b.n_positive or 0),
    )


def within_site_auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    sites: npt.ArrayLike,
    *,
    level: float = 0.95,
) -> WithinSiteAuc:
    """Return the AUC over the pairs within sites, each pair with the same weight.

    Pooled minus within is what sites that differ in level or prevalence add. The
    interval takes the sites as clusters (linearised ratio, t on sites with pairs
    minus 1); sites without a pair count in n only.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).
        sites: hospital of each case, shape (N,).
        level: confidence level of the interval.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    cases = read_cases(labels, scores, clusters=sites)
    won, pairs = _won_and_pairs(cases)
    estimate = pair_weighted_auc(
        won, pairs, level=level, n=cases.n, n_positive=cases.n_positive
    )
    pooled = float(structural_components(cases).aucs[0])
    all_pairs = cases.n_positive * (cases.n - cases.n_positive)
    n_between = all_pairs - pairs.sum()
    won_between = pooled * all_pairs - won.sum()
    return WithinSiteAuc(
        **dataclasses.asdict(estimate),
        pooled=pooled,
        between=float(won_between / n_between) if n_between else math.nan,
    )


def pair_weighted_auc(
    won: FloatArray, pairs: FloatArray, *, level: float, n: int, n_positive: int
) -> Estimate:
    """Return the AUC over the pairs within sites, as `within_site_auc` has it.

    Args:
        won: pairs in right order (ties 1/2), one number a site; 0 without a pair.
        pairs: pairs of a malignant and a benign case, one number a site.
        level: confidence level of the interval.
        n: cases of all sites.
        n_positive: how many of them are malignant.
    """
    has_pairs = pairs > 0
    n_sites = int(has_pairs.sum())
    value, sampling_variance = ratio_of_sums(won[has_pairs], pairs[has_pairs])
    return auc_estimate(
        value,
        sampling_variance,
        f"within site, pair-weighted, {n_sites} of {len(pairs)} sites, t by site",
        level=level,
        df=n_sites - 1,
        n=n,
        unit="patient",
        n_positive=n_positive,
        n_clusters=n_sites,
    )


def _won_and_pairs(cases: Cases) -> tuple[FloatArray, FloatArray]:
    """Return each site's pairs in right order (ties 1/2) and all its pairs, (sites,).

    The former is Mann-Whitney's U, from midranks within the site.
    """
    sites, is_malignant = cases.clusters, cases.is_malignant
    ranks = pd.Series(cases.scores[:, 0]).groupby(sites).rank().to_numpy()
    totals = pd.DataFrame(
        {"m": is_malignant, "n": ~is_malignant, "ranks": ranks * is_malignant}
    )
    m, n, rank_sums = totals.groupby(sites).sum().to_numpy(dtype=np.float64).T
    return rank_sums - m * (m + 1) / 2, m * n
