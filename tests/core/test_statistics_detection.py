"""Matching of boxes, and the average precision, by hand and against pycocotools."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.detection import MeanAveragePrecision

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.statistics import (
    Detections,
    average_precision,
    compare_average_precisions,
    match_detections,
    precision_recall_band,
    precision_recall_curve,
)
from thyroid_fl.statistics.average_precision import (
    area_below_envelope,
    interpolated_precision,
)

Picture = tuple[Any, Any, Any, str]
BOX = [0, 0, 10, 10]
ELSEWHERE = [50, 50, 60, 60]


def picture(
    *scores: float, hits: int = 0, n_truth: int = 1, patient: str = "a"
) -> Picture:
    """A picture whose first predictions, as many as `hits`, each have a true box."""
    truth = [[100 * i, 0, 100 * i + 10, 10] for i in range(n_truth)]
    boxes = [truth[i] if i < hits else ELSEWHERE for i in range(len(scores))]
    return boxes, list(scores), truth, patient


def simulated(
    n_patients: int, skill: float, seed: int, *, name: str = "p"
) -> Detections:
    """One or two pictures a patient, of one nodule and some false alarms each."""
    rng = np.random.default_rng(seed)
    pictures: list[Picture] = []
    for patient in range(n_patients):
        quality = rng.normal()
        for _ in range(rng.integers(1, 3)):
            is_found = rng.random() < 0.85
            n_false = rng.poisson(0.7)
            scores = [skill + quality + rng.normal()] * is_found
            scores += list(rng.normal(size=n_false))
            pictures.append(
                picture(*scores, hits=int(is_found), patient=f"{name}{patient}")
            )
    return match_detections(pictures)


def value(pictures: list[Picture], interpolation: Any = "101") -> float:
    run = match_detections(pictures)
    return average_precision([run], interpolation=interpolation, n_resamples=1).value


def pycocotools(pictures: list[Picture]) -> float:
    grid = np.linspace(0, 1, 101).tolist()  # torchmetrics' own is of single precision
    metric = MeanAveragePrecision(iou_thresholds=[0.5], rec_thresholds=grid)
    for boxes, scores, truth, _ in pictures:
        metric.update(
            [
                {
                    "boxes": torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
                    "scores": torch.tensor(scores, dtype=torch.float64),
                    "labels": torch.zeros(len(scores), dtype=torch.long),
                }
            ],
            [
                {
                    "boxes": torch.tensor(truth, dtype=torch.float64).reshape(-1, 4),
                    "labels": torch.zeros(len(truth), dtype=torch.long),
                }
            ],
        )
    return float(metric.compute()["map"])


def area_by_loop(run: Detections) -> float:
    """The area below the envelope, recall by recall (VOC from 2010)."""
    n_truth = run.n_truth.sum()
    points = []
    found = 0
    for kept, is_true in enumerate(run.is_true, 1):
        found += int(is_true)
        points.append((found / n_truth, found / kept))
    area, last = 0.0, 0.0
    for i, (recall, _) in enumerate(points):
        area += (recall - last) * max(precision for _, precision in points[i:])
        last = recall
    return area


corner = st.integers(0, 6)
side = st.integers(1, 6)
box = st.tuples(corner, corner, side, side).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)
prediction = st.tuples(box, st.integers(1, 7).map(lambda eighths: eighths / 8))
drawn_picture = st.tuples(
    st.lists(prediction, max_size=6), st.lists(box, max_size=4), st.sampled_from("abc")
).map(lambda p: ([b for b, _ in p[0]], [s for _, s in p[0]], p[1], p[2]))


def test_a_true_box_is_taken_once_by_the_highest_score() -> None:
    run = match_detections([([BOX, BOX, ELSEWHERE], [0.5, 0.9, 0.7], [BOX], "a")])

    assert run.scores.tolist() == [0.9, 0.7, 0.5]
    assert run.is_true.tolist() == [True, False, False]


def test_a_prediction_takes_the_free_box_that_overlaps_most() -> None:
    # IoU of the first prediction with the true boxes: 80/100 and 100/100, of the
    # second 90/100 and 72/98: it is left with the first true box.
    truth = [[0, 0, 10, 8], [0, 0, 10, 10]]
    predicted = [[0, 0, 10, 10], [0, 0, 10, 9]]

    run = match_detections([(predicted, [0.9, 0.8], truth, "a")])

    assert run.is_true.tolist() == [True, True]


def test_an_overlap_at_the_threshold_is_a_match() -> None:
    half = [([[0, 0, 10, 5]], [0.9], [BOX], "a")]

    assert match_detections(half).is_true.tolist() == [True]
    assert match_detections(half, iou_threshold=0.51).is_true.tolist() == [False]
    same = [([BOX], [0.9], [BOX], "a")]
    assert match_detections(same, iou_threshold=1).is_true.tolist() == [True]


def test_counts_are_of_patients_not_of_pictures() -> None:
    run = match_detections(
        [
            picture(0.9, hits=1, patient="b"),
            picture(patient="a", n_truth=2),
            picture(0.2, patient="b", n_truth=0),
        ]
    )

    assert run.patients == ("b", "a")
    assert run.n_truth.tolist() == [1, 2]
    assert run.n_pictures.tolist() == [2, 1]
    assert run.cluster.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (([BOX], [], [], "a"), "one finite score a box"),
        (([BOX], [math.nan], [], "a"), "one finite score a box"),
        (([[0, 0, 10]], [0.5], [], "a"), "expected .boxes, 4."),
        (([[10, 0, 0, 10]], [0.5], [], "a"), "inside out"),
        (([], [], [[0, 0, 0, 10]], "a"), "no area"),
        (([], [], [], ""), "no patient"),
    ],
)
def test_pictures_that_cannot_be_right_are_refused(broken: Picture, words: str) -> None:
    with pytest.raises(ThyroidFLError, match=words):
        match_detections([broken])


def test_average_precision_by_hand() -> None:
    # Three true boxes; true, false, true: precision 1 to recall 1/3, 2/3 to 2/3.
    # Recalls 0 to 0.33 are 34 of the grid, 0.34 to 0.66 another 33.
    pictures = [picture(0.9, 0.7, 0.8, hits=2, n_truth=3)]

    assert value(pictures) == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert value(pictures, "continuous") == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)


def test_equal_scores_count_in_the_order_given() -> None:
    right, wrong = picture(0.5, hits=1), picture(0.5, n_truth=0)

    assert value([right, wrong]) == 1 == pytest.approx(pycocotools([right, wrong]))
    assert value([wrong, right]) == 0.5 == pytest.approx(pycocotools([wrong, right]))


@pytest.mark.parametrize("n_found", range(1, 10))
def test_a_recall_on_the_grid_is_met_where_pycocotools_meets_it(n_found: int) -> None:
    # 7 / 10 is less than the grid's 0.7000000000000001.
    pictures = [picture(*np.linspace(0.9, 0.5, n_found), hits=n_found, n_truth=10)]

    assert value(pictures) == pytest.approx(pycocotools(pictures), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn_picture, min_size=1, max_size=5))
def test_average_precision_is_that_of_pycocotools(pictures: list[Picture]) -> None:
    found = value(pictures)

    expected = pycocotools(pictures)
    if not any(truth for _, _, truth, _ in pictures):
        assert expected == -1
        assert math.isnan(found)
    else:
        assert found == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(drawn_picture, min_size=1, max_size=5))
def test_the_area_is_that_of_a_loop(pictures: list[Picture]) -> None:
    run = match_detections(pictures)
    if run.n_truth.any():
        assert value(pictures, "continuous") == pytest.approx(area_by_loop(run))


def test_limits_of_average_precision() -> None:
    no_picture = average_precision([match_detections([])])
    no_truth = average_precision([match_detections([picture(0.9, n_truth=0)])])
    no_predictions = average_precision([match_detections([picture(), picture()])])
    all_missed = average_precision([match_detections([picture(0.9)])])

    assert math.isnan(no_picture.value)
    assert (no_picture.n, no_picture.n_clusters) == (0, 0)
    assert math.isnan(no_truth.value)
    assert (no_truth.n, no_truth.n_clusters) == (0, 1)
    assert (no_predictions.value, no_predictions.n) == (0, 2)
    assert (all_missed.value, all_missed.n) == (0, 1)
    assert math.isnan(all_missed.low)  # one patient


def test_a_perfect_model_has_a_degenerate_interval() -> None:
    run = match_detections([picture(0.9, hits=1, patient=name) for name in "abc"])

    found = average_precision([run])

    assert (found.value, found.low, found.high) == (1, 1, 1)
    assert "degenerate" in found.method
    assert (found.n, found.unit, found.n_clusters) == (3, "nodule", 3)


@pytest.mark.parametrize("interpolation", ["101", "continuous"])
def test_counting_a_patient_twice_is_having_its_pictures_twice(
    interpolation: Any,
) -> None:
    rng = np.random.default_rng(5)
    pictures = [
        picture(*rng.random(3), hits=rng.integers(0, 3), n_truth=2, patient=str(i % 4))
        for i in range(10)
    ]
    run = match_detections(pictures)
    for times in rng.integers(0, 4, (5, 4)):
        copies = [p for p in pictures for _ in range(times[int(p[3])])]

        weighted = average_precision_of(run, times, interpolation)

        assert weighted == pytest.approx(value(copies, interpolation), nan_ok=True)


def average_precision_of(
    run: Detections, times: npt.NDArray[np.int64], interpolation: str
) -> float:
    rows = times[None].astype(np.int32)
    if interpolation == "101":
        return float(interpolated_precision(run, rows).mean())
    return float(area_below_envelope(run, rows)[0])


def test_the_interval_is_the_same_for_the_same_seed() -> None:
    run = simulated(40, 1.0, seed=1)

    first, again = (average_precision([run], seed=3) for _ in range(2))
    other = average_precision([run], seed=4)

    assert first == again
    assert first.low != other.low
    assert first.low < first.value < first.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth = average_precision([simulated(6000, 1.0, seed=0)], n_resamples=1).value
    held = 0
    for seed in range(1, 201):
        found = average_precision([simulated(60, 1.0, seed)], n_resamples=300)
        held += found.low <= truth <= found.high

    assert 0.88 * 200 <= held <= 0.99 * 200


def test_the_same_run_twice_is_the_run_once() -> None:
    run = simulated(40, 1.0, seed=1)

    once, twice = average_precision([run]), average_precision([run, run])

    assert (twice.value, twice.low, twice.high) == (once.value, once.low, once.high)
    assert (twice.n, twice.n_clusters) == (once.n, once.n_clusters)
    assert "mean of 2 runs" in twice.method


def test_folds_are_independent() -> None:
    folds = [simulated(80, 1.0, seed, name=f"fold{seed}-") for seed in (1, 2)]

    alone = [average_precision([fold]) for fold in folds]
    together = average_precision(folds)

    assert together.value == pytest.approx(np.mean([each.value for each in alone]))
    assert together.n == sum(each.n for each in alone)
    expected = sum(each.variance for each in alone) / 4
    assert together.variance == pytest.approx(expected, rel=0.15)


def test_a_fold_without_nodules_makes_the_mean_undefined() -> None:
    empty = match_detections([picture(0.5, n_truth=0, patient="other")])

    found = average_precision([simulated(20, 1.0, seed=1), empty])

    assert math.isnan(found.value)
    assert math.isnan(found.low)


def test_a_model_does_not_differ_from_itself() -> None:
    run = simulated(40, 1.0, seed=1)

    found = compare_average_precisions([run], [run])

    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert "degenerate" in found.method


def test_the_difference_is_paired_and_changes_sign() -> None:
    good, poor = noisier(0.0), noisier(1.5)

    found = compare_average_precisions([good], [poor])
    turned = compare_average_precisions([poor], [good])

    values = [average_precision([run]) for run in (good, poor)]
    assert found.difference == pytest.approx(values[0].value - values[1].value)
    assert found.low > 0
    assert found.p_value < 0.05
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    assert turned.p_value == found.p_value
    assert found.variance < 0.8 * sum(each.variance for each in values)


def noisier(noise: float) -> Detections:
    """The same 80 patients for any noise."""
    shared, own = np.random.default_rng(1), np.random.default_rng(2)
    pictures = []
    for patient in range(80):
        scores = shared.normal(size=2) + [1.5, 0.0] + noise * own.normal(size=2)
        pictures.append(picture(*scores, hits=1, patient=str(patient)))
    return match_detections(pictures)


def test_a_p_value_is_never_zero() -> None:
    perfect = match_detections([picture(0.9, hits=1, patient=str(i)) for i in range(9)])
    useless = match_detections([picture(0.9, patient=str(i)) for i in range(9)])

    found = compare_average_precisions([perfect], [useless], n_resamples=99)

    assert (found.difference, found.p_value) == (1, 1 / 100)


def test_no_difference_is_found_in_one_patient_or_without_nodules() -> None:
    one = match_detections([picture(0.9, hits=1)])
    none = match_detections([picture(0.9, n_truth=0, patient=name) for name in "ab"])

    for runs in ([one], [none]):
        found = compare_average_precisions(runs, runs)
        assert math.isnan(found.low)
        assert math.isnan(found.p_value)


def test_runs_that_do_not_belong_together_are_refused() -> None:
    a, b = (match_detections([picture(0.9, patient=name)]) for name in "ab")
    more = match_detections([picture(0.9, n_truth=2)])

    with pytest.raises(ThyroidFLError, match="0 in both"):
        compare_average_precisions([a], [b])
    with pytest.raises(ThyroidFLError, match="1 patients have other pictures"):
        average_precision([a, more])
    with pytest.raises(ThyroidFLError, match="0 runs"):
        average_precision([])
    with pytest.raises(ThyroidFLError, match="continuous"):
        average_precision([a], interpolation="11")  # type: ignore[arg-type]
    with pytest.raises(ThyroidFLError, match="level"):
        average_precision([a], level=95)


def test_the_curve_has_one_point_a_score() -> None:
    run = match_detections([picture(0.9, 0.5, 0.5, hits=2, n_truth=4)])

    curve = precision_recall_curve(run)

    assert curve.threshold.tolist() == [0.9, 0.5]
    assert curve.recall.tolist() == [0.25, 0.5]
    assert curve.precision == pytest.approx([1, 2 / 3])


def test_the_band_holds_the_envelope_whose_mean_is_the_average_precision() -> None:
    runs = [simulated(60, 1.0, seed=1), simulated(60, 1.0, seed=2, name="q")]

    band = precision_recall_band(runs, n_resamples=300)

    assert band.precision.mean() == pytest.approx(average_precision(runs).value)
    assert np.all(np.diff(band.precision) <= 0)
    is_reached = band.precision > 0
    assert np.mean((band.low <= band.precision)[is_reached]) > 0.95
    assert np.mean((band.precision <= band.high)[is_reached]) > 0.95


def test_no_band_of_one_patient() -> None:
    band = precision_recall_band([match_detections([picture(0.9, hits=1)])])

    assert np.all(band.precision == 1)
    assert np.all(np.isnan(band.low))
