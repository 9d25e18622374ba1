"""Obuchowski-Rockette: by hand, by brute force, by identities, by simulation."""

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import chi2, f

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics import auc, compare_aucs, compare_readings
from thyroid_fl.statistics import multi_reader as module

AUCS = np.array([[0.8, 0.9], [0.7, 0.7]])  # (arms, readers)


def hand_covariances():
    """Variance .004, cov1 .002, cov2 .0015, cov3 .001."""
    found = np.empty((2, 2, 2, 2))
    for i, j, k, m in product(range(2), repeat=4):
        found[i, j, k, m] = {
            (True, True): 0.004,
            (False, True): 0.002,
            (True, False): 0.0015,
            (False, False): 0.001,
        }[i == k, j == m]
    return found


def study(seed, *, arms=2, readers=4, n=60, gain=0.0, taste=0.0, ties=True):
    """Return labels and scores (arms, readers, cases) with shared noise.

    `gain` is what the first arm adds for all readers, `taste` the spread of what an arm
    adds for a single one.
    """
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(int)
    case = rng.normal(size=n)
    own = rng.normal(size=(1, readers, n))
    skill = 1.2 + 0.3 * rng.normal(size=(1, readers, 1))
    if taste:
        skill = skill + taste * rng.normal(size=(arms, readers, 1))
    latent = labels * skill + 0.6 * case + 0.6 * own
    latent = latent + 0.6 * rng.normal(size=(arms, readers, n))
    latent[0] += gain * labels
    return labels, np.round(latent * 2) if ties else latent


def test_a_worked_example():
    moments = module._moments(AUCS, hand_covariances())

    assert moments.ms_arm == pytest.approx(0.0225)
    assert moments.ms_interaction == pytest.approx(0.0025)
    names = ("variance", "cov1", "cov2", "cov3")
    assert [getattr(moments, name) for name in names] == pytest.approx(
        [0.004, 0.002, 0.0015, 0.001]
    )
    f_random, ddf, p_random = module._test(moments, "random")
    assert f_random == pytest.approx(0.0225 / 0.0035)
    assert ddf == pytest.approx(0.0035**2 / 0.0025**2)
    assert p_random == pytest.approx(f.sf(0.0225 / 0.0035, 1, 1.96))
    f_fixed, infinite, p_fixed = module._test(moments, "fixed")
    assert (f_fixed, infinite) == (pytest.approx(9), math.inf)
    assert p_fixed == pytest.approx(chi2.sf(9, 1))
    (difference,) = module._differences(moments, "random", 0.95, 10, 5)
    assert difference.difference == pytest.approx(0.15)
    assert difference.variance == pytest.approx(0.0035)
    assert difference.p_value == pytest.approx(p_random)


@pytest.mark.parametrize(("arms", "readers"), [(2, 3), (3, 4)])
def test_the_analysis_is_the_one_written_out_in_loops(arms, readers):
    labels, scores = study(3, arms=arms, readers=readers)
    flat = scores.reshape(arms * readers, -1)
    aucs = np.array([auc(labels, s).value for s in flat])
    variances = np.array([auc(labels, s).variance for s in flat])
    sums: dict[tuple[bool, bool], list[float]] = {}
    for a, b in product(range(len(flat)), repeat=2):
        if a == b:
            continue
        paired = compare_aucs(labels, flat[a], flat[b]).variance
        kind = (a // readers == b // readers, a % readers == b % readers)
        covariance = (variances[a] + variances[b] - paired) / 2
        sums.setdefault(kind, []).append(covariance)

    found = compare_readings(labels, scores)

    assert found.variance == pytest.approx(variances.mean())
    assert found.cov1 == pytest.approx(np.mean(sums[False, True]))
    assert found.cov2 == pytest.approx(np.mean(sums[True, False]))
    assert found.cov3 == pytest.approx(np.mean(sums[False, False]))
    table = aucs.reshape(arms, readers)
    noise = found.ms_interaction + readers * max(found.cov2 - found.cov3, 0)
    ms_arm = readers * np.var(table.mean(axis=1), ddof=1)
    assert found.f == pytest.approx(ms_arm / noise)
    free = (arms - 1) * (readers - 1)
    assert found.ddf == pytest.approx(noise**2 / (found.ms_interaction**2 / free))
    assert found.p_value == pytest.approx(f.sf(found.f, arms - 1, found.ddf))
    means = [estimate.value for estimate in found.aucs]
    assert means == pytest.approx(table.mean(axis=1))
    assert len(found.differences) == math.comb(arms, 2)


def test_one_fixed_reader_is_the_paired_test_of_delong():
    labels, scores = study(4, readers=1)
    patients = np.repeat(np.arange(30), 2)

    for clusters in (None, patients):
        found = compare_readings(labels, scores, clusters=clusters, readers="fixed")
        paired = compare_aucs(labels, scores[0, 0], scores[1, 0], clusters=clusters)

        (difference,) = found.differences
        assert found.f == pytest.approx(paired.statistic**2)
        assert found.p_value == pytest.approx(paired.p_value)
        assert difference.low == pytest.approx(paired.low)
        single = auc(labels, scores[0, 0], clusters=clusters)
        assert found.aucs[0].variance == pytest.approx(single.variance)


def test_order_of_readers_cases_and_scale_do_not_matter():
    labels, scores = study(5)
    rng = np.random.default_rng(1)
    cases = rng.permutation(len(labels))

    found = compare_readings(labels, scores)
    shuffled = compare_readings(
        labels[cases], np.exp(scores[:, rng.permutation(4)][:, :, cases])
    )

    assert shuffled.f == pytest.approx(found.f)
    assert shuffled.p_value == pytest.approx(found.p_value)


def test_the_other_order_of_arms_turns_the_difference():
    labels, scores = study(6)

    found = compare_readings(labels, scores)
    turned = compare_readings(labels, scores[::-1])

    assert turned.p_value == pytest.approx(found.p_value)
    assert turned.differences[0].low == pytest.approx(-found.differences[0].high)


def test_arms_that_are_the_same_do_not_differ():
    labels, scores = study(7)
    scores[1] = scores[0]

    for readers in ("random", "fixed"):
        found = compare_readings(labels, scores, readers=readers)

        assert found.p_value == 1
        assert found.differences[0].low == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("spoil", ["one reader", "one class"])
def test_what_is_undefined_is_nan_with_its_number(spoil):
    labels, scores = study(8)
    if spoil == "one reader":
        scores = scores[:, :1]
    else:
        labels = np.ones_like(labels)

    found = compare_readings(labels, scores)

    assert math.isnan(found.p_value)
    assert math.isnan(found.differences[0].low)
    assert found.differences[0].n == len(labels)


def test_shapes_that_do_not_fit_are_refused():
    labels, scores = study(9)

    with pytest.raises(ConfigError, match="at least two arms"):
        compare_readings(labels, scores[:1])
    with pytest.raises(ConfigError, match="expected random or fixed"):
        compare_readings(labels, scores, readers="some")


@pytest.mark.slow
@pytest.mark.parametrize("readers", [4, 8])
def test_the_error_of_the_first_kind_is_near_its_level(readers):
    p_values = [
        compare_readings(*study(seed, readers=readers, n=120, ties=False)).p_value
        for seed in range(1000)
    ]

    share = np.mean(np.array(p_values) < 0.05)
    assert abs(share - 0.05) < 3 * math.sqrt(0.05 * 0.95 / 1000) + 0.01


@pytest.mark.slow
def test_fixed_readers_speak_of_themselves_only():
    """Arms suit readers differently, but none is better on the whole."""
    found = {
        readers: np.mean(
            [
                compare_readings(
                    *study(seed, n=120, taste=0.3, ties=False), readers=readers
                ).p_value
                < 0.05
                for seed in range(500)
            ]
        )
        for readers in ("random", "fixed")
    }

    assert found["random"] < 0.08
    assert found["fixed"] > 0.3


@pytest.mark.slow
def test_a_difference_is_found():
    p_values = [
        compare_readings(*study(seed, n=200, gain=0.6, ties=False)).p_value
        for seed in range(200)
    ]

    assert np.mean(np.array(p_values) < 0.05) > 0.8
