"""The threshold to work at, and the ROC curve with its band."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from thyroid_fl.statistics import roc_curve_band, youden_threshold


def test_youden_takes_the_smallest_of_equal_optima() -> None:
    # J is 1/2 at 0.25 (2/2 + 1/2) and at 0.55 (1/2 + 2/2).
    assert youden_threshold([0, 1, 0, 1], [0.2, 0.3, 0.4, 0.7]) == pytest.approx(0.25)


def test_youden_is_the_best_of_sklearns_curve() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    scores = np.round(labels + rng.normal(size=300), 1)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)

    calls = scores >= youden_threshold(labels, scores)

    j = calls[labels == 1].mean() - calls[labels == 0].mean()
    assert j == pytest.approx((tpr - fpr).max())


def test_youden_of_useless_scores_calls_everyone_positive() -> None:
    assert youden_threshold([1, 0], [0.1, 0.9]) == -math.inf


def test_youden_is_nan_for_one_class() -> None:
    assert math.isnan(youden_threshold([1, 1], [0.1, 0.9]))
    assert math.isnan(youden_threshold([], []))


def test_youden_separates_neighbouring_floats() -> None:
    low = 1.0
    high = np.nextafter(low, 2)

    assert youden_threshold([0, 1], [low, high]) == high


def test_the_curve_is_sklearns_and_lies_in_its_band() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 200)
    scores = np.round(labels + rng.normal(size=200), 1)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)

    band = roc_curve_band(labels, scores, seed=1, n_resamples=200)

    assert band.false_positive_rate == pytest.approx(fpr)
    assert band.true_positive_rate == pytest.approx(tpr)
    at_grid = np.interp(1 - band.specificity, fpr, tpr)
    assert np.all(band.low <= at_grid + 1e-12)
    assert np.all(at_grid <= band.high + 1e-12)
    again = roc_curve_band(labels, scores, seed=1, n_resamples=200)
    assert np.array_equal(band.low, again.low)


def test_the_band_has_the_binomial_width_where_the_threshold_is_known() -> None:
    # Benign scores all equal: at specificity 1 the threshold is the same in every
    # resample, so the sensitivity is binomial, 60 of 100.
    labels = np.repeat([1, 0], 100)
    scores = np.repeat([1.0, 0.0, 0.5], [60, 40, 100])

    band = roc_curve_band(labels, scores, seed=3, n_resamples=4000)

    half = 1.96 * math.sqrt(0.6 * 0.4 / 100)
    assert band.low[-1] == pytest.approx(0.6 - half, abs=0.015)
    assert band.high[-1] == pytest.approx(0.6 + half, abs=0.015)


def test_images_of_one_patient_widen_the_band() -> None:
    rng = np.random.default_rng(4)
    labels = np.repeat(rng.integers(0, 2, 60), 5)
    scores = np.repeat(rng.normal(size=60), 5) + labels
    patients = np.repeat(np.arange(60), 5)

    naive = roc_curve_band(labels, scores, seed=1, n_resamples=300)
    clustered = roc_curve_band(
        labels, scores, seed=1, clusters=patients, n_resamples=300
    )

    widths = [np.mean(band.high - band.low) for band in (naive, clustered)]
    assert widths[1] > 1.7 * widths[0]


def test_a_curve_of_one_class_is_nan() -> None:
    band = roc_curve_band([1, 1], [0.2, 0.3], seed=1)

    assert np.all(np.isnan(band.low))
    assert np.all(np.isnan(band.true_positive_rate))
