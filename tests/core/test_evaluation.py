"""Tables from predictions: every number against the statistic it must be."""

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.evaluation import (
    comparisons_table,
    results_table,
)
from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.evaluation.rows import COMPARISON_COLUMNS, RESULT_COLUMNS
from thyroid_fl.statistics import (
    auc,
    compare_aucs,
    compare_mean_aucs,
    mean_auc,
    proportion,
    random_effects_mean,
    within_site_auc,
    youden_threshold,
)

FEDERATED = ("federated", "fedavg", "", "all")
FEDPROX = ("federated", "fedprox", "", "all")
POOLED = ("pooled", "", "", "all")
MATCHED = ("single", "", "matched", "h0")
TUNED = ("single", "", "tuned", "h0")


def made(
    *models: tuple[str, str, str, str],
    n_patients: int = 300,
    n_hospitals: int = 5,
    folds: tuple[int, ...] = (0,),
    seeds: tuple[int, ...] = (1,),
) -> pd.DataFrame:
    """Predictions of two images a patient; hospital 4 and its like are external."""
    tables = []
    for fold in folds:
        rng = np.random.default_rng(fold)
        image = np.arange(2 * n_patients)
        patient = image // 2
        hospital = rng.integers(0, n_hospitals, n_patients)[patient]
        malignant = rng.integers(0, 2, n_patients)[patient]
        shared = malignant + rng.normal(size=n_patients)[patient]
        split = np.where(patient % 4 == 0, "val", "test")
        test_set = np.where(hospital % 5 == 4, "external", "internal").astype(object)
        cases = pd.DataFrame(
            {
                "task": "classification",
                "fold": fold,
                "image_id": [f"f{fold}i{i}" for i in image],
                "patient_id": [f"f{fold}p{p}" for p in patient],
                "hospital": [f"h{h}" for h in hospital],
                "vendor": "GE",
                "split": split,
                "test_set": np.where(split == "test", test_set, None),
                "malignant": malignant,
            }
        )
        for seed in seeds:
            for arm, strategy, budget, trained_on in models:
                score = shared + 0.5 * rng.normal(size=len(image))
                model: dict[str, Any] = {
                    "arm": arm, "strategy": strategy, "budget": budget,
                    "trained_on": trained_on, "seed": seed, "score": score,
                }  # fmt: skip
                tables.append(cases.assign(**model))
    return pd.concat(tables, ignore_index=True)


def one(table: pd.DataFrame, **where: str) -> Any:
    """The only row with these values."""
    for name, value in where.items():
        table = table[table[name] == value]
    assert len(table) == 1
    return table.iloc[0]


def internal(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.query("split == 'test' and test_set == 'internal'")


def test_a_patient_scores_as_its_highest_image() -> None:
    cases = made(FEDERATED, n_patients=2)

    found = patient_scores(cases)

    assert len(found) == 2
    assert found["score"].tolist() == [
        cases["score"][:2].max(), cases["score"][2:].max(),
    ]  # fmt: skip
    assert "image_id" not in found


def test_results_are_those_of_the_statistics() -> None:
    predictions = made(FEDERATED)
    images, patients = internal(predictions), patient_scores(internal(predictions))
    y, s = patients["malignant"], patients["score"]

    table = results_table(predictions)

    rows = table[table["test_set"] == "internal"]
    expected = {
        ("auc", "patient"): auc(y, s),
        ("auc", "image"): auc(
            images["malignant"], images["score"], clusters=images["patient_id"]
        ),
        ("auc_within_site", "patient"): within_site_auc(y, s, patients["hospital"]),
    }
    assert list(table.columns) == RESULT_COLUMNS
    for (metric, unit), estimate in expected.items():
        row = one(rows, metric=metric, unit=unit, hospital="all")
        assert (row.value, row.low, row.high) == pytest.approx(
            (estimate.value, estimate.low, estimate.high)
        )
        assert (row.n, row.n_positive) == (estimate.n, estimate.n_positive)
    own = patients[patients["hospital"] == "h2"]
    row = one(rows, hospital="h2")
    assert row.value == pytest.approx(auc(own["malignant"], own["score"]).value)
    assert (row.fold, row.seed, row.unit) == ("0", "1", "patient")


def test_the_threshold_comes_from_the_runs_own_validation() -> None:
    predictions = made(FEDERATED, POOLED)
    of_pooled = predictions[predictions["arm"] == "pooled"]
    validation = patient_scores(of_pooled[of_pooled["split"] == "val"])
    threshold = youden_threshold(validation["malignant"], validation["score"])
    patients = patient_scores(internal(of_pooled))
    malignant = patients[patients["malignant"] == 1]
    expected = proportion(int((malignant["score"] >= threshold).sum()), len(malignant))

    rows = results_table(predictions).query("arm == 'pooled'")

    row = one(rows, metric="sensitivity", test_set="internal")
    assert (row.value, row.low, row.high) == (
        expected.value, expected.low, expected.high,
    )  # fmt: skip
    assert (row.n, row.n_positive) == (len(malignant), len(malignant))
    row = one(rows, metric="specificity", test_set="internal")
    assert (row.n, row.n_positive) == (len(patients) - len(malignant), 0)


@pytest.mark.parametrize("kept", ["split == 'test'", "split == 'test' or malignant"])
def test_without_both_classes_in_validation_sensitivity_is_nan(kept: str) -> None:
    table = results_table(made(FEDERATED).query(kept))

    row = one(table, metric="sensitivity", test_set="internal")
    assert math.isnan(row.value)
    assert row.n > 0
    assert "undefined" in row.method


def test_small_hospitals_are_counted_and_pooled_apart() -> None:
    predictions = made(FEDERATED, n_patients=400)
    is_small = predictions["hospital"].eq("h0") & ~predictions["patient_id"].isin(
        [f"f0p{p}" for p in range(60)]
    )
    predictions = predictions[~is_small]
    patients = patient_scores(internal(predictions))
    large = [
        auc(here["malignant"], here["score"])
        for name, here in patients.groupby("hospital")
        if name != "h0"
    ]
    expected = random_effects_mean(
        [each.value for each in large], [each.variance for each in large]
    )
    small = patients[patients["hospital"] == "h0"]

    rows = results_table(predictions).query("test_set == 'internal'")

    mean = one(rows, metric="auc_hospital_mean")
    assert (mean.value, mean.low) == pytest.approx((expected.mean, expected.low))
    assert (mean.n, mean.unit) == (3, "hospital")
    assert f"1 others ({len(small)} patients)" in mean.method
    new = one(rows, metric="auc_new_hospital")
    assert new.low == pytest.approx(max(expected.prediction_low, 0))
    assert new.high <= 1
    others = one(rows, metric="auc_other_hospitals")
    assert others.n == len(small)


def test_a_hospital_of_one_class_is_nan_with_its_n() -> None:
    predictions = made(FEDERATED)
    predictions = predictions[
        (predictions["hospital"] != "h1") | (predictions["malignant"] == 1)
    ]

    row = one(results_table(predictions), hospital="h1")

    assert math.isnan(row.value)
    assert row.n == row.n_positive > 0


def test_mean_rows_over_folds_and_seeds() -> None:
    predictions = made(FEDERATED, POOLED, folds=(1, 2), seeds=(1, 2))
    folds = []
    for fold in (1, 2):
        cases = internal(predictions).query(f"fold == {fold} and arm == 'pooled'")
        wide = patient_scores(cases).pivot(
            index=["patient_id", "malignant"], columns="seed", values="score"
        )
        labels = wide.index.get_level_values("malignant")
        folds.append((labels, wide.to_numpy(), None))
    expected = mean_auc(folds)

    table = results_table(predictions).query("arm == 'pooled'")

    where = {"metric": "auc", "hospital": "all", "test_set": "internal"}
    row = one(table, **where, unit="patient", fold="mean", seed="mean")
    assert (row.value, row.low, row.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert (row.n, row.method) == (expected.n, expected.method)
    assert one(table, **where, unit="image", fold="mean").value > 0
    assert one(table, metric="auc", hospital="h2", fold="mean").n > 0
    assert "mean" not in set(results_table(made(FEDERATED))["fold"])


def test_comparisons_are_paired_on_the_same_images() -> None:
    predictions = made(FEDERATED, FEDPROX, POOLED, MATCHED, TUNED)
    cases = internal(predictions)
    by_model = {
        (arm, strategy, budget): part.sort_values("image_id")
        for (arm, strategy, budget), part in cases.groupby(
            ["arm", "strategy", "budget"]
        )
    }
    first, second = (
        by_model["federated", "fedavg", ""],
        by_model["single", "", "tuned"],
    )
    expected = compare_aucs(
        first["malignant"], first["score"], second["score"],
        clusters=first["patient_id"],
    )  # fmt: skip

    table = comparisons_table(predictions)

    assert list(table.columns) == COMPARISON_COLUMNS
    assert set(table["comparison"]) == {
        "federated - single (matched)", "federated - single (tuned)",
        "federated - pooled", "fedprox - fedavg",
    }  # fmt: skip
    rows = table.query("comparison == 'federated - single (tuned)'")
    where = {"strategy": "fedavg", "test_set": "internal", "unit": "image"}
    row = one(rows, **where, hospital="all")
    assert (row.difference, row.low, row.p_value) == pytest.approx(
        (expected.difference, expected.low, expected.p_value)
    )
    assert (row.n, row.trained_on) == (len(first), "h0")
    at_home = one(rows, **where, hospital="h0")
    assert at_home.n == first["hospital"].eq("h0").sum()
    patients = [patient_scores(part) for part in (first, second)]
    by_patient = compare_aucs(
        patients[0]["malignant"], patients[0]["score"], patients[1]["score"]
    )
    row = one(rows, **{**where, "unit": "patient"}, hospital="all")
    assert row.p_value == pytest.approx(by_patient.p_value)


def test_images_that_one_model_did_not_score_are_left_out_of_both() -> None:
    predictions = made(FEDERATED, POOLED)
    is_cut = predictions["arm"].eq("pooled") & (predictions.index % 2 == 1)

    cut = comparisons_table(predictions[~is_cut])
    expected = comparisons_table(predictions[predictions.index % 2 == 0])

    pd.testing.assert_frame_equal(cut, expected)


def test_mean_differences_over_seeds() -> None:
    predictions = made(FEDERATED, POOLED, seeds=(1, 2, 3))
    wide = internal(predictions).pivot(
        index=["image_id", "patient_id", "malignant"],
        columns=["arm", "seed"],
        values="score",
    )
    index = wide.index
    expected = compare_mean_aucs(
        [
            (
                index.get_level_values("malignant"),
                wide["federated"].to_numpy(),
                wide["pooled"].to_numpy(),
                index.get_level_values("patient_id"),
            )
        ]
    )

    table = comparisons_table(predictions)

    row = one(table, unit="image", test_set="internal", seed="mean")
    assert (row.difference, row.low, row.high, row.p_value) == pytest.approx(
        (expected.difference, expected.low, expected.high, expected.p_value)
    )
    assert row.method == expected.method


def test_only_seeds_that_both_models_have_are_compared() -> None:
    predictions = made(FEDERATED, POOLED, seeds=(1, 2))
    predictions = predictions.query("not (arm == 'pooled' and seed == 2)")
    apart = predictions.query("(arm == 'pooled') == (seed == 1)")

    assert set(comparisons_table(predictions)["seed"]) == {"1"}
    assert comparisons_table(apart).empty


def test_only_folds_that_both_models_have_are_compared() -> None:
    predictions = made(FEDERATED, POOLED, folds=(1, 2))
    predictions = predictions.query("not (arm == 'pooled' and fold == 2)")

    assert set(comparisons_table(predictions)["fold"]) == {"1"}


def test_order_of_rows_and_csv_do_not_matter(tmp_path: Any) -> None:
    predictions = made(FEDERATED, POOLED, MATCHED)
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    read = pd.read_csv(tmp_path / "predictions.csv")
    shuffled = predictions.groupby("arm").sample(frac=1, random_state=1)
    keys = ["test_set", "unit", "metric", "hospital", "arm", "trained_on"]

    first = results_table(predictions)
    second = results_table(read)
    third = results_table(shuffled).sort_values(keys, ignore_index=True)

    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first.sort_values(keys, ignore_index=True), third)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": "Test"}, "split is 'Test'"),
        ({"arm": "central"}, "arm is 'central'"),
        ({"malignant": 2}, "malignant is 2"),
        ({"score": math.nan}, "NaN or infinite"),
        ({"image_id": "same"}, "twice"),
    ],
)
def test_bad_predictions_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ThyroidFLError, match=words):
        results_table(made(FEDERATED).assign(**change))


def test_missing_columns_are_named() -> None:
    with pytest.raises(ThyroidFLError, match="lack vendor, score"):
        comparisons_table(made(FEDERATED).drop(columns=["vendor", "score"]))


def test_208_hospitals_and_12_models_take_seconds() -> None:
    singles = [("single", "", "tuned", f"h{h}") for h in range(9)]
    predictions = made(
        FEDERATED, FEDPROX, POOLED, *singles, n_patients=3300, n_hospitals=208
    )

    start = time.process_time()
    results = results_table(predictions)
    comparisons = comparisons_table(predictions)

    assert time.process_time() - start < 15  # 3 s on one core
    assert results["hospital"].nunique() == 209
    assert len(comparisons) > 0
