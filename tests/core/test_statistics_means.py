"""Proportions, means and agreement, by hand and against other implementations."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binomtest, friedmanchisquare
from statsmodels.stats.meta_analysis import combine_effects

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    clustered_mean,
    compare_proportions,
    kendall_w,
    proportion,
    random_effects_mean,
)


def test_wilson_by_hand() -> None:
    # x = 0, n = 10: the upper limit is z^2 / (n + z^2).
    z2 = 1.959963984540054**2

    found = proportion(0, 10)

    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(z2 / (10 + z2))


def test_clopper_pearson_is_that_of_scipy() -> None:
    found = proportion(7, 31, method="clopper_pearson", level=0.9)

    expected = binomtest(7, 31).proportion_ci(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_proportion_of_nothing_is_nan() -> None:
    found = proportion(0, 0)

    assert all(map(math.isnan, (found.value, found.low, found.high)))
    assert found.n == 0


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0.5, 2)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ThyroidFLError, match="successes"):
        proportion(successes, n)


def test_two_proportions_by_hand() -> None:
    # 8 of 10 and 3 of 10: pooled 0.55, so that z^2 = 0.25 / (0.55 * 0.45 * 0.2).
    found = compare_proportions(8, 10, 3, 10)

    assert found.difference == pytest.approx(0.5)
    assert found.statistic**2 == pytest.approx(0.25 / (0.55 * 0.45 * 0.2))
    half = 1.959963984540054 * math.sqrt(0.016 + 0.021)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))
    assert compare_proportions(5, 5, 0, 1).high == 1
    assert (found.n, compare_proportions(8, 10, 0, 0).n) == (20, 10)


@pytest.mark.parametrize("second", [(0, 0), (2, 2)])
def test_two_proportions_without_a_test_are_nan(second: tuple[int, int]) -> None:
    found = compare_proportions(3, 3, *second)

    assert math.isnan(found.p_value)
    assert math.isnan(found.difference) is (second == (0, 0))


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ThyroidFLError, match="clopper_pearson"):
        proportion(1, 2, method="exact")  # type: ignore[arg-type]


def test_clustered_mean_by_hand() -> None:
    # Patients (0, 2) and (4): mean 2, residual sums -2 and 2, over 3 images.
    found = clustered_mean([0, 2, 4], ["a", "a", "b"])

    assert found.value == 2
    assert found.variance == pytest.approx(2 / 1 * (4 + 4) / 9)
    assert found.high - found.value == pytest.approx(12.7062 * 4 / 3, rel=1e-5)
    assert (found.n, found.n_clusters) == (3, 2)


def test_clustered_mean_has_the_variance_of_an_independence_gee() -> None:
    rng = np.random.default_rng(1)
    patients = rng.integers(0, 30, 100)
    dice = rng.random(100) + rng.random(30)[patients]
    fit = sm.GEE(dice, np.ones(100), groups=patients).fit()

    found = clustered_mean(dice, patients)

    n = found.n_clusters
    assert n is not None
    assert found.variance == pytest.approx(fit.bse[0] ** 2 * n / (n - 1), rel=1e-6)


def test_clustered_mean_limits() -> None:
    assert math.isnan(clustered_mean([], []).value)
    lone = clustered_mean([0.5, 0.7], ["a", "a"])
    assert lone.value == pytest.approx(0.6)
    assert math.isnan(lone.low)
    with pytest.raises(ThyroidFLError, match="finite"):
        clustered_mean([0.5, math.nan], ["a", "b"])
    with pytest.raises(ThyroidFLError, match="2 values for 1"):
        clustered_mean([0.5, 0.6], ["a"])


def test_random_effects_are_those_of_statsmodels_where_tau2_is_positive() -> None:
    y, v = [0.7, 0.9, 0.8, 0.95], [0.001, 0.002, 0.0015, 0.0005]
    theirs = combine_effects(np.array(y), np.array(v), method_re="dl", use_t=True)

    found = random_effects_mean(y, v)

    assert found.mean == pytest.approx(theirs.mean_effect_re)
    assert found.tau2 == pytest.approx(theirs.tau2)
    assert math.sqrt(found.variance) == pytest.approx(theirs.sd_eff_w_re_hksj)
    assert found.n == 4


def test_equal_hospitals_have_no_variance_between_them() -> None:
    found = random_effects_mean([0.8, 0.8, 0.8], [0.01, 0.02, 0.03])

    assert (found.tau2, found.i2) == (0, 0)
    assert found.low == pytest.approx(0.8)
    assert found.prediction_low < 0.8 < found.prediction_high


def test_too_few_hospitals_leave_intervals_nan() -> None:
    none, one = random_effects_mean([], []), random_effects_mean([0.8], [0.01])
    two = random_effects_mean([0.8, 0.9], [0.01, 0.01])

    assert math.isnan(none.value)
    assert (none.n, one.value) == (0, 0.8)
    assert math.isnan(one.low)
    assert math.isnan(one.tau2)
    assert two.low < two.mean < two.high
    assert math.isnan(two.prediction_low)


@pytest.mark.parametrize(
    ("values", "variances", "words"),
    [
        ([0.8, 1.0], [0.01, 0.0], "pool it"),
        ([0.8, 1.0], [0.01, -0.1], "all positive"),
        ([0.8, 1.0], [0.01, math.nan], "NaN or infinite"),
        ([0.8, 1.0], [0.01], "one of each"),
    ],
)
def test_hospitals_without_variance_are_refused(
    values: list[float], variances: list[float], words: str
) -> None:
    with pytest.raises(ThyroidFLError, match=words):
        random_effects_mean(values, variances)


def test_kendall_w_is_friedmans_statistic_rescaled() -> None:
    ratings = np.random.default_rng(2).integers(1, 6, (40, 5))
    friedman = friedmanchisquare(*ratings)

    found = kendall_w(ratings)

    assert found.chi2 == pytest.approx(friedman.statistic)
    assert found.p_value == pytest.approx(friedman.pvalue)
    assert found.w == pytest.approx(friedman.statistic / (5 * 39))
    assert (found.n, found.n_raters, found.df) == (40, 5, 39)


@pytest.mark.parametrize("ratings", [[[1, 1], [1, 1]], [[1, 2]], [[1], [2]]])
def test_kendall_w_is_nan_where_nothing_can_agree(ratings: list[list[int]]) -> None:
    found = kendall_w(ratings)

    assert math.isnan(found.w)
    assert math.isnan(found.p_value)
    assert found.n == len(ratings)


def test_kendall_w_refuses_gaps() -> None:
    with pytest.raises(ThyroidFLError, match="gaps"):
        kendall_w([[1.0, math.nan], [2.0, 1.0]])
