"""What a detector does at one threshold, by hand and against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    DetectionCounts,
    Detections,
    best_f1_threshold,
    clustered_mean,
    detection_counts,
    detection_rate,
    match_detections,
)
from thyroid_fl.statistics.operating_point import Rate

BOX, ELSEWHERE = [0, 0, 10, 10], [50, 50, 60, 60]


def run_of(*pictures: tuple[float | None, float | None, str]) -> Detections:
    """One nodule a picture; the score of the right box, of a wrong one, the patient."""
    return match_detections(
        (
            [b for b, s in ((BOX, hit), (ELSEWHERE, alarm)) if s is not None],
            [s for s in (hit, alarm) if s is not None],
            [BOX],
            patient,
        )
        for hit, alarm, patient in pictures
    )


def simulated(n: int, seed: int) -> Detections:
    rng = np.random.default_rng(seed)
    return run_of(
        *((1 + rng.normal(), rng.normal(), str(rng.integers(n // 2))) for _ in range(n))
    )


RUN = run_of((0.9, 0.3, "a"), (0.6, None, "b"), (None, 0.7, "b"), (0.2, None, "c"))


def test_counts_by_hand() -> None:
    assert detection_counts(RUN, 0.6) == DetectionCounts(2, 1, 2, 4)
    assert detection_counts(RUN, -math.inf) == DetectionCounts(3, 2, 1, 4)
    assert detection_counts(RUN, math.inf) == DetectionCounts(0, 0, 4, 4)


@pytest.mark.parametrize(
    ("rate", "expected", "n", "unit"),
    [
        ("f1", 4 / 7, 4, "nodule"),
        ("sensitivity", 2 / 4, 4, "nodule"),
        ("false_positives_per_picture", 1 / 4, 4, "image"),
    ],
)
def test_rates_by_hand(rate: Rate, expected: float, n: int, unit: str) -> None:
    found = detection_rate(rate, [RUN], [0.6])

    assert found.value == pytest.approx(expected)
    assert (found.n, found.unit, found.n_clusters) == (n, unit, 3)
    assert found.low <= found.value <= found.high


def test_f1_is_that_of_scikit_learn_with_the_missed_as_negative_calls() -> None:
    run = simulated(50, seed=1)
    threshold = 0.8
    counts = detection_counts(run, threshold)
    truth = np.repeat(
        [1, 0, 1], [counts.true_positives, counts.false_positives, counts.misses]
    )
    calls = np.repeat(
        [1, 1, 0], [counts.true_positives, counts.false_positives, counts.misses]
    )

    found = detection_rate("f1", [run], [threshold])

    assert found.value == pytest.approx(f1_score(truth, calls))


def test_the_best_threshold_is_the_best_of_all() -> None:
    run = simulated(60, seed=2)

    best = best_f1_threshold(run)

    f1 = [detection_rate("f1", [run], [t], n_resamples=1).value for t in run.scores]
    assert detection_rate("f1", [run], [best], n_resamples=1).value == max(f1)


def test_of_equal_optima_the_largest_threshold_wins() -> None:
    # 2 of 2 right at 0.5: F1 4/6; 3 right of 5 at any lower threshold: 6/9.
    run = run_of((0.9, 0.4, "a"), (0.5, 0.4, "b"), (0.3, None, "c"), (None, None, "d"))

    assert best_f1_threshold(run) == pytest.approx(0.45)


def test_the_best_threshold_separates_neighbouring_floats() -> None:
    low = 1.0
    high = float(np.nextafter(low, 2))

    assert best_f1_threshold(run_of((high, low, "a"))) == high


def test_limits_of_the_best_threshold() -> None:
    no_truth = match_detections([([BOX], [0.5], [], "a")])

    assert math.isnan(best_f1_threshold(no_truth))
    assert best_f1_threshold(run_of((None, 0.5, "a"))) == math.inf
    assert best_f1_threshold(run_of((None, None, "a"))) == math.inf
    assert best_f1_threshold(run_of((0.5, None, "a"))) == -math.inf


def test_an_unknown_threshold_leaves_the_rate_unknown() -> None:
    found = detection_rate("f1", [RUN], [math.nan])

    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.n == 4
    with pytest.raises(ThyroidFLError, match="threshold is NaN"):
        detection_counts(RUN, math.nan)


def test_without_nodules_only_false_alarms_have_a_rate() -> None:
    run = match_detections([([BOX], [0.5], [], "a"), ([], [], [], "b")])

    alarms = detection_rate("false_positives_per_picture", [run], [0.5])

    assert (alarms.value, alarms.low, alarms.high, alarms.n) == (0.5, 0, 1, 2)
    assert math.isnan(detection_rate("f1", [run], [0.5]).value)
    assert math.isnan(detection_rate("sensitivity", [run], [0.5]).value)


def test_the_bootstrap_agrees_with_the_clustered_mean() -> None:
    run = simulated(300, seed=3)
    is_kept = run.scores[run.is_true] >= 0.8  # every nodule has a detection
    patients = run.cluster[run.is_true]

    found = detection_rate("sensitivity", [run], [0.8])

    other = clustered_mean(is_kept.astype(float), patients)
    assert found.value == pytest.approx(other.value)
    assert found.variance == pytest.approx(other.variance, rel=0.1)


def test_each_run_has_its_own_threshold() -> None:
    found = detection_rate("sensitivity", [RUN, RUN], [0.6, math.inf])

    assert found.value == pytest.approx((2 / 4 + 0) / 2)
    assert found == detection_rate("sensitivity", [RUN, RUN], [0.6, math.inf])
    with pytest.raises(ThyroidFLError, match="1 thresholds for 2 runs"):
        detection_rate("f1", [RUN, RUN], [0.6])
    with pytest.raises(ThyroidFLError, match="sensitivity"):
        detection_rate("recall", [RUN], [0.6])  # type: ignore[arg-type]
