"""Paired t, signed rank and adjusted p values: by hand, and at their limits."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics import adjusted, paired_t, signed_rank


def test_a_worked_example_of_students_test():
    found = paired_t([3, 5, 7], [2, 3, 4])  # differences 1, 2, 3: mean 2, variance 1

    assert found.difference == 2
    assert found.statistic == pytest.approx(2 * math.sqrt(3))
    assert (found.df, found.n) == (2, 3)
    assert found.high - found.low == pytest.approx(2 * 4.302652729911275 / 3**0.5)


def test_a_worked_example_of_the_signed_rank_test():
    # Differences 2, -1, 3, 0: ranks 2, 1, 3 of those that are not 0.
    found = signed_rank([2, 0, 3, 5], [0, 1, 0, 5], continuity=False)

    assert (found.statistic, found.n, found.n_unequal) == (5, 4, 3)
    z = (5 - 3) / math.sqrt(3 * 4 * 7 / 24)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_both_tests_are_scipys():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 40)).round(1)

    student, ranks = paired_t(first, second), signed_rank(first, second)

    assert student.p_value == pytest.approx(ttest_rel(first, second).pvalue)
    reference = wilcoxon(first, second, correction=True, method="asymptotic")
    assert ranks.p_value == pytest.approx(reference.pvalue)


def test_pairs_that_are_all_equal_show_no_difference():
    student, ranks = paired_t([1, 2], [1, 2]), signed_rank([1, 2], [1, 2])

    assert (student.statistic, student.p_value) == (0, 1)
    assert math.isnan(ranks.p_value)
    assert (ranks.n, ranks.n_unequal) == (2, 0)


@pytest.mark.parametrize("pairs", [[], [1.0]])
def test_too_few_pairs_give_nan_with_their_number(pairs):
    found = paired_t(pairs, [0.5] * len(pairs))

    assert math.isnan(found.p_value)
    assert math.isnan(found.low)
    assert found.n == len(pairs)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("holm", [0.03, 0.06, 0.06, math.nan]),
        ("benjamini_hochberg", [0.03, 0.04, 0.04, math.nan]),
        ("bonferroni", [0.03, 0.12, 0.09, math.nan]),
    ],
)
def test_a_worked_example_of_adjusted_p_values(method, expected):
    found = adjusted([0.01, 0.04, 0.03, math.nan], method)

    assert found == pytest.approx(expected, nan_ok=True)


def test_no_tests_have_no_p_values():
    assert adjusted([]).size == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_t([1, 2], [1]), "two lists of one length"),
        (lambda: signed_rank([1, math.nan], [1, 2]), "NaN or infinite"),
        (lambda: adjusted([0.1], "sidak"), "expected one of: holm"),
        (lambda: adjusted([1.5]), "above 1"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
