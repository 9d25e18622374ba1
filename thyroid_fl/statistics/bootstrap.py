"""The bootstrap of patients and of hospitals, many resamples at a time.

N cases in I patients (clusters) of H hospitals; B resamples; S columns of scores.

A resample is how often each patient counts. Scores are sorted once, and a resample's
AUC is two cumulative sums, so that 2 000 resamples of 10 000 patients take seconds.
"""

import math

import numpy as np
import numpy.typing as npt

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.components import Cases, read_cases, structural_components
from thyroid_fl.statistics.estimate import Comparison, Estimate, FloatArray, half_width

IntArray = npt.NDArray[np.int64]
CHUNK = 2**21
"""Numbers in one piece of work: 16 MB as float64."""
MAX_UNDEFINED = 0.05
"""Share of resamples without one of the classes above which there is no interval."""


def bootstrap_auc(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> Estimate:
    """Return the AUC with a percentile interval from resampled patients.

    Patients are drawn within strata (only malignant cases, only benign, both), so that
    no resample lacks a class. NaN where a class is absent; no interval where a class
    has one patient only.

    Args:
        labels: 1 malignant, 0 benign; shape (N,).
        scores: higher is more malignant; shape (N,).
        seed: of the bootstrap.
        clusters: patient of each case, shape (N,); without, one row a patient.
        level: confidence level of the interval.
        n_resamples: how many resamples.

    Raises:
        ConfigError: lengths differ, a label is not 0 or 1, a score is not finite, or
            there is no resample.
    """
    cases = read_cases(labels, scores, clusters=clusters)
    value = float(structural_components(cases).aucs[0])
    found = _resampled(cases, n_resamples, seed)[:, 0]
    low, high, variance = percentiles(found, level)
    return Estimate(
        value=value,
        low=low,
        high=high,
        n=cases.n,
        method=f"{n_resamples} resamples of patients by class, percentile",
        unit="patient" if clusters is None else "image",
        variance=variance,
        n_positive=cases.n_positive,
        n_clusters=cases.n_clusters,
    )


def bootstrap_auc_difference(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    seed: int,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
) -> Comparison:
    """Return first minus second AUC, both in the same resamples of patients.

    p is twice the smaller share of resampled differences at or beyond 0, and at least
    1 / (resamples + 1). Otherwise as `bootstrap_auc`.

    Raises:
        ConfigError: as `bootstrap_auc`.
    """
    cases = read_cases(labels, first, second, clusters=clusters)
    aucs = structural_components(cases).aucs
    found = _resampled(cases, n_resamples, seed)
    differences = found[:, 0] - found[:, 1]
    low, high, variance = percentiles(differences, level)
    difference = float(aucs[0] - aucs[1])
    return Comparison(
        difference=difference,
        low=low,
        high=high,
        statistic=float(difference / np.sqrt(variance)) if variance else math.nan,
        p_value=share_beyond(differences),
        method=f"paired, {n_resamples} resamples of patients by class, percentile",
        variance=variance,
        n=cases.n,
        n_positive=cases.n_positive,
    )


def patient_strata(cases: Cases) -> IntArray:
    """Return of each patient whether it has malignant (1), benign (2) or both (3)."""
    has_malignant = np.bincount(cases.clusters, cases.is_malignant) > 0  # (I,)
    has_benign = np.bincount(cases.clusters, ~cases.is_malignant) > 0
    return np.asarray(has_malignant + 2 * has_benign, dtype=np.int64)


def draw_patients(
    strata: npt.ArrayLike, n_resamples: int, rng: np.random.Generator
) -> IntArray:
    """Return how often each resample holds each patient, (B, I), drawn within strata.

    Raises:
        ConfigError: there is no resample.
    """
    if n_resamples < 1:
        raise ConfigError(f"n_resamples is {n_resamples}; expected at least 1")
    kinds = np.asarray(strata)
    times = np.zeros((n_resamples, len(kinds)), dtype=np.int64)
    for kind in np.unique(kinds):
        members = np.flatnonzero(kinds == kind)
        size = len(members)
        for rows in _pieces(n_resamples, size):
            n_rows = rows.stop - rows.start
            drawn = rng.integers(size, size=(n_rows, size))
            drawn += size * np.arange(n_rows)[:, None]  # a range of its own a resample
            counts = np.bincount(drawn.ravel(), minlength=n_rows * size)
            times[rows, members] = counts.reshape(n_rows, size)
    return times


def draw_hospitals(
    hospitals: npt.ArrayLike, n_resamples: int, rng: np.random.Generator
) -> IntArray:
    """Return how often each resample holds each patient, (B, I), in two stages.

    Hospitals are drawn first, and of every drawn hospital, each time anew, as many
    patients as it has. `hospitals` has the number of each patient's hospital, (I,),
    from 0.

    Raises:
        ConfigError: there is no resample.
    """
    codes = np.asarray(hospitals, dtype=np.int64)
    n_hospitals = int(codes.max(initial=-1)) + 1
    chosen = draw_patients(np.zeros(n_hospitals, dtype=int), n_resamples, rng)
    times = np.zeros((n_resamples, len(codes)), dtype=np.int64)
    for hospital in range(n_hospitals):
        members = np.flatnonzero(codes == hospital)
        size = len(members)
        # c independent draws of n patients are one draw of c n patients.
        drawn = rng.multinomial(chosen[:, hospital] * size, np.full(size, 1 / size))
        times[:, members] = drawn
    return times


def resampled_aucs(cases: Cases, times: IntArray) -> FloatArray:
    """Return the AUC of each resample and column, (B, S); NaN where a class is absent.

    Ties count 1/2; `times` is how often each patient counts, (B, I).
    """
    found = np.full((len(times), cases.scores.shape[1]), np.nan)
    if cases.n_positive in (0, cases.n):
        return found
    malignant, benign = cases.is_malignant, ~cases.is_malignant
    for column, scores in enumerate(cases.scores.T):
        order = np.argsort(scores[benign])
        values = scores[benign][order]
        below = np.searchsorted(values, scores[malignant], "left")
        up_to = np.searchsorted(values, scores[malignant], "right")
        for rows in _pieces(len(times), cases.n):
            weights = times[rows, cases.clusters[malignant]]  # (b, m)
            others = times[rows, cases.clusters[benign][order]]  # (b, n)
            total = np.zeros((len(others), len(values) + 1))
            np.cumsum(others, axis=1, out=total[:, 1:])
            outranked = (total[:, below] + total[:, up_to]) / 2
            pairs = weights.sum(axis=1) * total[:, -1]
            won = np.einsum("bm,bm->b", weights, outranked)
            found[rows, column] = np.divide(
                won, pairs, out=np.full(len(won), np.nan), where=pairs > 0
            )
    return found


def percentiles(values: FloatArray, level: float) -> tuple[float, float, float]:
    """Return low, high and variance of resampled values, (B,).

    Undefined resamples are left out; above `MAX_UNDEFINED` of them all is NaN.

    Raises:
        ConfigError: `level` is not between 0 and 1.
    """
    half_width(1, level)  # refuses a level out of range
    known = values[~np.isnan(values)]
    if len(known) < (1 - MAX_UNDEFINED) * len(values) or not len(known):
        return math.nan, math.nan, math.nan
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), float(known.var())


def share_beyond(differences: FloatArray) -> float:
    """Return the two-sided p value of resampled differences; NaN if one is undefined.

    Twice the smaller share at or beyond 0, and at least 1 / (resamples + 1).
    """
    if np.any(np.isnan(differences)):
        return math.nan
    smaller = min(int(np.sum(differences <= 0)), int(np.sum(differences >= 0)))
    n = len(differences)
    return min(1.0, max(2 * smaller / n, 1 / (n + 1)))


def _resampled(cases: Cases, n_resamples: int, seed: int) -> FloatArray:
    """Return AUCs of resampled patients, (B, S); NaN where a class has one patient."""
    rng = np.random.default_rng(seed)
    times = draw_patients(patient_strata(cases), n_resamples, rng)
    of_class = (cases.is_malignant, ~cases.is_malignant)
    if min(len(np.unique(cases.clusters[rows])) for rows in of_class) < 2:
        return np.full((n_resamples, cases.scores.shape[1]), np.nan)
    return resampled_aucs(cases, times)


def _pieces(n_rows: int, width: int) -> list[slice]:
    """Return slices of rows that stay small in memory."""
    step = max(1, CHUNK // max(width, 1))
    return [slice(at, min(at + step, n_rows)) for at in range(0, n_rows, step)]
