"""The AUC, its comparisons and its means, by hand and against other implementations."""

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import mannwhitneyu, norm, ttest_ind_from_stats
from sklearn.metrics import roc_auc_score

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    auc,
    compare_aucs,
    compare_independent_aucs,
    compare_mean_aucs,
    mean_auc,
    within_site_auc,
)

Array = npt.NDArray[np.float64]


def simulated(n: int, n_models: int, seed: int) -> tuple[Array, Array, Array]:
    """Labels, scores (n, n_models) of correlated models, and patients of two images."""
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // 2
    labels = (rng.random(n)[patients] < 0.4).astype(float)
    shared = labels + rng.normal(size=n)[patients]
    scores = shared[:, None] + 0.7 * rng.normal(size=(n, n_models))
    return labels, scores, patients.astype(float)


def test_auc_by_hand() -> None:
    # Malignant 3 and 2 against benign 2 and 1: 1 + 1 + 1/2 + 1 of 4 pairs.
    # V10 = 1, 3/4 and V01 = 3/4, 1: each class has variance 1/32, over 2 members.
    found = auc([1, 1, 0, 0], [3, 2, 2, 1])

    assert found.value == 0.875
    assert found.variance == pytest.approx(1 / 32)
    assert found.low == pytest.approx(0.875 - 1.959963985 * math.sqrt(1 / 32))
    assert found.high == 1
    assert (found.n, found.n_positive, found.unit) == (4, 2, "patient")


def test_auc_with_ties_is_that_of_sklearn_and_scipy() -> None:
    labels, scores, _ = simulated(500, 1, seed=1)
    rounded = np.round(scores[:, 0], 1)
    u = mannwhitneyu(rounded[labels == 1], rounded[labels == 0]).statistic

    found = auc(labels, rounded).value

    assert found == pytest.approx(roc_auc_score(labels, rounded), abs=1e-14)
    assert found == pytest.approx(u / (np.sum(labels == 1) * np.sum(labels == 0)))


def test_delong_variance_is_that_of_the_pair_matrix() -> None:
    labels, scores, _ = simulated(120, 1, seed=2)
    malignant, benign = scores[labels == 1, 0], scores[labels == 0, 0]
    wins = (malignant[:, None] > benign) + 0.5 * (malignant[:, None] == benign)
    expected = np.var(wins.mean(axis=1), ddof=1) / len(malignant)
    expected += np.var(wins.mean(axis=0), ddof=1) / len(benign)

    assert auc(labels, scores[:, 0]).variance == pytest.approx(expected, rel=1e-12)


def test_one_image_a_patient_gives_delong() -> None:
    labels, scores, _ = simulated(80, 2, seed=3)
    names = [f"patient {i}" for i in range(80)]

    clustered = compare_aucs(labels, scores[:, 0], scores[:, 1], clusters=names)
    plain = compare_aucs(labels, scores[:, 0], scores[:, 1])

    assert clustered.variance == pytest.approx(plain.variance, rel=1e-12)


def test_copies_of_every_image_add_no_information() -> None:
    labels, scores, _ = simulated(200, 1, seed=4)
    plain = auc(labels, scores[:, 0])

    copied = auc(
        np.repeat(labels, 3),
        np.repeat(scores[:, 0], 3),
        clusters=np.repeat(np.arange(200), 3),
    )

    assert copied.value == pytest.approx(plain.value)
    assert copied.variance == pytest.approx(plain.variance, rel=1e-12)
    assert (copied.n, copied.n_clusters, copied.unit) == (600, 200, "image")


@pytest.mark.parametrize(
    ("labels", "scores"), [([], []), ([1], [0.3]), ([0, 0, 0], [1, 2, 3])]
)
def test_without_both_classes_the_auc_is_nan_with_its_n(
    labels: list[int], scores: list[float]
) -> None:
    found = auc(labels, scores)
    compared = compare_aucs(labels, scores, scores)

    assert all(map(math.isnan, (found.value, found.low, found.high, found.variance)))
    assert found.n == len(labels)
    assert math.isnan(compared.difference)
    assert math.isnan(compared.p_value)


def test_one_member_in_a_class_gives_a_value_without_interval() -> None:
    found = auc([1, 0, 0], [0.5, 0.7, 0.1])

    assert found.value == 0.5
    assert math.isnan(found.low)


def test_a_perfect_auc_says_that_its_interval_is_degenerate() -> None:
    found = auc([1, 1, 0, 0], [4, 3, 2, 1])

    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert "degenerate" in found.method


def test_difference_without_variance() -> None:
    labels, scores = [1, 1, 0, 0], np.array([4.0, 3.0, 2.0, 1.0])

    same = compare_aucs(labels, scores, 2 * scores)
    opposite = compare_aucs(labels, scores, -scores)

    assert (same.statistic, same.p_value, same.low, same.high) == (0, 1, 0, 0)
    assert (opposite.statistic, opposite.p_value) == (math.inf, 0)


def test_unpaired_comparison_is_welchs_test_of_two_aucs() -> None:
    (a, b) = simulated(60, 1, seed=5), simulated(90, 1, seed=6)
    first, second = auc(a[0], a[1][:, 0]), auc(b[0], b[1][:, 0])
    expected = ttest_ind_from_stats(
        first.value, math.sqrt(first.variance * 60), 60,
        second.value, math.sqrt(second.variance * 90), 90, equal_var=False,
    )  # fmt: skip

    found = compare_independent_aucs(a[0], a[1][:, 0], b[0], b[1][:, 0])
    identical = compare_independent_aucs([1, 1, 0, 0], [4, 3, 2, 1], [1, 0], [2, 1])

    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.n == 150
    assert math.isnan(identical.p_value)  # one member a class: no variance


def test_within_site_ignores_differences_in_level_between_sites() -> None:
    labels = [1, 0, 1, 0, 1, 0, 1, 0]
    scores = [2, 1, 2, 1, 12, 11, 12, 11]
    sites = ["a", "a", "a", "a", "b", "b", "b", "b"]

    found = within_site_auc(labels, scores, sites)
    lone = within_site_auc(labels[:4], scores[:4], sites[:4])
    none = within_site_auc([1, 0], [1, 0], ["a", "b"])

    # 8 pairs within sites all won; of 8 between, b's malignants win 4, a's lose 4.
    assert (found.value, found.pooled, found.between) == (1, 0.75, 0.5)
    assert math.isnan(lone.between)
    assert lone.value == 1
    assert math.isnan(none.value)
    assert none.n == 2


@pytest.mark.parametrize(
    ("labels", "scores", "clusters", "words"),
    [
        ([1, 0], [0.1], None, "as many of each"),
        ([1, 0], [0.1, 0.2], ["a"], "as many of each"),
        ([1, 0], [[0.1, 0.3], [0.2, 0.4]], None, "as many of each"),
        ([1, 2], [0.1, 0.2], None, "expected 1 .malignant. or 0"),
        (["1", "0"], [0.1, 0.2], None, "expected 1 .malignant. or 0"),
        ([1, math.nan], [0.1, 0.2], None, "expected 1 .malignant. or 0"),
        ([1, 0], [0.1, math.nan], None, "NaN or infinite"),
        ([1, 0], [0.1, math.inf], None, "NaN or infinite"),
        ([1, 0], [0.1, 0.2], ["a", None], "no patient or hospital"),
    ],
)
def test_bad_input_is_refused(
    labels: list[int], scores: list[Any], clusters: list[str] | None, words: str
) -> None:
    with pytest.raises(ThyroidFLError, match=words):
        auc(labels, scores, clusters=clusters)


def test_a_level_out_of_range_is_refused() -> None:
    with pytest.raises(ThyroidFLError, match="level"):
        auc([1, 0], [1, 0], level=95)


def test_100_000_scores_take_less_than_a_second() -> None:
    labels, scores, patients = simulated(100_000, 2, seed=7)

    start = time.process_time()
    compare_aucs(labels, scores[:, 0], scores[:, 1], clusters=patients)

    assert time.process_time() - start < 1


def test_one_fold_and_one_seed_give_the_plain_auc() -> None:
    labels, scores, patients = simulated(300, 2, seed=8)
    first, second = scores[:, :1], scores[:, 1:]

    mean = mean_auc([(labels, first, patients)])
    difference = compare_mean_aucs([(labels, first, second, patients)])

    plain = auc(labels, first[:, 0], clusters=patients)
    compared = compare_aucs(labels, first[:, 0], second[:, 0], clusters=patients)
    assert (mean.value, mean.low, mean.high) == (plain.value, plain.low, plain.high)
    assert difference.p_value == pytest.approx(compared.p_value, rel=1e-9)
    assert difference.low == pytest.approx(compared.low)
    assert "training variation not included" in mean.method


def test_copies_of_a_seed_add_no_information() -> None:
    labels, scores, patients = simulated(300, 1, seed=9)
    plain = auc(labels, scores[:, 0], clusters=patients)

    mean = mean_auc([(labels, np.repeat(scores, 5, axis=1), patients)])

    assert mean.variance == pytest.approx(plain.variance, rel=1e-12)


def test_folds_are_independent() -> None:
    folds = [simulated(200, 1, seed=seed) for seed in (10, 11, 12)]
    singly = [auc(y, s[:, 0], clusters=c) for y, s, c in folds]

    mean = mean_auc(folds)

    assert mean.value == pytest.approx(np.mean([each.value for each in singly]))
    assert mean.variance == pytest.approx(sum(each.variance for each in singly) / 9)
    assert (mean.n, mean.n_clusters) == (600, 300)


def test_variance_of_the_mean_over_seeds_by_pairs_of_seeds() -> None:
    labels, scores, patients = simulated(300, 3, seed=13)
    aucs = [auc(labels, s, clusters=patients) for s in scores.T]
    # Var(mean) = sum of all covariances / S^2, each from the variance of a difference.
    total = 0.0
    for i in range(3):
        for j in range(3):
            pair = compare_aucs(labels, scores[:, i], scores[:, j], clusters=patients)
            total += (aucs[i].variance + aucs[j].variance - pair.variance) / 2
    between = float(np.var([each.value for each in aucs], ddof=1)) / 3

    mean = mean_auc([(labels, scores, patients)])

    assert mean.variance == pytest.approx(total / 9 + between, rel=1e-9)
    assert "variance between seeds" in mean.method


def test_with_seeds_that_differ_much_the_interval_is_wider_than_normal() -> None:
    labels, scores, _ = simulated(2000, 2, seed=14)
    scores[:, 1] += 5 * np.random.default_rng(0).normal(size=2000)

    mean = mean_auc([(labels, scores, None)])

    assert mean.high - mean.value > 2 * norm.ppf(0.975) * math.sqrt(mean.variance)
    assert mean.unit == "patient"


def test_the_difference_of_means_pairs_seeds_and_cases() -> None:
    labels, scores, patients = simulated(300, 4, seed=15)
    first, second = scores[:, :2], scores[:, 2:]

    found = compare_mean_aucs([(labels, first, second, patients)])
    swapped = compare_mean_aucs([(labels, second, first, patients)])
    same = compare_mean_aucs([(labels, first, first, patients)])

    means = [mean_auc([(labels, s, patients)]).value for s in (first, second)]
    assert found.difference == pytest.approx(means[0] - means[1])
    assert swapped.difference == pytest.approx(-found.difference)
    assert swapped.p_value == pytest.approx(found.p_value)
    assert (same.difference, same.variance, same.p_value) == (0, 0, 1)


def test_seeds_may_test_different_cases() -> None:
    labels, scores, _ = simulated(400, 2, seed=16)
    scores[:200, 0] = np.nan
    scores[200:, 1] = np.nan
    halves = auc(labels[200:], scores[200:, 0]), auc(labels[:200], scores[:200, 1])

    mean = mean_auc([(labels, scores, None)])

    between = float(np.var([half.value for half in halves], ddof=1)) / 2
    sampling = sum(half.variance for half in halves) / 4
    assert mean.value == pytest.approx((halves[0].value + halves[1].value) / 2)
    assert mean.variance == pytest.approx(sampling + between, rel=0.01)


def test_a_fold_of_one_class_makes_the_mean_nan() -> None:
    labels, scores, _ = simulated(100, 2, seed=17)

    found = mean_auc([(labels, scores, None), (np.ones(5), scores[:5], None)])

    assert math.isnan(found.value)
    assert found.n == 105


def test_means_refuse_bad_folds() -> None:
    labels, scores, _ = simulated(10, 2, seed=18)

    with pytest.raises(ThyroidFLError, match="no fold"):
        mean_auc([])
    with pytest.raises(ThyroidFLError, match="same cases and seeds"):
        compare_mean_aucs([(labels, scores, scores[:, :1], None)])
