"""Calibration, Brier score and decision curve, by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, confusion_matrix

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    brier,
    calibration,
    calibration_curve,
    clustered_mean,
    decision_curve,
    proportion,
)


def cohort(seed: int, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    said = expit(rng.normal(size=n))
    return (rng.random(n) < expit(0.5 + 0.7 * logit(said))).astype(int), said


def test_the_line_through_two_groups_by_hand() -> None:
    # One of four malignant where .2 was said, three of four where .8 was said.
    labels, said = [1, 0, 0, 0, 1, 1, 1, 0], [0.2] * 4 + [0.8] * 4

    found = calibration(labels, said)

    assert found.slope.value == pytest.approx(math.log(3) / math.log(4))
    assert found.intercept.value == pytest.approx(0, abs=1e-9)
    assert found.in_the_large.value == pytest.approx(0, abs=1e-9)
    # Each group tells its logit with variance 1 / (4 x 3/4 x 1/4) = 4/3.
    assert found.slope.variance == pytest.approx(8 / 3 / (2 * math.log(4)) ** 2)


def test_calibration_in_the_large_by_hand() -> None:
    # Three of four malignant where one half was said of all: logit(3/4), variance 4/3.
    found = calibration([1, 1, 1, 0], [0.5] * 4)

    assert found.in_the_large.value == pytest.approx(math.log(3))
    assert found.in_the_large.variance == pytest.approx(4 / 3)
    assert math.isnan(found.slope.value)
    assert "do not overlap" in found.slope.method


def test_the_line_is_that_of_sklearn() -> None:
    labels, said = cohort(1)
    terms = logit(said)[:, None]
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(terms, labels)

    found = calibration(labels, said)

    assert found.slope.value == pytest.approx(fit.coef_[0, 0], abs=1e-5)
    assert found.intercept.value == pytest.approx(fit.intercept_[0], abs=1e-5)
    p = fit.predict_proba(terms)[:, 1]
    design = np.column_stack([np.ones(len(p)), terms])
    covariance = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    assert found.slope.variance == pytest.approx(covariance[1, 1], rel=1e-4)
    assert found.intercept.variance == pytest.approx(covariance[0, 0], rel=1e-4)
    # At the maximum as many are expected as there are.
    shifted = expit(logit(said) + found.in_the_large.value)
    assert shifted.sum() == pytest.approx(labels.sum())


def test_the_intervals_of_the_slope_cover() -> None:
    slopes = [calibration(*cohort(seed, 300)).slope for seed in range(200)]

    covered = np.mean([one.low <= 0.7 <= one.high for one in slopes])

    assert covered == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize(
    ("labels", "said"),
    [([1, 1], [0.2, 0.8]), ([], []), ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9])],
)
def test_calibration_without_overlap_is_nan(
    labels: list[int], said: list[float]
) -> None:
    found = calibration(labels, said)

    assert math.isnan(found.slope.value)
    assert math.isnan(found.intercept.low)
    assert found.slope.n == len(labels)
    assert math.isnan(found.in_the_large.value) == (len(set(labels)) < 2)


def test_certain_probabilities_are_cut_and_counted() -> None:
    found = calibration([0, 1, 1, 0], [0.0, 1.0, 0.3, 0.6])

    assert math.isfinite(found.slope.value)
    assert found.slope.method.endswith("2 probabilities cut to 1e-06 from 0 or 1")


@pytest.mark.parametrize("function", [calibration, brier, decision_curve])
def test_scores_that_are_no_probabilities_are_refused(function: object) -> None:
    with pytest.raises(ThyroidFLError, match="probability"):
        function([0, 1], [-1.5, 2.0])  # type: ignore[operator]


def test_the_curve_by_hand() -> None:
    found = calibration_curve([0, 1, 1, 1], [0.1, 0.3, 0.6, 0.8], n_bins=2)

    assert found.predicted == pytest.approx([0.2, 0.7])
    assert found.observed.tolist() == [0.5, 1]
    assert found.n.tolist() == [2, 2]
    half = proportion(1, 2)
    assert (found.low[0], found.high[0]) == (half.low, half.high)


def test_equal_probabilities_share_a_bin() -> None:
    labels, said = cohort(2, 200)

    found = calibration_curve(labels, np.round(said, 1), n_bins=10)

    assert found.n.sum() == 200
    assert len(found.n) <= 10
    assert np.all(np.diff(found.predicted) > 0)
    assert found.predicted @ found.n == pytest.approx(np.round(said, 1).sum())
    assert calibration_curve(labels, [0.5] * 200).n.tolist() == [200]
    assert len(calibration_curve([], []).n) == 0


def test_brier_is_that_of_sklearn_and_the_sum_of_its_parts() -> None:
    labels, said = cohort(3)

    found = brier(labels, said)

    assert found.score.value == pytest.approx(brier_score_loss(labels, said))
    curve = calibration_curve(labels, said)
    order = np.argsort(said)
    bins = np.split(order, np.cumsum(curve.n)[:-1])
    within = sum(
        len(rows)
        * (np.var(said[rows]) - 2 * np.cov(said[rows], labels[rows], ddof=0)[0, 1])
        for rows in bins
    )
    assert found.within == pytest.approx(within / len(labels))
    assert found.uncertainty == pytest.approx(np.var(labels))
    assert found.score.low < found.score.value < found.score.high


def test_brier_limits() -> None:
    assert math.isnan(brier([], []).score.value)
    assert math.isnan(brier([], []).resolution)
    perfect = brier([0, 1, 1], [0, 1, 1])
    assert (perfect.score.value, perfect.reliability) == (0, 0)
    assert perfect.resolution == pytest.approx(perfect.uncertainty)


def test_net_benefit_by_hand() -> None:
    found = decision_curve([1, 0, 0, 1], [0.9, 0.6, 0.2, 0.4], thresholds=[0.2, 0.5])

    # At .2 all four are positive: 2/4 - 2/4 x 1/4. At .5 one is right and one wrong.
    assert found.net_benefit == pytest.approx([0.375, 0])
    assert found.treat_all == pytest.approx([0.375, 0])
    assert found.gain == pytest.approx([0, 0])
    assert found.gain_low[0] == 0


def test_net_benefit_is_that_of_the_confusion_matrix() -> None:
    labels, said = cohort(4)
    cut = np.array([0.1, 0.35, 0.7])

    found = decision_curve(labels, said, thresholds=cut)

    for k, t in enumerate(cut):
        _, fp, _, tp = confusion_matrix(labels, said >= t).ravel()
        assert found.net_benefit[k] == pytest.approx((tp - fp * t / (1 - t)) / 500)
        everyone = labels.mean() - (1 - labels.mean()) * t / (1 - t)
        assert found.treat_all[k] == pytest.approx(everyone)
        expected = found.net_benefit[k] - max(everyone, 0)
        assert found.gain[k] == pytest.approx(expected)
        worth = (said >= t) * np.where(labels == 1, 1, -t / (1 - t))
        mean = clustered_mean(worth, range(500))
        assert (found.low[k], found.high[k]) == pytest.approx((mean.low, mean.high))


def test_decision_curve_limits() -> None:
    nobody = decision_curve([], [])
    lone = decision_curve([1], [0.5], thresholds=[0.3])

    assert np.isnan(nobody.net_benefit).all()
    assert nobody.n == 0
    assert lone.net_benefit == [1]
    assert np.isnan(lone.low).all()
    with pytest.raises(ThyroidFLError, match="threshold"):
        decision_curve([1], [0.5], thresholds=[1.0])
