"""Sample size and power: the published table, brute force, simulation, limits."""

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from thyroid_fl.errors import ConfigError
from thyroid_fl.statistics import (
    Binormal,
    auc_power,
    auc_sample_size,
    auc_variance,
    compare_aucs,
    design_effect,
    paired_auc_power,
    paired_auc_sample_size,
    proc_paired_sample_size,
    proc_sample_size,
)
from thyroid_fl.statistics import binormal as exact

KAPPA = 381 / 639  # benign and malignant patients of the paper's test set
# AUCs; pROC's m/n at correlations 0 and .5; the exact m/n at 0, .3, .5 and .6.
TABLE = [
    (0.90, 0.85, [(559, 334), (358, 214)],
     [(486, 290), (372, 222), (285, 170), (238, 142)]),
    (0.90, 0.88, [(3369, 2009), (2273, 1356)],
     [(2627, 1567), (2011, 1200), (1527, 911), (1262, 753)]),
    (0.90, 0.82, [(225, 134), (138, 82)],
     [(215, 129), (166, 99), (128, 77), (109, 65)]),
    (0.95, 0.90, [(280, 167), (182, 109)],
     [(272, 163), (219, 131), (175, 105), (151, 91)]),
]  # fmt: skip


def curve(value):
    return Binormal(a=math.sqrt(2) * norm.ppf(value))


@pytest.mark.parametrize(("first", "second", "proc", "ours"), TABLE)
def test_sample_sizes_are_those_of_the_studys_table(first, second, proc, ours):
    compatible = [
        proc_paired_sample_size(
            curve(first),
            curve(second),
            correlation_malignant=rho,
            correlation_benign=rho,
            kappa=KAPPA,
        )
        for rho in (0, 0.5)
    ]
    needed = [
        paired_auc_sample_size(first, second, correlation=rho, kappa=KAPPA).whole
        for rho in (0, 0.3, 0.5, 0.6)
    ]

    # That column of the table rounds both numbers up by themselves.
    up = [
        (math.ceil(size.n_malignant), math.ceil(size.n_benign)) for size in compatible
    ]
    assert up == proc
    assert needed == ours


def test_sample_sizes_of_equal_groups_are_those_of_the_studys_table():
    found = [
        paired_auc_sample_size(0.90, 0.85, correlation=rho).whole
        for rho in (0, 0.3, 0.5, 0.6)
    ]

    assert found == [(n, n) for n in (363, 278, 213, 178)]


@pytest.mark.parametrize(
    ("second", "powers"),
    [(0.85, [0.895, 0.957, 0.988, 0.996]), (0.88, [0.281, 0.351, 0.441, 0.513])],
)
def test_the_papers_power_is_that_of_the_studys_table(second, powers):
    found = [
        paired_auc_power(0.90, second, 639, 381, correlation=rho)
        for rho in (0, 0.3, 0.5, 0.6)
    ]

    assert found == pytest.approx(powers, abs=5e-4)


@pytest.mark.parametrize("first", [0.55, 0.8, 0.95])
@pytest.mark.parametrize("second", [0.6, 0.8, 0.99])
@pytest.mark.parametrize("correlation", [-1, -0.7, 0, 0.25, 0.9, 1])
def test_the_covariance_of_two_pairs_is_the_bivariate_normals(
    first, second, correlation
):
    h, k = norm.ppf([first, second])
    if abs(correlation) < 1:
        both = multivariate_normal.cdf([h, k], cov=[[1, correlation], [correlation, 1]])
    else:
        both = min(first, second) if correlation == 1 else first + second - 1

    found = exact._covariance(first, second, correlation)

    assert found == pytest.approx(both - first * second, abs=1e-6)


def test_the_variance_is_that_of_simulated_aucs():
    rng = np.random.default_rng(1)
    distance = math.sqrt(2) * norm.ppf(0.85)
    malignant = rng.normal(distance, size=(20_000, 12))
    benign = rng.normal(size=(20_000, 9))

    aucs = (malignant[:, :, None] > benign[:, None, :]).mean(axis=(1, 2))

    assert np.var(aucs) == pytest.approx(auc_variance(0.85, 12, 9), rel=0.03)


def test_power_at_the_sample_size_is_the_power_asked_for():
    paired = paired_auc_sample_size(0.9, 0.86, correlation=0.4, power=0.9, kappa=2)
    single = auc_sample_size(0.8, reference=0.7, power=0.7, alpha=0.01)

    assert paired_auc_power(
        0.9, 0.86, paired.n_malignant, paired.n_benign, correlation=0.4
    ) == pytest.approx(0.9)
    assert auc_power(
        0.8, single.n_malignant, single.n_benign, reference=0.7, alpha=0.01
    ) == pytest.approx(0.7)


def test_scores_that_are_the_same_are_told_apart_by_no_noise():
    assert paired_auc_power(0.9, 0.8, 500, 500, correlation=1) > 0.9999


def test_order_of_the_models_does_not_matter():
    sizes = [
        paired_auc_sample_size(*pair, correlation=0.3, correlation_benign=0.6)
        for pair in ((0.9, 0.8), (0.8, 0.9))
    ]

    assert sizes[0].n_malignant == pytest.approx(sizes[1].n_malignant)


def test_proc_asks_for_more_patients_than_are_needed():
    curves = (curve(0.9), curve(0.85))
    rho = {"correlation_malignant": 0.3, "correlation_benign": 0.3}

    ours = paired_auc_sample_size(0.9, 0.85, correlation=0.3)

    assert proc_paired_sample_size(*curves, **rho).n_malignant > ours.n_malignant


def test_images_of_the_same_patients_must_be_more():
    assert design_effect(1, 0.9) == 1
    assert design_effect(2.5, 0) == 1
    assert design_effect(2.5, 1) == 2.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_auc_sample_size(0.9, 0.9, correlation=0), "both AUCs are 0.9"),
        (lambda: auc_sample_size(1.0), "AUC is 1.0; expected between 0 and 1"),
        (lambda: auc_sample_size(0.8, power=1.2), "power is 1.2"),
        (lambda: auc_sample_size(0.8, kappa=0), "kappa is 0"),
        (lambda: auc_power(0.8, 0, 5), "at least one of each"),
        (
            lambda: paired_auc_power(0.8, 0.7, 9, 9, correlation=2),
            "a correlation is 2",
        ),
        (lambda: proc_sample_size(0.5), "both AUCs are 0.5"),
        (lambda: design_effect(0.5, 0.1), "at least 1 image"),
        (
            lambda: proc_paired_sample_size(
                curve(0.9),
                curve(0.9),
                correlation_malignant=0,
                correlation_benign=0,
            ),
            "the difference is 0",
        ),
    ],
)
def test_a_design_that_cannot_be_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.slow
def test_delongs_test_has_the_power_of_the_exact_formula():
    m, n = paired_auc_sample_size(0.90, 0.85, correlation=0.5, kappa=KAPPA).whole
    rng = np.random.default_rng(2)
    distances = math.sqrt(2) * norm.ppf([0.90, 0.85])
    labels = np.r_[np.ones(m, int), np.zeros(n, int)]

    p_values = []
    for _ in range(1500):
        scores = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=m + n)
        scores += labels[:, None] * distances
        p_values.append(compare_aucs(labels, *scores.T).p_value)

    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.80, abs=0.035)
