import numpy as np
import pytest
from flwr.app import Array, MetricRecord, RecordDict

from thyroid_fl.strategies.arrays import read_array
from thyroid_fl.strategies.averaging import (
    mean_metrics,
    validation_metrics,
    weighted_mean,
)


def metrics(**values: float) -> RecordDict:
    return RecordDict(
        {"m": MetricRecord({k.replace("_", "-"): v for k, v in values.items()})}
    )


def test_mean_of_a_hand_worked_example() -> None:
    updates = [
        (1.0, {"w": np.array([1.0, 2.0], np.float32)}),
        (3.0, {"w": np.array([5.0, 2.0], np.float32)}),
    ]

    mean = weighted_mean(updates)

    assert mean is not None
    np.testing.assert_array_equal(mean["w"], np.array([4.0, 2.0], np.float32))
    assert mean["w"].dtype == np.float32


def test_order_of_208_updates_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    updates = [
        (float(rng.integers(1, 500)), {"w": rng.normal(0, 0.1, 5000).astype("f4")})
        for _ in range(208)
    ]
    expected = weighted_mean(updates)
    assert expected is not None

    for _ in range(5):
        rng.shuffle(updates)
        mean = weighted_mean(updates)
        assert mean is not None
        np.testing.assert_array_equal(mean["w"], expected["w"])


def test_equal_weights_give_the_plain_mean() -> None:
    arrays = np.random.default_rng(1).normal(size=(9, 100)).astype(np.float32)

    mean = weighted_mean((7.0, {"w": a}) for a in arrays)

    assert mean is not None
    expected = arrays.astype(np.float64).mean(axis=0).astype(np.float32)
    np.testing.assert_array_equal(mean["w"], expected)


@pytest.mark.parametrize("n", [1.0, 3.0, 89.0, 0.1, 1e9])
def test_one_update_comes_back_as_it_is(n: float) -> None:
    array = np.random.default_rng(2).normal(size=1000).astype(np.float32)

    mean = weighted_mean([(n, {"w": array, "scalar": np.array(0.3, "f4")})])

    assert mean is not None
    np.testing.assert_array_equal(mean["w"], array)
    assert mean["scalar"].shape == ()
    assert mean["scalar"] == np.float32(0.3)


def test_types_are_kept_and_half_precision_is_summed_in_double() -> None:
    # 4096 + 1 is 4096 in float16: a sum in float16 would lose every second update.
    updates = [(1.0, {"h": np.array([4096.0], "f2")})] + [
        (1.0, {"h": np.array([1.0], "f2")}) for _ in range(3)
    ]

    mean = weighted_mean(updates)

    assert mean is not None
    assert mean["h"].dtype == np.float16
    assert mean["h"][0] == np.float16(4099 / 4)


def test_integers_are_taken_from_the_first_update() -> None:
    updates = [
        (1.0, {"w": np.zeros(1, "f4"), "num_batches_tracked": np.array(k)})
        for k in (5, 9)
    ]

    mean = weighted_mean(updates)

    assert mean is not None
    assert mean["num_batches_tracked"].dtype == np.int64
    assert mean["num_batches_tracked"] == 5


def test_no_update_gives_none() -> None:
    assert weighted_mean([]) is None


def test_metrics_are_weighted_and_nan_is_left_out_with_its_weight() -> None:
    records = [
        metrics(n=1, loss=1.0, auc=0.9),
        metrics(n=3, loss=3.0, auc=np.nan),
        metrics(n=4, loss=np.nan, auc=np.nan),
    ]

    result = mean_metrics(records, "n")

    assert result["loss"] == 2.5  # (1 + 9) / 4
    assert result["auc"] == 0.9
    assert "n" not in result


def test_a_metric_that_nobody_knows_is_nan() -> None:
    assert np.isnan(mean_metrics([metrics(n=1, auc=np.nan)], "n")["auc"])


def test_lists_of_metrics_are_averaged_by_element() -> None:
    records = [
        RecordDict({"m": MetricRecord({"n": 1, "losses": [1.0, float("nan")]})}),
        RecordDict({"m": MetricRecord({"n": 3, "losses": [2.0, 4.0]})}),
    ]

    assert mean_metrics(records, "n")["losses"] == [1.75, 4.0]


def test_auc_within_hospitals_is_the_quotient_of_sums() -> None:
    records = [
        metrics(n=10, loss=1.0, auc_sum=3.5, auc_n=4),
        metrics(n=30, loss=1.0, auc_sum=10.0, auc_n=20),
        metrics(n=5, loss=1.0, auc_sum=0.0, auc_n=0),  # one class only
    ]

    result = validation_metrics(records, "n")

    assert dict(result) == {"loss": 1.0, "auc": 13.5 / 24}


def test_auc_without_a_pair_is_nan() -> None:
    record = metrics(n=5, loss=1.0, auc_sum=0.0, auc_n=0)

    assert np.isnan(validation_metrics([record], "n")["auc"])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype="f8").reshape(2, 3)),
        np.array(2.5, "f2"),
        np.zeros((0, 3), "i8"),
        np.array([True, False]),
        np.arange(4, dtype=">f4"),
    ],
)
def test_reading_gives_what_numpy_gives(array: np.ndarray) -> None:
    sent = Array(array)

    read = read_array(sent)

    np.testing.assert_array_equal(read, sent.numpy())
    assert read.dtype == array.dtype
    assert read.shape == array.shape


def test_reading_refuses_broken_bytes() -> None:
    whole = Array(np.zeros(10, "f4"))
    short = Array(whole.dtype, whole.shape, whole.stype, whole.data[:-4])
    foreign = Array(whole.dtype, whole.shape, "pickle", whole.data)

    with pytest.raises(ValueError, match="buffer"):
        read_array(short)
    with pytest.raises(TypeError, match="pickle"):
        read_array(foreign)
