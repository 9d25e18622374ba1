"""One AUC over hospitals that keep their scores: what each reports, what it comes to.

A hospital reports how many patients of each class it tested, its own AUC with DeLong's
variance, and as much more as its policy allows: nothing, a histogram of the scores of
each class, or the scores.

Pairs of a malignant and a benign patient from one hospital are known from its own AUC.
Of a pair from two hospitals the histograms tell the order, unless both scores are in
the same bin: such a pair counts one half, and half of the share of such pairs is the
bound. Whatever the scores are, the AUC of all of them in one place is within the bound
of the value. Hospitals that send scores are one block here, exact within; if all do,
the bound is 0 and the result is `auc` of the pooled scores.

The bins are as fine near 0 and 1, where an overconfident network puts its scores, as
near 1/2: equal steps of asinh(logit / `BEND`), that is, equal steps of the logit within
`BEND` of 0 and equal ratios beyond. With normal logits of any spread from 0.1 to 10 and
an AUC of 0.84 the bound is at most 0.005; with 256 equal steps of the score it is 0.059
at a spread of 10, with equal steps of the logit 0.108 at one of 0.1 (`test_pooled.py`).

B bins; class 0 is benign, class 1 malignant.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics.auc import auc, auc_estimate, pair_weighted_auc
from thyroid_fl.statistics.estimate import Estimate, FloatArray, half_width

IntArray = npt.NDArray[np.int64]

N_BINS: Final = 256
BEND: Final = 0.1
"""Logits up to which the steps are equal; beyond, each is wider than the one before."""
LAST_LOGIT: Final = 16.0
"""The outermost bins begin near here: float32 knows no score between it and 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SiteAuc:
    """What one hospital reports of a test; one score a patient."""

    n_benign: int
    n_malignant: int
    value: float
    """Its own AUC; NaN without a patient of each class."""
    variance: float
    """DeLong's; NaN without two patients of each class."""
    bins: IntArray | None = None
    """Patients by class and bin, (2, B); None if it tells neither bins nor scores."""
    scores: tuple[FloatArray, FloatArray] | None = None
    """Scores of the benign and of the malignant, ascending; None if it tells none."""

    @property
    def n_pairs(self) -> int:
        """Pairs of a malignant and a benign patient."""
        return self.n_benign * self.n_malignant


@dataclass(frozen=True, slots=True)
class PooledAuc(Estimate):
    """The AUC over all pairs of several hospitals; the interval covers the bound."""

    bound: float = math.nan
    """The AUC of the pooled scores is within so much of `value`, for certain."""


def site_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> SiteAuc:
    """Return all that a hospital may report of its test patients.

    Args:
        labels: 1 malignant, 0 benign; one a patient, shape (N,).
        scores: from 0 to 1, higher is more malignant; shape (N,).

    Raises:
        ConfigError: as `auc`, or a score is not from 0 to 1.
    """
    own = auc(labels, scores)
    is_malignant = np.asarray(labels) == 1
    values = np.asarray(scores, dtype=np.float64)
    by_class = np.sort(values[~is_malignant]), np.sort(values[is_malignant])
    return SiteAuc(
        n_benign=len(by_class[0]),
        n_malignant=len(by_class[1]),
        value=own.value,
        variance=own.variance,
        bins=np.stack([histogram(of_class) for of_class in by_class]),
        scores=by_class,
    )


def histogram(scores: npt.ArrayLike) -> IntArray:
    """Return how many scores are in each bin, (B,).

    Raises:
        ConfigError: a score is not from 0 to 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise ConfigError("a score is not from 0 to 1: send probabilities")
    number = np.searchsorted(inner_edges(), values, side="right")
    return np.bincount(number, minlength=N_BINS).astype(np.int64)


@lru_cache
def inner_edges() -> FloatArray:
    """Return the scores where one bin ends and the next begins, (B - 1,)."""
    steps = np.linspace(-1, 1, N_BINS + 1)[1:-1] * np.arcsinh(LAST_LOGIT / BEND)
    edges: FloatArray = expit(BEND * np.sinh(steps))
    edges.flags.writeable = False  # one array for all callers
    return edges


def pooled_auc(sites: Sequence[SiteAuc], *, level: float = 0.95) -> PooledAuc:
    """Return the AUC over all pairs of the hospitals' patients, with its bound.

    Variance: DeLong's (1988), of the bins where not all scores are known; patients of
    one bin then share their placement value. The interval is normal, and widened by
    the bound to both sides.

    Raises:
        ConfigError: a hospital tells neither bins nor scores: leave it out, and say so.
    """
    blocks = _blocks(sites)
    counts = np.array([_bins(block) for block in blocks], dtype=np.float64)
    counts = counts.reshape(len(blocks), 2, N_BINS)
    n_benign, n_malignant = (float(n) for n in counts.sum(axis=(0, 2)))
    n_pairs = n_benign * n_malignant
    sure, unsure = _pairs(counts.sum(axis=0))
    own = [_pairs(of_block) for of_block in counts]
    sure -= sum(won for won, _ in own)
    unsure -= sum(tied for _, tied in own)
    won = sum(block.value * block.n_pairs for block in blocks if block.n_pairs)
    value = (won + sure + unsure / 2) / n_pairs if n_pairs else math.nan
    bound = unsure / 2 / n_pairs if n_pairs else math.nan
    is_one = len(blocks) == 1
    variance = blocks[0].variance if is_one else _binned_variance(counts.sum(axis=0))
    estimate = auc_estimate(
        value,
        variance,
        "DeLong"
        if is_one
        else f"pairs between hospitals and DeLong from {N_BINS} "
        "bins, interval widened by the bound",
        level=level,
        n=int(n_benign + n_malignant),
        unit="patient",
        n_positive=int(n_malignant),
        n_clusters=int(n_benign + n_malignant),
    )
    reach = half_width(variance, level) + bound
    low, high = np.clip([value - reach, value + reach], 0, 1)  # keeps NaN
    return PooledAuc(
        **dataclasses.asdict(estimate) | {"low": float(low), "high": float(high)},
        bound=bound,
    )


def possible_aucs(bins: IntArray) -> tuple[float, float]:
    """Return the lowest and the highest AUC that bins (2, B) leave open; NaN: none."""
    n_pairs = float(bins[0].sum()) * float(bins[1].sum())
    if not n_pairs:
        return math.nan, math.nan
    sure, unsure = _pairs(np.asarray(bins, dtype=np.float64))
    return sure / n_pairs, (sure + unsure) / n_pairs


def within_hospitals_auc(sites: Sequence[SiteAuc], *, level: float = 0.95) -> Estimate:
    """Return the AUC over the pairs within hospitals, from their own AUCs alone.

    Exact, and the same as `within_site_auc` of the pooled scores.
    """
    pairs = np.array([site.n_pairs for site in sites], dtype=np.float64)
    values = np.array([site.value for site in sites], dtype=np.float64)
    n_malignant = sum(site.n_malignant for site in sites)
    return pair_weighted_auc(
        np.where(pairs > 0, values * pairs, 0),
        pairs,
        level=level,
        n=n_malignant + sum(site.n_benign for site in sites),
        n_positive=n_malignant,
    )


def own_auc(site: SiteAuc, *, level: float = 0.95) -> Estimate:
    """Return a hospital's own AUC with DeLong's interval, as `auc` of its scores."""
    n = site.n_benign + site.n_malignant
    return auc_estimate(
        site.value,
        site.variance,
        "DeLong",
        level=level,
        n=n,
        unit="patient",
        n_positive=site.n_malignant,
        n_clusters=n,
    )


def _blocks(sites: Sequence[SiteAuc]) -> list[SiteAuc]:
    """Return the hospitals, those that send scores as one; without patients: none."""
    exact = [site.scores for site in sites if site.scores is not None]
    blocks = [site for site in sites if site.scores is None]
    if exact:
        benign, malignant = (np.concatenate(each) for each in zip(*exact, strict=True))
        labels = np.repeat([0, 1], [len(benign), len(malignant)])
        blocks.append(site_auc(labels, np.concatenate([benign, malignant])))
    return [block for block in blocks if block.n_benign + block.n_malignant]


def _bins(site: SiteAuc) -> IntArray:
    if site.bins is None:
        raise ConfigError(
            "a hospital tells neither bins nor scores, so its pairs with others are "
            "not known: leave it out of the pooled AUC, and say so"
        )
    return site.bins


def _pairs(counts: FloatArray) -> tuple[float, float]:
    """Return the pairs that are in right order by their bins, and those of one bin."""
    benign, malignant = counts
    below = np.cumsum(benign) - benign
    return float(malignant @ below), float(malignant @ benign)


def _binned_variance(counts: FloatArray) -> float:
    """Return DeLong's variance where patients of one bin are tied; counts: (2, B)."""
    benign, malignant = counts
    n, m = float(benign.sum()), float(malignant.sum())
    if min(n, m) < 2:
        return math.nan
    v10 = (np.cumsum(benign) - benign / 2) / n  # of a malignant patient in each bin
    v01 = 1 - (np.cumsum(malignant) - malignant / 2) / m
    value = float(malignant @ v10) / m
    of_malignant = float(malignant @ (v10 - value) ** 2) / (m * (m - 1))
    return of_malignant + float(benign @ (v01 - value) ** 2) / (n * (n - 1))
