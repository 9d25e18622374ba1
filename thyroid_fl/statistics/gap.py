"""Differences between separate groups of patients, above all internal minus external.

N cases; S seeds, that is, models trained on one fold; H hospitals.

How much worse is a model where it was not trained? There are two questions. For *these*
hospitals the patients are the sample: two independent groups, Welch's interval. For *a
new* hospital the hospitals are: random effects over them, or a bootstrap that draws
hospitals first. The first interval says nothing of the next hospital.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.bootstrap import (
    draw_hospitals,
    draw_patients,
    patient_strata,
    percentiles,
    resampled_aucs,
    share_beyond,
)
from thyroid_fl.statistics.components import (
    Cases,
    group_codes,
    read_cases,
    structural_components,
    variance,
)
from thyroid_fl.statistics.estimate import (
    Comparison,
    FloatArray,
    compared,
)
from thyroid_fl.statistics.means import RandomEffects, clustered_mean

FEW_HOSPITALS = 10
"""Below so many external hospitals a bootstrap of hospitals covers too little."""


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


@dataclass(frozen=True, slots=True)
class NewHospitalGap(Comparison):
    """The gap of an average hospital, and the range to expect of the next one."""

    prediction_low: float = math.nan
    prediction_high: float = math.nan


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


def new_hospital_gap(
    internal: RandomEffects, external: RandomEffects, *, level: float = 0.95
) -> NewHospitalGap:
    """Return internal minus external mean over hospitals, of which these are a sample.

    Hartung-Knapp variances of both means add up; t with Satterthwaite's degrees of
    freedom, k - 1 each. The prediction interval, of one new hospital's gap, joins the
    external prediction interval and the internal interval, at their own level. NaN
    where either group has fewer than two hospitals; the prediction with fewer than
    three external.
    """
    parts = np.array([internal.variance, external.variance])
    found = compared(
        internal.value - external.value,
        float(parts.sum()),
        f"random effects, Hartung-Knapp, {internal.n} internal and {external.n} "
        "external hospitals",
        level=level,
        df=satterthwaite(parts, [internal.n - 1, external.n - 1]),
        n=internal.n + external.n,
    )
    # Widths of independent errors add as squares (Zou & Donner 2008).
    reach = math.hypot(
        (external.prediction_high - external.prediction_low) / 2,
        (internal.high - internal.low) / 2,
    )
    return NewHospitalGap(
        **{name: getattr(found, name) for name in Comparison.__slots__},
        prediction_low=found.difference - reach,
        prediction_high=found.difference + reach,
    )


def two_stage_gap(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    hospitals: npt.ArrayLike,
    is_external: npt.ArrayLike,
    *,
    seed: int,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> Comparison:
    """Return internal minus external pooled AUC, for external hospitals drawn anew.

    Bootstrap: internally patients by class, for the training hospitals are given;
    externally hospitals, and patients within them. Percentile interval. NaN where a
    class is absent, or too many resamples lack one.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: shape (N,), or (N, S) for the mean over seeds.
        hospitals: of each case, shape (N,).
        is_external: whether the hospital took no part in training, shape (N,).
        seed: of the bootstrap.
        clusters: patient of each case, shape (N,); without, one row a patient.
        level: confidence level of the interval.
        n_resamples: how many resamples.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, or a score is not finite.
    """
    table = np.asarray(scores, dtype=np.float64)
    columns = table.T if table.ndim == 2 else [table]
    cases = read_cases(labels, *columns, clusters=clusters)
    outside = np.asarray(is_external, dtype=bool)
    places = group_codes(hospitals)
    if not len(outside) == len(places) == cases.n:
        raise ConfigError(
            f"{cases.n} cases, {len(places)} hospitals and {len(outside)} sides; "
            "expected one of each a case"
        )
    inside, beyond = _part(cases, ~outside), _part(cases, outside)
    rng = np.random.default_rng(seed)
    at_home = draw_patients(patient_strata(inside), n_resamples, rng)
    homes = np.zeros(beyond.n_clusters, dtype=np.int64)
    homes[beyond.clusters] = group_codes(places[outside])
    away = draw_hospitals(homes, n_resamples, rng)
    found = (resampled_aucs(inside, at_home) - resampled_aucs(beyond, away)).mean(
        axis=1
    )
    low, high, spread = percentiles(found, level)
    difference = float(_mean_auc(inside) - _mean_auc(beyond))
    n_external = len(np.unique(homes))
    method = (
        f"{n_resamples} resamples of {n_external} external hospitals, then patients"
    )
    if n_external < FEW_HOSPITALS:
        method += "; too narrow: fewer than 10 hospitals"
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        statistic=math.nan,
        p_value=share_beyond(found),
        method=method,
        variance=spread,
        n=cases.n,
        n_positive=cases.n_positive,
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


def _part(cases: Cases, rows: npt.NDArray[np.bool_]) -> Cases:
    clusters = group_codes(cases.clusters[rows])
    return Cases(cases.is_malignant[rows], cases.scores[rows], clusters)


def _mean_auc(cases: Cases) -> float:
    return float(structural_components(cases).aucs.mean())
