"""The generalisation gap for hospitals that nobody has seen yet.

N cases; S seeds, that is, models trained on one fold; H hospitals.

How much worse is a model where it was not trained? There are two questions. For *these*
hospitals the patients are the sample: two groups that share nobody
(`thyroid_fl.statistics.groups`). For *a new* hospital the hospitals are: random effects
over them, or a bootstrap that draws hospitals first. The first interval says nothing of
the next hospital.
"""

import math
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
)
from thyroid_fl.statistics.estimate import Comparison, FloatArray, compared
from thyroid_fl.statistics.groups import satterthwaite
from thyroid_fl.statistics.means import RandomEffects

FEW_HOSPITALS = 10
"""Below so many external hospitals a bootstrap of hospitals covers too little."""


@dataclass(frozen=True, slots=True)
class NewHospitalGap(Comparison):
    """The gap of an average hospital, and the range to expect of the next one."""

    prediction_low: float = math.nan
    prediction_high: float = math.nan


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
    found = _resampled_gaps(inside, beyond, places[outside], n_resamples, rng)
    low, high, spread = percentiles(found, level)
    difference = float(_mean_auc(inside) - _mean_auc(beyond))
    n_external = len(np.unique(places[outside]))
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


def _resampled_gaps(
    inside: Cases,
    beyond: Cases,
    places: npt.NDArray[np.intp],
    n_resamples: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Return the mean gap over seeds in each resample, (B,)."""
    at_home = draw_patients(patient_strata(inside), n_resamples, rng)
    homes = np.zeros(beyond.n_clusters, dtype=np.int64)
    homes[beyond.clusters] = group_codes(places)
    away = draw_hospitals(homes, n_resamples, rng)
    gaps = resampled_aucs(inside, at_home) - resampled_aucs(beyond, away)
    return np.asarray(gaps.mean(axis=1))


def _part(cases: Cases, rows: npt.NDArray[np.bool_]) -> Cases:
    clusters = group_codes(cases.clusters[rows])
    return Cases(cases.is_malignant[rows], cases.scores[rows], clusters)


def _mean_auc(cases: Cases) -> float:
    return float(structural_components(cases).aucs.mean())
