"""Operating points, calibration and subgroups, from predictions."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.evaluation.calibration import (
    CURVE_COLUMNS,
    DECISION_COLUMNS,
    calibration_curves,
    calibration_table,
    decision_curves,
)
from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.evaluation.operating_points import (
    OPERATING_COLUMNS,
    operating_point_table,
)
from thyroid_fl.evaluation.rows import RESULT_COLUMNS
from thyroid_fl.evaluation.subgroups import (
    SUBGROUP_COLUMNS,
    age_group,
    subgroup_table,
)
from thyroid_fl.statistics import (
    auc,
    calibration,
    clustered_mean,
    compare_independent_aucs,
    mean_over_seeds,
    proportion,
    reoptimised_bootstrap,
    youden_threshold,
)


def made(
    *, seeds: tuple[int, ...] = (1,), n: int = 400, shift: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of two pictures a patient, and their manifest.

    The model is calibrated but for the external hospitals, to whose logits `shift` is
    added; it is useless for patients of 60 and older.
    """
    rng = np.random.default_rng(1)
    patient = np.arange(2 * n) // 2
    age = rng.integers(20, 90, n).astype(float)
    age[:10] = np.nan
    logits = 1.5 * rng.normal(size=n)
    malignant = (rng.random(n) < expit(logits)).astype(int)
    useless = np.where(age >= 60, rng.normal(size=n), logits)
    split = np.where(np.arange(n) % 4 == 0, "val", "test")
    side = np.where(np.arange(n) % 2 == 0, "internal", "external").astype(object)
    cases = pd.DataFrame(
        {
            "task": "classification", "arm": "federated", "strategy": "fedavg",
            "budget": "", "trained_on": "all", "fold": 0, "vendor": "GE",
            "image_id": [f"i{i}" for i in range(2 * n)],
            "patient_id": [f"p{p}" for p in patient],
            "hospital": np.where(side == "internal", "a", "b")[patient],
            "split": split[patient],
            "test_set": np.where(split == "test", side, None)[patient],
            "malignant": malignant[patient],
        }
    )  # fmt: skip
    tables = []
    for seed in seeds:
        added = 0.2 * (seed - 1) * rng.normal(size=2 * n)
        moved = shift * (cases["test_set"] == "external")
        tables.append(
            cases.assign(seed=seed, score=expit(useless[patient] + added + moved))
        )
    manifest = pd.DataFrame(
        {
            "image_id": cases["image_id"],
            "age": age[patient],
            "sex": np.where(patient % 3 == 0, "M", "F"),
            "probe": [f"probe {p % 3}" for p in patient],
        }
    )
    return pd.concat(tables, ignore_index=True), manifest


def only(table: pd.DataFrame, **where: Any) -> Any:
    for name, value in where.items():
        table = table[table[name].astype(str) == str(value)]
    assert len(table) == 1, table
    return table.iloc[0]


def part(predictions: pd.DataFrame, split: str, test_set: str = "") -> pd.DataFrame:
    found = predictions[predictions["split"] == split]
    return found[found["test_set"] == test_set] if test_set else found


def test_the_threshold_is_that_of_validation_and_stays() -> None:
    predictions, _ = made(shift=1.0)
    known = patient_scores(part(predictions, "val"))
    threshold = youden_threshold(known["malignant"], known["score"])

    table = operating_point_table(predictions, n_resamples=50)

    assert list(table.columns) == OPERATING_COLUMNS
    for test_set in ("internal", "external"):
        cases = patient_scores(part(predictions, "test", test_set))
        benign = cases[cases["malignant"] == 0]["score"]
        right = int((benign < threshold).sum())
        expected = proportion(right, len(benign))
        row = only(
            table, test_set=test_set, unit="patient", metric="specificity",
            basis="validation, Wilson",
        )  # fmt: skip
        assert (row.value, row.low, row.high) == (
            expected.value, expected.low, expected.high,
        )  # fmt: skip
        assert row.threshold == threshold
        assert (row.n, row.n_positive) == (len(benign), 0)


def test_pictures_have_a_clustered_interval_beside_wilsons() -> None:
    predictions, _ = made()
    known, cases = part(predictions, "val"), part(predictions, "test", "internal")
    threshold = youden_threshold(known["malignant"], known["score"])
    malignant = cases[cases["malignant"] == 1]
    right = malignant["score"] >= threshold

    table = operating_point_table(predictions, n_resamples=50)

    where = {"test_set": "internal", "unit": "image", "metric": "sensitivity"}
    naive = only(table, **where, basis="validation, Wilson")
    robust = only(table, **where, basis="validation, clustered")
    expected = clustered_mean(right.astype(float), malignant["patient_id"])
    assert (robust.value, robust.low) == pytest.approx((expected.value, expected.low))
    assert robust.value == naive.value
    assert robust.high - robust.low > naive.high - naive.low
    assert naive.unit == "image"


def test_the_reoptimised_rows_are_those_of_the_bootstrap() -> None:
    predictions, _ = made()
    cases = patient_scores(part(predictions, "test", "internal"))
    expected = reoptimised_bootstrap(
        cases["malignant"], cases["score"], seed=7, n_resamples=60
    )

    table = operating_point_table(predictions, seed=7, n_resamples=60)

    row = only(
        table, test_set="internal", unit="patient", metric="sensitivity",
        basis="test, re-optimised",
    )  # fmt: skip
    assert (row.low, row.high) == (expected.sensitivity.low, expected.sensitivity.high)
    assert row.threshold == expected.threshold
    assert row.n_positive == row.n == expected.sensitivity.n


def test_mean_rows_keep_every_seeds_own_threshold() -> None:
    predictions, _ = made(seeds=(1, 2, 3))
    rights = []
    for _, run in predictions.groupby("seed"):
        known = patient_scores(part(run, "val"))
        threshold = youden_threshold(known["malignant"], known["score"])
        cases = patient_scores(part(run, "test", "internal"))
        malignant = cases[cases["malignant"] == 1].sort_values("patient_id")
        rights.append((malignant["score"] >= threshold).to_numpy(dtype=float))

    table = operating_point_table(predictions, n_resamples=20)

    where = {"test_set": "internal", "unit": "patient", "metric": "sensitivity"}
    row = only(table, **where, seed="mean", basis="validation, clustered")
    expected = mean_over_seeds([(np.column_stack(rights), range(len(rights[0])))])
    assert row.value == pytest.approx(expected.value)
    assert (row.low, row.high) == pytest.approx((expected.low, min(expected.high, 1)))
    chosen = table[(table["seed"] == "mean") & (table["basis"] == "test, re-optimised")]
    assert len(chosen) == 8  # two rates, two units, two test sets


def test_validation_of_one_class_leaves_the_rates_undefined() -> None:
    predictions, _ = made()
    predictions = predictions[
        (predictions["split"] == "test") | (predictions["malignant"] == 1)
    ]

    table = operating_point_table(predictions, n_resamples=20)

    rows = table[table["basis"] == "validation, Wilson"]
    assert rows["value"].isna().all()
    assert (rows["n"] > 0).all()
    assert rows["method"].str.contains("undefined").all()


def test_calibration_rows_are_those_of_the_statistics() -> None:
    predictions, _ = made(shift=1.0)

    table = calibration_table(predictions)

    assert list(table.columns) == RESULT_COLUMNS
    cases = patient_scores(part(predictions, "test", "external"))
    expected = calibration(cases["malignant"], cases["score"])
    for metric in ("slope", "intercept", "in_the_large"):
        row = only(table, test_set="external", metric=f"calibration_{metric}")
        found = getattr(expected, metric)
        assert (row.value, row.low, row.high) == pytest.approx(
            (found.value, found.low, found.high)
        )
    # Where one logit too much is said, malignancy is rarer than was said.
    outside = only(table, test_set="external", metric="calibration_in_the_large")
    inside = only(table, test_set="internal", metric="calibration_in_the_large")
    assert outside.high < 0
    assert outside.value - inside.value == pytest.approx(-1, abs=0.45)


def test_calibration_has_mean_rows_and_curves() -> None:
    predictions, _ = made(seeds=(1, 2))

    table = calibration_table(predictions)
    curves, decisions = calibration_curves(predictions), decision_curves(predictions)

    rows = table.query("test_set == 'internal' and metric == 'calibration_slope'")
    assert rows["seed"].tolist() == ["1", "2", "mean"]
    assert rows["value"].iloc[2] == pytest.approx(rows["value"].iloc[:2].mean())
    assert list(curves.columns) == CURVE_COLUMNS
    assert list(decisions.columns) == DECISION_COLUMNS
    one_run = curves.query("test_set == 'internal' and seed == '1'")
    assert one_run["n"].sum() == 100
    assert len(decisions) == 2 * 2 * 19


def test_ages_fall_into_two_groups_at_45() -> None:
    found = age_group(pd.Series([44.9, 45, math.nan]))

    assert found.tolist()[:2] == ["< 45", ">= 45"]
    assert found.isna().tolist() == [False, False, True]


def test_subgroups_are_compared_by_unpaired_delong() -> None:
    predictions, manifest = made()
    cases = patient_scores(part(predictions, "test", "internal"))
    by_patient = {f"p{i}": manifest["age"].iloc[2 * i] for i in range(400)}
    years = cases["patient_id"].map(by_patient)
    young, old = cases[years < 45], cases[years >= 45]

    table = subgroup_table(predictions, manifest)

    assert list(table.columns) == SUBGROUP_COLUMNS
    rows = table.query("test_set == 'internal' and column == 'age'")
    own = only(rows, group="< 45", against="")
    expected = auc(young["malignant"], young["score"])
    assert (own.value, own.low, own.n) == pytest.approx(
        (expected.value, expected.low, len(young))
    )
    between = only(rows, group="< 45", against=">= 45")
    test = compare_independent_aucs(
        young["malignant"], young["score"], old["malignant"], old["score"]
    )
    assert (between.value, between.p_value) == pytest.approx(
        (test.difference, test.p_value)
    )
    unknown = only(rows, group="unknown")
    assert unknown.n == int(years.isna().sum()) > 0


def test_a_planted_weakness_shows_and_sex_makes_no_difference() -> None:
    predictions, manifest = made(n=1600)
    manifest["elder"] = np.where(manifest["age"] >= 60, "yes", "no")

    table = subgroup_table(predictions, manifest, ["elder", "sex"])

    weak = only(table, test_set="internal", group="no", against="yes")
    assert weak.low > 0.1
    fair = only(table, test_set="internal", group="F", against="M")
    assert fair.low < 0 < fair.high


def test_of_several_groups_each_is_set_against_the_rest() -> None:
    predictions, manifest = made(seeds=(1, 2))

    table = subgroup_table(predictions, manifest, ["probe"])

    rows = table.query("test_set == 'internal' and seed == 'mean' and against != ''")
    assert rows["group"].tolist() == ["probe 0", "probe 1", "probe 2"]
    assert set(rows["against"]) == {"the rest"}
    assert (rows["n"] == 100).all()


def test_another_manifest_is_refused() -> None:
    predictions, manifest = made()

    with pytest.raises(ThyroidFLError, match="not in the manifest"):
        subgroup_table(predictions, manifest.iloc[:5])
    with pytest.raises(ThyroidFLError, match="lacks size"):
        subgroup_table(predictions, manifest, ["size"])
