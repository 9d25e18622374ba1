"""The bootstrap of patients over the runs of a model.

R runs, that is, models trained with several seeds and on several folds; C patients of
a run, P patients of all runs together; B resamples.

A resample draws patients, with all their pictures, and a patient drawn twice counts
twice in every run that tested it: seeds of one fold share the patients' chance, and two
models on the same patients are compared within the same resamples. Runs that share
patients, directly or through others, are one fold; patients are drawn within their fold
and within those with or without a true box, so that folds keep their size and a
single fold never lacks nodules.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.detection import Detections, IntArray
from thyroid_fl.statistics.estimate import Estimate, FloatArray, half_width

Times = npt.NDArray[np.int32]
"""How often each patient counts, one row a resample."""
Statistic = Callable[[Times], FloatArray]
"""From how often each patient counts, (b, C), to b values, or b rows of values."""
CHUNK = 2**20
"""Numbers in one piece of work: 8 MB as float64."""


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each resample holds each patient."""

    times: Times
    """Shape (1 + B, P); the first row is the data themselves, every patient once."""
    columns: tuple[npt.NDArray[np.intp], ...]
    """Where `times` holds the patients of each run, R arrays of shape (C,)."""
    n_truth: IntArray
    """True boxes of each patient, shape (P,)."""
    n_pictures: IntArray
    """Pictures of each patient, shape (P,)."""

    @property
    def n(self) -> int:
        """How many resamples there are."""
        return len(self.times) - 1


def resample_patients(
    runs: Sequence[Detections], *, n_resamples: int, seed: int
) -> Resamples:
    """Return resamples of the patients of all runs, the same for the same seed.

    Raises:
        ConfigError: there is no run, no resample, or a patient does not have the same
            pictures and true boxes in all its runs.
    """
    if not runs or n_resamples < 1:
        raise ConfigError(
            f"{len(runs)} runs and {n_resamples} resamples; expected at least one each"
        )
    names = list(dict.fromkeys(name for run in runs for name in run.patients))
    place = {name: column for column, name in enumerate(names)}
    columns = tuple(
        np.array([place[name] for name in run.patients], dtype=np.intp) for run in runs
    )
    counts = np.zeros((2, len(names)), dtype=np.int64)
    holds = np.zeros((len(runs), len(names)), dtype=bool)
    for row, (run, its) in enumerate(zip(runs, columns, strict=True)):
        counts[:, its] = run.n_truth, run.n_pictures
        holds[row, its] = True
    for run, its in zip(runs, columns, strict=True):
        differ = (counts[:, its] != [run.n_truth, run.n_pictures]).any(axis=0)
        if np.any(differ):
            raise ConfigError(
                f"{differ.sum()} patients have other pictures or true boxes in one run "
                "than in another; expected the same test pictures, and no name twice"
            )
    strata = np.empty(0, dtype=np.int64)
    if names:
        _, fold_of_run = connected_components(holds @ holds.T)
        strata = 2 * fold_of_run[holds.argmax(axis=0)] + (counts[0] > 0)  # (P,)
    times = _draw(strata, n_resamples, np.random.default_rng(seed))
    return Resamples(times, columns, *counts)


def mean_over_runs(
    times: Times,
    columns: Sequence[npt.NDArray[np.intp]],
    statistics: Sequence[Statistic],
    *,
    width: int = 1,
) -> FloatArray:
    """Return the mean of a statistic over runs, in the data and in each resample.

    Args:
        times: from `Resamples`, shape (1 + B, P).
        columns: patients of each run, R arrays of shape (C,).
        statistics: one a run.
        width: about how many numbers a statistic handles for one resample; the
            resamples are cut into pieces that stay small in memory.

    Returns:
        Shape (1 + B,), or (1 + B, G) of a statistic with G values; the first is that
        of the data.
    """
    rows = max(1, CHUNK // max(width, 1))
    starts = range(0, len(times), rows)
    means = [
        np.concatenate([statistic(times[s : s + rows, its]) for s in starts])
        / len(statistics)
        for statistic, its in zip(statistics, columns, strict=True)
    ]
    return np.asarray(sum(means))


def resampled_estimate(
    means: FloatArray,
    resamples: Resamples,
    statistic: str,
    *,
    counts: IntArray,
    unit: str,
    level: float,
) -> Estimate:
    """Return what `mean_over_runs` gave as an estimate, with its percentile interval.

    Args:
        means: shape (1 + B,).
        resamples: those that the means were found in.
        statistic: its name, for `method`.
        counts: of each patient, how many units the statistic rests on, shape (P,).
        unit: what was counted.
        level: confidence level of the interval.
    """
    low, high, variance = percentile_interval(means[1:], counts, level=level)
    n_runs = len(resamples.columns)
    over = f", mean of {n_runs} runs" if n_runs > 1 else ""
    return Estimate(
        value=float(means[0]),
        low=low,
        high=high,
        n=int(counts.sum()),
        method=describe(statistic + over, resamples, variance),
        unit=unit,
        variance=variance,
        n_clusters=len(counts),
    )


def percentile_interval(
    values: FloatArray, counts: IntArray, *, level: float
) -> tuple[float, float, float]:
    """Return low, high and variance of resampled values, shape (B,).

    NaN where fewer than two patients have what is counted, or a resample is undefined.
    """
    half_width(1, level)  # refuses a level out of range
    if np.count_nonzero(counts) < 2:
        return math.nan, math.nan, math.nan
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), float(values.var())


def describe(statistic: str, resamples: Resamples, variance: float) -> str:
    """Return in words how a statistic and its interval were found.

    Where all resamples are equal, as for a perfect model, the interval has no width and
    is to be read as unknown: the words say that it is degenerate.
    """
    text = f"{statistic}, {resamples.n} resamples of patients, percentile"
    text += "; training variation not included"
    return text + (" (degenerate: variance 0)" if variance == 0 else "")


def _draw(
    strata: npt.NDArray[np.int64], n_resamples: int, rng: np.random.Generator
) -> Times:
    """Return ones, and below them how often each resample draws each patient."""
    times = np.ones((1 + n_resamples, len(strata)), dtype=np.int32)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        for row in times[1:]:
            row[members] = np.bincount(rng.integers(size, size=size), minlength=size)
    return times
