"""Segmentation and detection: every number against the statistic it must be."""

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation import comparisons_table, results_table
from thyroid_fl.statistics import (
    average_precision,
    best_f1_threshold,
    clustered_mean,
    compare_average_precisions,
    detection_counts,
    detection_rate,
    match_detections,
    mean_over_seeds,
    proportion,
    random_effects_mean,
)

MODELS = [
    ("federated", "fedavg", "", "all", 0.0),
    ("pooled", "", "", "all", 0.03),
    ("single", "", "tuned", "h0", -0.05),
]


def runs(seeds):
    """Images of 60 patients in four hospitals, for every model and seed."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    images = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(len(patient))],
            "patient_id": [f"p{k}" for k in patient],
            "hospital": [f"h{k % 4}" for k in patient],
            "vendor": "GE",
            "split": np.where(patient % 5 == 0, "val", "test"),
            "fold": "0",
        }
    )
    images["test_set"] = np.where(images["split"] == "test", "internal", None)
    ease = rng.normal(0, 0.05, 60)[patient]
    for seed in range(1, seeds + 1):
        for arm, strategy, budget, trained_on, shift in MODELS:
            names = {"arm": arm, "strategy": strategy, "budget": budget}
            yield (
                images.assign(**names, trained_on=trained_on, seed=str(seed)),
                ease,
                shift,
            )


def segmentation(seeds=1):
    rng = np.random.default_rng(2)
    tables = []
    for images, ease, shift in runs(seeds):
        dice = (0.8 + shift + ease + rng.normal(0, 0.05, len(images))).clip(0, 1)
        tables.append(
            images.assign(
                task="segmentation",
                dice=dice,
                iou=dice / (2 - dice),
                hd95_px=np.where(
                    rng.random(len(images)) < 0.1, np.nan, 40 * (1 - dice)
                ),
                hd95_mm=np.nan,
            )
        )
    return pd.concat(tables, ignore_index=True)


def detection(seeds=1):
    rng = np.random.default_rng(3)
    tables = []
    for images, _, shift in runs(seeds):
        found, scores, boxes = [], [], []
        for _ in range(len(images)):
            boxes.append([[10.0, 10, 50, 40]])
            off = rng.normal(0, 6, 4)
            found.append([list(np.array([10.0, 10, 50, 40]) + off), [60.0, 60, 70, 75]])
            good = np.exp(-np.abs(off).mean() / 6)
            scores.append([float(np.clip(good + shift, 0.01, 1)), 0.3 * rng.random()])
        columns = {"found": found, "scores": scores, "boxes": boxes}
        tables.append(images.assign(task="detection", **columns))
    return pd.concat(tables, ignore_index=True)


def matched(images):
    columns = images[["found", "scores", "boxes", "patient_id"]]
    return match_detections(map(tuple, columns.to_numpy()))


def one(table, **names):
    rows = table[(table[list(names)] == pd.Series(names)).all(axis=1)]
    assert len(rows) == 1, f"{len(rows)} rows of {names}"
    return rows.iloc[0]


def of_run(predictions, arm, seed="1"):
    return predictions[
        (predictions["arm"] == arm)
        & (predictions["seed"] == seed)
        & (predictions["split"] == "test")
    ]


def test_dice_by_image_and_by_patient():
    predictions = segmentation()
    results = results_table(predictions)
    images = of_run(predictions, "pooled")
    names = {"arm": "pooled", "hospital": "all", "metric": "dice"}

    by_image = one(results, **names, unit="image")
    expected = clustered_mean(images["dice"], images["patient_id"])
    assert tuple(by_image[["value", "low", "high", "n"]]) == pytest.approx(
        (expected.value, expected.low, expected.high, len(images))
    )
    by_patient = one(results, **names, unit="patient")
    means = images.groupby("patient_id")["dice"].mean()
    assert by_patient["value"] == pytest.approx(means.mean())
    assert by_patient["n"] == len(means) == 48
    half = (by_patient["high"] - by_patient["low"]) / 2
    assert half == pytest.approx(2.0117 * means.std() / np.sqrt(48), rel=1e-3)


def test_a_distance_that_is_undefined_is_left_out_and_counted():
    predictions = segmentation()
    row = one(results_table(predictions), arm="pooled", metric="hd95_px")
    images = of_run(predictions, "pooled")

    n_unknown = int(images["hd95_px"].isna().sum())
    assert row["n"] == len(images) - n_unknown
    assert f"{n_unknown} of {len(images)} images left out" in row["method"]
    assert row["value"] == pytest.approx(images["hd95_px"].mean())
    unknown = one(results_table(predictions), arm="pooled", metric="hd95_mm")
    assert (unknown["n"], np.isnan(unknown["value"])) == (0, True)


def test_dice_over_hospitals():
    predictions = segmentation()
    results = results_table(predictions)
    images = of_run(predictions, "pooled")
    rows = results[(results["arm"] == "pooled") & (results["hospital"] != "all")]
    patients = images.groupby(["hospital", "patient_id"])["dice"].mean()
    by_hospital = patients.groupby("hospital").agg(["mean", "var", "size"])

    assert rows["value"].tolist() == pytest.approx(by_hospital["mean"].tolist())
    mean = random_effects_mean(
        by_hospital["mean"], by_hospital["var"] / by_hospital["size"]
    )
    row = one(results, arm="pooled", metric="dice_hospital_mean")
    assert (row["value"], row["n"]) == (pytest.approx(mean.value), 4)
    new = one(results, arm="pooled", metric="dice_new_hospital")
    assert new["low"] == pytest.approx(max(0, mean.prediction_low))


def test_dice_differences_are_paired():
    predictions = segmentation(seeds=3)
    table = comparisons_table(predictions)

    assert set(table["metric"]) == {"dice"}
    assert len(table) == 2 * (3 + 1) * 2 + 2 * (3 + 1)  # own hospital of the single
    names = {"comparison": "federated - pooled", "unit": "image", "hospital": "all"}
    row = one(table, **names, seed="2")
    first, second = (
        of_run(predictions, arm, "2").set_index("image_id")
        for arm in ("federated", "pooled")
    )
    difference = first["dice"] - second["dice"]
    expected = clustered_mean(difference, first["patient_id"])
    assert row["difference"] == pytest.approx(expected.value)
    assert row["high"] == pytest.approx(expected.high)
    mean = one(table, **names, seed="mean")
    assert mean["difference"] == pytest.approx(
        table[(table[list(names)] == pd.Series(names)).all(axis=1)]
        .query("seed != 'mean'")["difference"]
        .mean()
    )
    assert mean["low"] < mean["difference"] < mean["high"]


def test_means_over_seeds():
    rng = np.random.default_rng(5)
    values, patients = rng.normal(0.8, 0.1, (40, 3)), np.repeat(np.arange(20), 2)

    one_seed = mean_over_seeds([(values[:, :1], patients)])
    plain = clustered_mean(values[:, 0], patients)
    assert (one_seed.value, one_seed.low) == pytest.approx((plain.value, plain.low))
    three = mean_over_seeds([(values, patients)])
    sampled = clustered_mean(values.mean(1), patients)
    assert three.value == pytest.approx(values.mean())
    between = values.mean(0).var(ddof=1) / 3
    assert three.variance == pytest.approx(sampled.variance + between)
    copies = mean_over_seeds([(np.repeat(values[:, :1], 3, axis=1), patients)])
    assert copies.variance == pytest.approx(plain.variance)
    two = mean_over_seeds([(values, patients), (values + 0.1, patients)])
    assert two.value == pytest.approx(values.mean() + 0.05)
    assert two.variance == pytest.approx(three.variance / 2)
    with pytest.raises(ConfigError, match="no fold"):
        mean_over_seeds([])


def test_average_precision_and_the_rates_at_the_validation_threshold():
    predictions = detection()
    results = results_table(predictions)
    run = matched(of_run(predictions, "federated"))
    of_arm = predictions[predictions["arm"] == "federated"]
    threshold = best_f1_threshold(matched(of_arm[of_arm["split"] == "val"]))

    row = one(results, arm="federated", metric="ap50", hospital="all")
    expected = average_precision([run])
    assert tuple(row[["value", "low", "high", "n"]]) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.n)
    )
    continuous = one(results, arm="federated", metric="ap50_continuous")
    assert continuous["value"] == pytest.approx(
        average_precision([run], interpolation="continuous", n_resamples=1).value
    )
    for rate in ("f1", "sensitivity", "false_positives_per_picture"):
        found = one(results, arm="federated", metric=rate)
        known = detection_rate(rate, [run], [threshold])
        assert (found["value"], found["low"]) == pytest.approx((known.value, known.low))
        assert f"score >= {threshold:.4g}" in found["method"]
    wilson = one(results, arm="federated", metric="sensitivity_wilson")
    counts = detection_counts(run, threshold)
    known = proportion(counts.true_positives, expected.n)
    assert (wilson["value"], wilson["high"]) == pytest.approx((known.value, known.high))
    own = one(results, arm="federated", metric="ap50", hospital="h2")
    here = of_run(predictions, "federated").query("hospital == 'h2'")
    assert own["value"] == pytest.approx(
        average_precision([matched(here)], n_resamples=1).value
    )


def test_differences_in_average_precision_are_paired():
    predictions = detection(seeds=2)
    table = comparisons_table(predictions)

    seeds = [
        [matched(of_run(predictions, arm, seed)) for seed in ("1", "2")]
        for arm in ("federated", "pooled")
    ]
    names = {"comparison": "federated - pooled", "hospital": "all"}
    row, mean = (one(table, **names, seed=seed) for seed in ("1", "mean"))
    first = compare_average_precisions(seeds[0][:1], seeds[1][:1])
    both = compare_average_precisions(*seeds)
    assert (row["difference"], row["low"]) == pytest.approx(
        (first.difference, first.low)
    )
    assert (mean["difference"], mean["high"]) == pytest.approx(
        (both.difference, both.high)
    )
    own = one(
        table, comparison="federated - single (tuned)", hospital="h0", seed="mean"
    )
    assert own["n"] < row["n"]


def test_a_mean_row_stands_for_several_seeds():
    for predictions, metric in ((segmentation(2), "dice"), (detection(2), "ap50")):
        results = results_table(predictions)
        rows = results[
            (results["arm"] == "pooled")
            & (results["metric"] == metric)
            & (results["hospital"] == "all")
            & (results["unit"] != "image")
        ]
        seeds, mean = (rows["seed"] != "mean"), (rows["seed"] == "mean")
        assert rows.loc[mean, "value"].item() == pytest.approx(
            rows.loc[seeds, "value"].mean()
        )


def test_tables_of_several_tasks_are_those_of_each():
    both = pd.concat([segmentation(), detection()], ignore_index=True)

    results, comparisons = results_table(both), comparisons_table(both)

    alone = results_table(detection())
    own = results[results["task"] == "detection"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone)
    assert set(comparisons["task"]) == {"segmentation", "detection"}


def test_a_task_or_column_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="task is 'grading'; expected one of"):
        results_table(segmentation().assign(task="grading"))
    with pytest.raises(ConfigError, match="the predictions lack dice, iou"):
        results_table(segmentation().drop(columns=["dice", "iou"]))
