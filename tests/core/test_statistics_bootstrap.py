"""The bootstrap of patients and hospitals, and the threshold that is chosen anew."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    auc,
    bootstrap_auc,
    bootstrap_auc_difference,
    compare_aucs,
    proportion,
    reoptimised_bootstrap,
    youden_threshold,
)
from thyroid_fl.statistics.bootstrap import (
    draw_hospitals,
    draw_patients,
    patient_strata,
    percentiles,
    resampled_aucs,
    share_beyond,
)
from thyroid_fl.statistics.components import read_cases

RNG = np.random.default_rng


def cohort(seed: int, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = RNG(seed)
    labels = rng.integers(0, 2, n)
    return labels, np.round(labels + rng.normal(size=n), 1)  # with ties


def test_a_resampled_auc_by_hand() -> None:
    # Malignant .4 twice and .8 once against benign .4 once and .6 twice:
    # .4 ties once and loses twice, twice over; .8 wins all three: (1/2 x 2 + 3) / 9.
    cases = read_cases([1, 1, 0, 0], [0.4, 0.8, 0.4, 0.6])

    found = resampled_aucs(cases, np.array([[2, 1, 1, 2]]))

    assert found[0, 0] == pytest.approx(4 / 9)


def test_resampled_aucs_are_the_weighted_ones_of_sklearn() -> None:
    labels, scores = cohort(1)
    patients = RNG(2).integers(0, 80, len(labels))
    cases = read_cases(labels, scores, -scores, clusters=patients)
    times = draw_patients(patient_strata(cases), 20, RNG(3))

    found = resampled_aucs(cases, times)

    for row, resample in zip(found, times, strict=True):
        weights = resample[cases.clusters]
        expected = roc_auc_score(labels, scores, sample_weight=weights)
        assert row == pytest.approx([expected, 1 - expected], abs=1e-12)


def test_patients_are_drawn_within_strata() -> None:
    strata = np.array([1, 1, 1, 2, 2, 3])

    times = draw_patients(strata, 50, RNG(1))

    assert times.shape == (50, 6)
    for stratum, size in ((1, 3), (2, 2), (3, 1)):
        assert np.all(times[:, strata == stratum].sum(axis=1) == size)
    assert len(np.unique(times, axis=0)) > 5


def test_hospitals_are_drawn_first_and_then_their_patients() -> None:
    hospitals = np.repeat([0, 1, 2], [5, 3, 1])

    times = draw_hospitals(hospitals, 4000, RNG(1))

    copies = np.column_stack(
        [times[:, hospitals == h].sum(axis=1) / n for h, n in enumerate((5, 3, 1))]
    )
    assert np.all(copies == copies.round())
    assert np.all(copies.sum(axis=1) == 3)
    assert copies.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.05)
    # Of three draws from three, one is drawn c times by the binomial (3, 1/3).
    assert copies.var(axis=0) == pytest.approx([2 / 3] * 3, abs=0.06)


def test_the_bootstrap_agrees_with_obuchowski() -> None:
    rng = RNG(4)
    patients = np.repeat(np.arange(400), 2)
    labels = rng.integers(0, 2, 400)[patients]
    scores = labels + rng.normal(size=400)[patients] + 0.3 * rng.normal(size=800)

    found = bootstrap_auc(labels, scores, clusters=patients, seed=1)

    exact = auc(labels, scores, clusters=patients)
    assert found.value == exact.value
    assert found.variance == pytest.approx(exact.variance, rel=0.1)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.01)
    assert (found.n, found.n_clusters, found.unit) == (800, 400, "image")


def test_the_paired_bootstrap_agrees_with_delong() -> None:
    labels, scores = cohort(5, 400)
    other = scores + RNG(6).normal(size=400)

    found = bootstrap_auc_difference(labels, scores, other, seed=1)

    exact = compare_aucs(labels, scores, other)
    assert found.difference == exact.difference
    assert found.variance == pytest.approx(exact.variance, rel=0.1)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_the_same_seed_gives_the_same_interval() -> None:
    labels, scores = cohort(7)

    first, again, other = (
        bootstrap_auc(labels, scores, seed=seed, n_resamples=100) for seed in (1, 1, 2)
    )

    assert first == again
    assert first.low != other.low


@pytest.mark.parametrize(
    ("labels", "value"), [([1, 1], math.nan), ([], math.nan), ([1, 0, 0], 1.0)]
)
def test_a_class_of_one_patient_or_none_has_no_interval(
    labels: list[int], value: float
) -> None:
    found = bootstrap_auc(labels, labels, seed=1, n_resamples=10)

    assert found.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.n == len(labels)


def test_useless_scores_give_a_half_without_width() -> None:
    found = bootstrap_auc([0, 0, 1, 1], [1, 1, 1, 1], seed=1, n_resamples=10)

    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_no_resample_is_refused() -> None:
    with pytest.raises(ThyroidFLError, match="n_resamples"):
        bootstrap_auc([0, 1], [0, 1], seed=1, n_resamples=0)


def test_undefined_resamples_leave_no_interval_if_they_are_many() -> None:
    values = np.arange(100.0)

    few, many = values.copy(), values.copy()
    few[:5], many[:6] = np.nan, np.nan

    assert percentiles(few, 0.9)[0] == pytest.approx(np.quantile(values[5:], 0.05))
    assert math.isnan(percentiles(many, 0.9)[0])


def test_p_is_twice_the_smaller_share_and_never_0() -> None:
    assert share_beyond(np.array([-1.0, 1, 2, 3])) == 0.5
    assert share_beyond(np.array([1.0, 2, 3])) == 0.25
    assert share_beyond(np.zeros(3)) == 1
    assert math.isnan(share_beyond(np.array([1.0, math.nan])))


def test_a_threshold_that_separates_has_both_rates_1() -> None:
    found = reoptimised_bootstrap([0, 0, 1, 1], [1, 2, 3, 4], seed=1, n_resamples=50)

    assert found.threshold == 2.5
    for estimate in (found.sensitivity, found.specificity):
        assert (estimate.low, estimate.value, estimate.high) == (1, 1, 1)


def test_the_threshold_is_chosen_anew_in_every_resample() -> None:
    labels, scores = cohort(8, 60)
    patients = np.arange(60) // 2

    found = reoptimised_bootstrap(
        labels, scores, clusters=patients, seed=3, n_resamples=200
    )

    cases = read_cases(labels, scores, clusters=patients)
    times = draw_patients(patient_strata(cases), 200, RNG(3))[:, patients]
    rates = []
    for weights in times:
        y, s = np.repeat(labels, weights), np.repeat(scores, weights)
        threshold = youden_threshold(y, s)
        rates.append((np.mean(s[y == 1] >= threshold), np.mean(s[y == 0] < threshold)))
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    assert (found.sensitivity.low, found.specificity.low) == pytest.approx(tuple(low))
    assert (found.sensitivity.high, found.specificity.high) == pytest.approx(
        tuple(high)
    )
    threshold = youden_threshold(labels, scores)
    assert found.threshold == threshold
    assert found.sensitivity.value == np.mean(scores[labels == 1] >= threshold)
    assert found.specificity.value == np.mean(scores[labels == 0] < threshold)


def test_choosing_anew_is_as_wide_as_procs_at_the_papers_size() -> None:
    # 639 malignant and 381 benign patients, AUC .90: pROC's ci.coords(x = "best") had a
    # mean width of about .09 in simulation, Wilson's is .04.
    rng = RNG(9)
    labels = np.repeat([1, 0], [639, 381])
    widths = []
    for _ in range(5):
        scores = 1.8124 * labels + rng.normal(size=1020)
        found = reoptimised_bootstrap(labels, scores, seed=1, n_resamples=500)
        widths.append(found.sensitivity.high - found.sensitivity.low)

    fixed = proportion(588, 639)

    assert np.mean(widths) == pytest.approx(0.09, abs=0.035)
    assert np.mean(widths) > 1.5 * (fixed.high - fixed.low)


def test_reoptimised_limits() -> None:
    one_class = reoptimised_bootstrap([1, 1], [0.1, 0.2], seed=1, n_resamples=10)
    lone = reoptimised_bootstrap([1, 0, 0], [0.3, 0.1, 0.2], seed=1, n_resamples=10)

    assert math.isnan(one_class.threshold)
    assert math.isnan(one_class.sensitivity.value)
    assert (one_class.sensitivity.n, one_class.specificity.n) == (2, 0)
    assert math.isnan(lone.sensitivity.low)
    assert lone.sensitivity.value == lone.specificity.low == 1
