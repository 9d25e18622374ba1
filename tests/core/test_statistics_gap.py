"""Groups of patients that share nobody: the gap, and the worst hospitals."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_ind_from_stats

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    GroupOutcome,
    RandomEffects,
    compare_independent_aucs,
    group_auc,
    group_mean,
    independent_difference,
    mean_auc,
    mean_of_estimates,
    mean_over_seeds,
    new_hospital_gap,
    proportion,
    random_effects_mean,
    share_below,
    two_stage_gap,
    worst_mean,
)
from thyroid_fl.statistics.estimate import Estimate


def group(*by_seed: float, variance: float = 0.01, n: int = 21) -> GroupOutcome:
    return GroupOutcome(by_seed=np.array(by_seed), variance=variance, n=n)


def sites(
    seed: int, n_sites: int, spread: float, n: int = 40
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and sites; how good the scores are differs between sites."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(n_sites), n)
    labels = rng.integers(0, 2, len(site))
    skill = 1 + spread * rng.normal(size=n_sites)[site]
    return labels, skill * labels + rng.normal(size=len(site)), site


def test_the_difference_by_hand() -> None:
    found = independent_difference([(group(0.9), group(0.8, variance=0.03, n=11))])

    # Satterthwaite: .04^2 / (.01^2 / 20 + .03^2 / 10).
    assert found.difference == pytest.approx(0.1)
    assert found.variance == pytest.approx(0.04)
    assert found.df == pytest.approx(0.0016 / (0.0001 / 20 + 0.0009 / 10))
    assert found.n == 32


def test_one_seed_is_unpaired_delong() -> None:
    labels, scores, _ = sites(1, 4, 0)
    first, second = slice(0, 70), slice(70, 160)

    found = independent_difference(
        [
            (
                group_auc(labels[first], scores[first]),
                group_auc(labels[second], scores[second]),
            )
        ]
    )

    expected = compare_independent_aucs(
        labels[first], scores[first], labels[second], scores[second]
    )
    for name in ("difference", "low", "high", "p_value", "df", "n", "n_positive"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12)


def test_of_means_it_is_welchs_t_test() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=12), rng.normal(size=30) * 2

    found = independent_difference(
        [(group_mean(a, range(12)), group_mean(b, range(30)))]
    )

    expected = ttest_ind(a, b, equal_var=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)


def test_seeds_add_the_spread_of_their_differences() -> None:
    same = independent_difference([(group(0.9, 0.8), group(0.7, 0.6))])
    other = independent_difference(
        [(group(0.9, 0.8), group(0.7, 0.6))], same_models=False
    )

    # Both differences are .2; the spread of either group is .005, / 2 seeds.
    assert same.variance == pytest.approx(0.02)
    assert other.variance == pytest.approx(0.02 + 2 * 0.0025)
    assert same.difference == other.difference == pytest.approx(0.2)


def test_folds_are_independent() -> None:
    one = (group(0.9), group(0.8))

    found = independent_difference([one, one])

    assert found.variance == pytest.approx(0.02 / 2)
    assert found.difference == pytest.approx(0.1)


def test_swapping_the_groups_turns_the_sign() -> None:
    a, b = group(0.9, n=40), group(0.7)

    there, back = independent_difference([(a, b)]), independent_difference([(b, a)])

    assert there.difference == -back.difference
    assert (there.low, there.p_value) == (-back.high, back.p_value)


def test_group_outcomes_are_those_of_the_means() -> None:
    rng = np.random.default_rng(3)
    labels, patients = np.tile([0, 1], 30), np.arange(60) // 2
    scores = labels[:, None] + rng.normal(size=(60, 3))

    of_auc = group_auc(labels, scores, patients)
    of_mean = group_mean(scores, patients)

    mean = mean_auc([(labels, scores, patients)])
    between = of_auc.by_seed.var(ddof=1) / 3
    assert of_auc.by_seed.mean() == pytest.approx(mean.value)
    assert of_auc.variance + between == pytest.approx(mean.variance)
    over = mean_over_seeds([(scores, patients)])
    between = of_mean.by_seed.var(ddof=1) / 3
    assert of_mean.by_seed.mean() == pytest.approx(over.value)
    assert of_mean.variance + between == pytest.approx(over.variance)


def test_a_group_without_a_class_gives_nan_with_its_n() -> None:
    found = independent_difference(
        [(group_auc([1, 1], [0.1, 0.2]), group_auc([0, 1, 0], [0.1, 0.2, 0.3]))]
    )

    assert math.isnan(found.difference)
    assert math.isnan(found.p_value)
    assert (found.n, found.n_positive) == (5, 3)
    assert math.isnan(group_mean([], []).by_seed[0])


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ThyroidFLError, match="no fold"):
        independent_difference([])
    with pytest.raises(ThyroidFLError, match="seeds"):
        independent_difference([(group(0.9, 0.8), group(0.7))])


def test_the_gap_of_a_new_hospital_by_hand() -> None:
    # Without differences between equal variances Hartung-Knapp's is s^2 / k.
    inside = random_effects_mean([0.85, 0.95], [0.01, 0.01])
    outside = random_effects_mean([0.7, 0.8, 0.75], [0.01] * 3)

    found = new_hospital_gap(inside, outside)

    expected = ttest_ind_from_stats(
        0.9, math.sqrt(0.005), 2, 0.75, 0.05, 3, equal_var=False
    )
    assert found.difference == pytest.approx(0.15)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    reach = math.hypot(
        outside.prediction_high - outside.value, inside.high - inside.value
    )
    assert found.prediction_high - found.difference == pytest.approx(reach)


def test_few_hospitals_leave_no_gap_for_a_new_one() -> None:
    inside = random_effects_mean([0.8, 0.9, 0.8], [0.01] * 3)
    two, one = (random_effects_mean([0.7] * k, [0.01] * k) for k in (2, 1))

    of_two, of_one = new_hospital_gap(inside, two), new_hospital_gap(inside, one)

    assert math.isfinite(of_two.low)
    assert math.isnan(of_two.prediction_low)
    assert of_one.difference == pytest.approx(inside.value - 0.7)
    assert math.isnan(of_one.low)
    none: RandomEffects = random_effects_mean([], [])
    assert math.isnan(new_hospital_gap(inside, none).difference)


def test_two_stages_are_wider_where_hospitals_differ() -> None:
    inside, alike, differing = sites(1, 30, 0), sites(2, 15, 0), sites(3, 15, 0.8)
    widths, welch = [], []
    for outside in (alike, differing):
        y, s, h = (np.concatenate(pair) for pair in zip(inside, outside, strict=True))
        is_external = np.repeat([False, True], [len(inside[0]), len(outside[0])])
        found = two_stage_gap(
            y, s, h + 100 * is_external, is_external, seed=1, n_resamples=500
        )
        pair = (group_auc(*inside[:2]), group_auc(*outside[:2]))
        patients_only = independent_difference([pair])
        assert found.difference == pytest.approx(patients_only.difference)
        widths.append(found.high - found.low)
        welch.append(patients_only.high - patients_only.low)

    # Drawing hospitals, then patients, doubles the external patients' part even if
    # hospitals are alike.
    assert widths[0] < 1.4 * welch[0]
    assert widths[1] > 1.7 * welch[1]


def test_two_stages_say_when_hospitals_are_few_and_are_nan_without_a_class() -> None:
    y, s, h = sites(4, 6, 0)
    found = two_stage_gap(y, s, h, h > 3, seed=1, n_resamples=50)
    seeds = np.column_stack([s, s])
    of_seeds = two_stage_gap(y, seeds, h, h > 3, seed=1, n_resamples=50)
    nobody = two_stage_gap(y, s, h, h < 0, seed=1, n_resamples=50)

    assert found.method.endswith("too narrow: fewer than 10 hospitals")
    assert (of_seeds.low, of_seeds.high) == pytest.approx((found.low, found.high))
    assert math.isnan(nobody.difference)
    assert math.isnan(nobody.p_value)
    with pytest.raises(ThyroidFLError, match="sides"):
        two_stage_gap(y, s, h, [True], seed=1, n_resamples=50)


def test_the_worst_by_hand() -> None:
    # Three hospitals at 95 %: each has z of 1 - .05 / 6.
    found = worst_mean([0.9, 0.7, 0.8], [0.01, 0.01, 0.04])

    assert found.value == 0.7
    assert found.low == pytest.approx(0.8 - 2.3940 * 0.2, abs=1e-4)
    assert found.high == pytest.approx(0.7 + 2.3940 * 0.1, abs=1e-4)
    assert found.n == 3


def test_the_worst_decile_is_rounded_up() -> None:
    values = np.arange(30) / 100

    assert worst_mean(values, np.zeros(30), share=0.1).value == pytest.approx(0.01)
    assert worst_mean(values, np.zeros(30), share=1).value == values.mean()
    assert "worst 4 of 31" in worst_mean(np.ones(31), np.zeros(31), share=0.1).method


def test_the_interval_holds_the_worst_truth() -> None:
    rng = np.random.default_rng(5)
    covered, below = [], []
    for _ in range(400):
        truth, sd = rng.normal(size=20), 0.5
        found = worst_mean(truth + sd * rng.normal(size=20), np.full(20, sd**2))
        covered.append(found.low <= truth.min() <= found.high)
        below.append(found.value < truth.min())

    assert np.mean(covered) >= 0.95
    assert np.mean(below) > 0.6  # the value itself is too low, as documented


def test_worst_limits() -> None:
    nothing = worst_mean([], [])
    some = worst_mean([0.5, math.nan], [0.01, 0.01])
    no_variance = worst_mean([0.5, 0.6], [math.nan, 0.01])

    assert math.isnan(nothing.value)
    assert (some.value, some.n) == (0.5, 1)
    assert no_variance.value == 0.5
    assert math.isnan(no_variance.low)
    with pytest.raises(ThyroidFLError, match="share"):
        worst_mean([0.5], [0.1], share=2)


def test_the_share_below_is_a_proportion_of_hospitals() -> None:
    found = share_below([0.5, 0.7, 0.9, math.nan], 0.7)

    wilson = proportion(1, 3)
    assert (found.value, found.low, found.high) == (1 / 3, wilson.low, wilson.high)
    assert (found.n, found.unit) == (3, "hospital")
    assert math.isnan(share_below([0.5], math.nan).value)


def test_the_mean_of_estimates_by_hand() -> None:
    def estimate(value: float, variance: float) -> Estimate:
        return Estimate(value, 0, 1, 50, "as it is", "patient", variance, 20)

    found = mean_of_estimates([[estimate(0.6, 0.04), estimate(0.8, 0.16)]])

    # Mean standard error .3; between seeds .02 / 2.
    assert found.value == pytest.approx(0.7)
    assert found.variance == pytest.approx(0.09 + 0.01)
    assert (found.n, found.n_positive) == (50, 20)
    lone = mean_of_estimates([[estimate(0.6, 0.04)], [estimate(0.8, 0.04)]])
    assert lone.variance == pytest.approx(0.02)
    assert lone.n == 100
    assert math.isnan(mean_of_estimates([[estimate(math.nan, 0.1)]]).value)
    with pytest.raises(ThyroidFLError, match="fold"):
        mean_of_estimates([[]])
