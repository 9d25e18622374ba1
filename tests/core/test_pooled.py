"""The pooled AUC from what hospitals tell: the truth is always within its bound."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics import auc, clustered_mean, within_site_auc
from thyroid_fl.statistics.pooled import (
    LAST_LOGIT,
    N_BINS,
    histogram,
    inner_edges,
    own_auc,
    pooled_auc,
    site_auc,
    within_hospitals_auc,
)
from thyroid_fl.statistics.pooled_means import mean_of_sums, mean_sums


def coarse(site):
    return dataclasses.replace(site, scores=None)


def bare(site):
    return dataclasses.replace(site, scores=None, bins=None)


def hospitals(n_each, spread=3.0, seed=0, distance=1.4):
    """Labels and scores of hospitals that differ in level and prevalence."""
    rng = np.random.default_rng(seed)
    for n in n_each:
        labels = (rng.random(n) < rng.uniform(0.3, 0.7)).astype(int)
        logits = rng.normal(distance * (labels - 0.5) + rng.normal(0, 0.3))
        yield labels, expit(spread * logits).astype("f4").astype("f8")


def together(cohort):
    labels, scores = (np.concatenate(each) for each in zip(*cohort, strict=True))
    sites = np.repeat(np.arange(len(cohort)), [len(labels) for labels, _ in cohort])
    return labels, scores, sites


score = st.one_of(
    st.sampled_from([0.0, 0.5, 1.0, 1e-9]), st.floats(0, 1, allow_subnormal=False)
)
hospital = st.lists(st.tuples(st.integers(0, 1), score), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(hospital, st.booleans()), min_size=1, max_size=5))
def test_the_auc_of_all_scores_is_within_the_bound_whoever_tells_what(drawn):
    told, cohort = [], []
    for cases, tells_scores in drawn:
        labels, scores = zip(*cases, strict=True) if cases else ((), ())
        site = site_auc(labels, scores)
        told.append(site if tells_scores else coarse(site))
        cohort.append((np.array(labels, int), np.array(scores, float)))
    labels, scores, _ = together(cohort)

    found = pooled_auc(told)

    assert (found.n, found.n_positive) == (len(labels), labels.sum())
    if len(set(labels)) < 2:
        assert math.isnan(found.value)
        assert math.isnan(found.bound)
    else:
        assert abs(found.value - roc_auc_score(labels, scores)) <= found.bound + 1e-12
        assert found.bound <= 0.5


def test_pooled_by_hand():
    # Within: 1 of 1 and 0 of 1. Across: .9 against .7 is right, .1 against .1 is in one
    # bin. So 1 + 0 + 1 + 1/2 of 4, and the one unsure pair is half of 1/4.
    first = site_auc([1, 0], [0.9, 0.1])
    second = site_auc([1, 0], [0.1, 0.7])

    found = pooled_auc([coarse(first), coarse(second)])

    assert found.value == 2.5 / 4
    assert found.bound == 0.5 / 4


def test_where_all_tell_scores_it_is_the_auc_of_the_pooled_scores():
    cohort = list(hospitals([40, 75, 9]))
    labels, scores, _ = together(cohort)
    exact = auc(labels, scores)

    found = pooled_auc([site_auc(*each) for each in cohort])

    assert found.bound == 0
    assert found.value == pytest.approx(exact.value, abs=1e-14)
    assert found.variance == pytest.approx(exact.variance, rel=1e-12)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-14)


def test_one_hospital_is_its_own_auc_exactly_even_from_a_histogram():
    ((labels, scores),) = hospitals([60])
    site = site_auc(labels, np.round(scores, 1))
    exact = auc(labels, np.round(scores, 1))

    found = pooled_auc([coarse(site)])

    assert (found.value, found.bound) == (exact.value, 0)
    assert found.variance == own_auc(bare(site)).variance == exact.variance
    assert (own_auc(bare(site)).low, found.low) == (exact.low, exact.low)


def test_the_order_of_hospitals_and_those_without_cases_change_nothing():
    told = [coarse(site_auc(*each)) for each in hospitals([30, 40, 50])]
    empty = site_auc([], [])

    first = pooled_auc([*told, empty, coarse(empty)])
    second = pooled_auc(told[::-1])

    assert dataclasses.astuple(first) == pytest.approx(dataclasses.astuple(second))


def test_hospitals_of_one_class_count_across_hospitals():
    malignant, benign = site_auc([1, 1], [0.9, 0.8]), site_auc([0, 0], [0.1, 0.85])

    found = pooled_auc([coarse(malignant), coarse(benign)])

    assert found.value == 0.75
    assert math.isnan(own_auc(malignant).value)
    assert found.variance == pytest.approx(auc([1, 1, 0, 0], [9, 8, 1, 8.5]).variance)


@pytest.mark.parametrize("told", [[], [site_auc([], [])], [site_auc([1], [0.5])]])
def test_undefined_is_nan_with_its_n(told):
    found = pooled_auc(told)

    assert np.isnan([found.value, found.low, found.high, found.bound]).all()
    assert found.n == sum(site.n_malignant for site in told)


def test_who_tells_no_histogram_must_be_left_out():
    with pytest.raises(ConfigError, match="leave it out"):
        pooled_auc([bare(site_auc([0, 1], [0.1, 0.2]))])


@pytest.mark.parametrize("scores", [[0.1, 1.5], [0.1, -0.1]])
def test_a_score_that_is_no_probability_is_refused(scores):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        site_auc([0, 1], scores)


def test_bins_ascend_and_mirror_and_hold_every_score():
    edges = inner_edges()

    assert len(edges) == N_BINS - 1
    assert (np.diff(edges) > 0).all()
    np.testing.assert_allclose(edges + edges[::-1], 1, atol=1e-12)
    assert edges[0] > expit(-LAST_LOGIT)
    counts = histogram([0, 1, edges[3], np.nextafter(edges[3], 0), 1])
    assert counts.nonzero()[0].tolist() == [0, 3, 4, N_BINS - 1]
    assert counts.sum() == 5


@pytest.mark.parametrize("spread", [0.1, 0.3, 1, 3, 10])
def test_the_bound_is_small_from_timid_to_overconfident_networks(spread):
    cohort = list(hospitals([500] * 20, spread=spread))

    found = pooled_auc([coarse(site_auc(*each)) for each in cohort])

    assert found.bound < 0.005  # .0044, .0025, .0022, .0021, .0044 measured
    labels, scores, _ = together(cohort)
    exact = auc(labels, scores)
    assert abs(found.value - exact.value) < 0.2 * found.bound
    # 0.7 % at the spread of 10, below 0.04 % at the others.
    assert found.variance == pytest.approx(exact.variance, rel=0.01)
    assert found.low <= exact.low
    assert found.high >= exact.high


def test_equal_steps_of_score_or_logit_would_be_much_coarser():
    rng = np.random.default_rng(0)
    shares = {}
    for spread in (0.1, 10):
        logits = [spread * (rng.normal(size=20000) + shift) for shift in (-0.7, 0.7)]
        counts = np.array([histogram(expit(each).astype("f4")) for each in logits])
        equal = [np.histogram(expit(x), N_BINS, (0, 1))[0] for x in logits]
        logit = [np.histogram(x, N_BINS, (-16, 16))[0] for x in logits]
        shares[spread] = [
            float(np.prod(each, axis=0, dtype=float).sum()) / 2 / 20000**2
            for each in (counts, equal, logit)
        ]

    assert shares[10][0] < 0.005 < 0.05 < shares[10][1]
    assert shares[0.1][0] < 0.005 < 0.1 < shares[0.1][2]


def test_the_interval_from_bins_covers_as_often_as_that_from_scores():
    truth = norm.cdf(1.4 / np.sqrt(2))
    covered = {"bins": 0, "scores": 0}
    labels = np.repeat([0, 1], 25)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        told = [
            site_auc(labels, expit(rng.normal(1.4 * (labels - 0.5)))) for _ in range(4)
        ]

        binned, exact = pooled_auc([coarse(site) for site in told]), pooled_auc(told)

        covered["bins"] += binned.low <= truth <= binned.high
        covered["scores"] += exact.low <= truth <= exact.high
    # 277 and 274 of 300: what the bound adds is little.
    assert covered["scores"] <= covered["bins"] <= covered["scores"] + 6


def test_within_hospitals_is_exact_from_their_own_numbers_alone():
    cohort = list(hospitals([30, 50, 2, 80]))
    labels, scores, sites = together(cohort)
    exact = within_site_auc(labels, scores, sites)

    found = within_hospitals_auc([bare(site_auc(*each)) for each in cohort])

    for name in ("value", "low", "high", "variance", "n", "n_positive", "n_clusters"):
        assert getattr(found, name) == pytest.approx(getattr(exact, name), nan_ok=True)


def test_within_no_hospital_is_nan():
    found = within_hospitals_auc([site_auc([], []), site_auc([1], [0.3])])

    assert math.isnan(found.value)
    assert (found.n, found.n_clusters) == (1, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), max_size=6), min_size=1, max_size=4))
def test_the_mean_from_sums_is_that_of_all_values(parts):
    values = [value for part in parts for value in part]
    exact = clustered_mean(values, range(len(values)))

    found = mean_of_sums([mean_sums(part) for part in parts])

    for name in ("value", "low", "high", "variance", "n"):
        wanted = pytest.approx(getattr(exact, name), abs=1e-12, rel=1e-9, nan_ok=True)
        assert getattr(found, name) == wanted


def test_equal_values_have_no_variance_and_unknown_ones_are_left_out():
    found = mean_of_sums([mean_sums([0.7, math.nan, 0.7, 0.7])])

    assert (found.value, found.variance, found.n) == (pytest.approx(0.7), 0, 3)


def test_no_values_is_nan_and_one_has_no_interval():
    nothing, one = mean_of_sums([]), mean_of_sums([mean_sums([]), mean_sums([0.4])])

    assert (math.isnan(nothing.value), nothing.n) == (True, 0)
    assert (one.value, one.n, math.isnan(one.low)) == (0.4, 1, True)


def test_an_infinite_value_is_refused():
    with pytest.raises(ConfigError, match="infinite"):
        mean_sums([0.1, math.inf])
