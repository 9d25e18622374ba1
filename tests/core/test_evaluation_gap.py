"""Gap and harm, from predictions: what was planted is found, and nothing else."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.errors import ThyroidFLError
from thyroid_fl.evaluation.gap import (
    GAP_COLUMNS,
    gap_table,
    optimism_table,
)
from thyroid_fl.evaluation.harm import (
    HARM_COLUMNS,
    harm_summary,
    harm_table,
    verdict_of,
)
from thyroid_fl.evaluation.worst import WORST_COLUMNS, worst_table
from thyroid_fl.statistics import (
    auc,
    compare_aucs,
    compare_independent_aucs,
    random_effects_mean,
    within_site_auc,
)

N_SITES, N_UNSEEN = 40, 12
NAMES = {"task": "classification", "fold": 0, "vendor": "GE", "split": "test"}
FEDERATED = {
    "arm": "federated",
    "strategy": "fedavg",
    "budget": "",
    "trained_on": "all",
}


def patients(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Patients of sites of differing prevalence, one picture each."""
    prevalence = rng.beta(1.5, 1.5, N_SITES)
    site = rng.integers(0, N_SITES, n)
    return pd.DataFrame(
        {
            **NAMES,
            "patient_id": [f"p{i}" for i in range(n)],
            "image_id": [f"i{i}" for i in range(n)],
            "hospital": [f"s{s}" for s in site],
            "malignant": (rng.random(n) < prevalence[site]).astype(int),
            "site": site,
            "habit": np.log(prevalence / (1 - prevalence))[site],
        }
    )


def shortcut(
    split: str, *, seeds: tuple[int, ...] = (1,), strength: float = 1.0
) -> pd.DataFrame:
    """Predictions of a model that knows each training site by its looks.

    It adds the site's habit to the score. A site that it does not know looks to it like
    one that it knows. Under the split by patient it knows every site; a random half of
    the test patients is called external, as the paper would.
    """
    rng = np.random.default_rng(1)
    cases = patients(rng, 4000)
    is_new = cases["site"] >= N_SITES - N_UNSEEN
    habits = cases.groupby("site")["habit"].first()
    alike = pd.Series(habits.iloc[rng.integers(0, N_SITES - N_UNSEEN, N_SITES)].array)
    believed = cases["habit"].where(~is_new, cases["site"].map(alike))
    if split == "patient":
        believed, is_new = cases["habit"], rng.random(len(cases)) < 0.3
    tables = []
    for seed in seeds:
        signal = 1.2 * cases["malignant"] + rng.normal(size=len(cases))
        tables.append(
            cases.drop(columns=["site", "habit"]).assign(
                **FEDERATED,
                seed=seed,
                test_set=np.where(is_new, "external", "internal"),
                score=signal + strength * believed,
            )
        )
    return pd.concat(tables, ignore_index=True)


def only(table: pd.DataFrame, **where: Any) -> Any:
    for name, value in where.items():
        table = table[table[name].astype(str) == str(value)]
    assert len(table) == 1, table
    return table.iloc[0]


def test_a_site_shortcut_shows_under_the_hospital_split_alone() -> None:
    by_hospital = gap_table(shortcut("hospital"), n_resamples=300)
    by_patient = gap_table(shortcut("patient"), n_resamples=300)

    where = {"unit": "patient", "metric": "auc", "target": "these hospitals"}
    seen, unseen = only(by_patient, **where), only(by_hospital, **where)
    assert unseen.low > 0
    assert unseen.difference > 0.05
    assert seen.low < 0 < seen.high
    # Within hospitals there is nothing to gain from knowing the hospital.
    where |= {"metric": "auc_within_site", "target": "hospitals like these"}
    for table in (by_hospital, by_patient):
        row = only(table, **where)
        assert row.low < 0 < row.high
    where |= {"metric": "auc", "target": "hospitals like these (bootstrap)"}
    assert only(by_hospital, **where).low > 0
    assert only(by_patient, **where).low < 0


def test_without_a_shortcut_there_is_no_gap() -> None:
    table = gap_table(shortcut("hospital", strength=0), n_resamples=300)

    assert (table["low"] < 0).all()
    assert (table["high"] > 0).all()


def test_the_optimism_of_the_random_split_is_the_shortcut() -> None:
    random, held_out = (
        shortcut("patient", seeds=(1, 2)),
        shortcut("hospital", seeds=(1, 2)),
    )

    table = optimism_table(random, held_out, n_training=(1000, 1000))

    row = only(table, unit="patient")
    assert row.low > 0
    assert row.internal - row.external == pytest.approx(row.difference)
    assert (row.fold, row.seed) == ("mean", "mean")
    with pytest.raises(ThyroidFLError, match="equal training size"):
        optimism_table(random, held_out, n_training=(1000, 2000))
    inside = held_out[held_out["test_set"] == "internal"]
    with pytest.raises(ThyroidFLError, match="folds"):
        optimism_table(random, inside, n_training=(1, 1))


def test_the_rows_of_the_gap_are_those_of_the_statistics() -> None:
    predictions = shortcut("hospital")
    inside, outside = (
        predictions[predictions["test_set"] == name]
        for name in ("internal", "external")
    )

    table = gap_table(predictions, n_resamples=0)

    assert list(table.columns) == GAP_COLUMNS
    row = only(table, unit="patient", metric="auc", target="these hospitals")
    expected = compare_independent_aucs(
        inside["malignant"], inside["score"], outside["malignant"], outside["score"]
    )
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high))
    assert (row.n_internal, row.n_external) == (len(inside), len(outside))
    within = only(table, metric="auc_within_site")
    found = within_site_auc(inside["malignant"], inside["score"], inside["hospital"])
    assert within.internal == pytest.approx(found.value)
    each = [auc(of["malignant"], of["score"]) for _, of in outside.groupby("hospital")]
    each = [one for one in each if one.variance > 0 and one.n_positive is not None]
    counted = [one for one in each if 10 <= (one.n_positive or 0) <= one.n - 10]
    mean = random_effects_mean(
        [one.value for one in counted], [one.variance for one in counted]
    )
    row = only(table, metric="auc_hospital_mean", target="hospitals like these")
    assert row.external == pytest.approx(mean.value)
    assert row.n_external == len(counted)
    next_one = only(table, target="the next hospital")
    assert next_one.low < row.low
    assert next_one.high > row.high


def test_several_seeds_have_mean_rows() -> None:
    table = gap_table(shortcut("hospital", seeds=(1, 2, 3)), n_resamples=100)

    rows = table.query("unit == 'patient' and target == 'these hospitals'")
    single, mean = rows[rows["seed"] != "mean"], rows[rows["seed"] == "mean"].iloc[0]
    assert len(single) == 3
    assert mean.difference == pytest.approx(single["difference"].mean())
    assert "variance between seeds" in mean.method


def test_a_model_tested_on_one_side_has_a_gap_of_nan() -> None:
    predictions = shortcut("hospital")
    inside = predictions[predictions["test_set"] == "internal"]

    table = gap_table(inside)

    row = only(table, unit="patient", metric="auc")
    assert math.isnan(row.difference)
    assert (row.n_internal, row.n_external) == (len(inside), 0)
    assert row.internal == pytest.approx(
        auc(inside["malignant"], inside["score"]).value
    )


def test_the_worst_hospitals_of_each_test_set() -> None:
    table = worst_table(shortcut("hospital"))

    assert list(table.columns) == WORST_COLUMNS
    for test_set in ("internal", "external"):
        rows = table[table["test_set"] == test_set].set_index("metric")
        worst, decile = (rows.loc[f"auc_worst_{x}"] for x in ("hospital", "decile"))
        assert worst.value <= decile.value
        assert 0 <= worst.low < worst.value < worst.high
        assert 0 <= rows.loc["auc_share_below_internal"].value <= 1


def federation(effect: dict[str, float], *, n: int, seed: int = 1) -> pd.DataFrame:
    """Federated and single models; `effect`: what the federation does to each site.

    Above 0 the federated scores are that much sharper, below 0 that much duller.
    """
    rng = np.random.default_rng(seed)
    tables = []
    for hospital, gain in effect.items():
        labels = np.arange(n) % 2
        shared = rng.normal(size=n)
        cases = pd.DataFrame(
            {
                **NAMES,
                "patient_id": [f"{hospital}p{i}" for i in range(n)],
                "image_id": [f"{hospital}i{i}" for i in range(n)],
                "hospital": hospital,
                "test_set": "internal",
                "malignant": labels,
                "seed": 1,
            }
        )
        own = {"arm": "single", "strategy": "", "budget": "matched"}
        for names, shift in (
            ({**own, "trained_on": hospital}, 1.2),
            (FEDERATED, 1.2 + gain),
        ):
            score = shift * labels + shared + 0.4 * rng.normal(size=n)
            tables.append(cases.assign(**names, score=score))
    return pd.concat(tables, ignore_index=True)


def test_a_harmful_federation_is_called_harm_and_a_helpful_one_help() -> None:
    effect = {"big": -0.8, "good": 0.9, "same": 0.0}

    table = harm_table(federation(effect, n=300), {"big": 900, "good": 50, "same": 10})

    rows = table[table["unit"] == "patient"]
    assert list(table.columns) == HARM_COLUMNS
    assert rows["hospital"].tolist() == ["big", "good", "same"]  # by size
    assert rows["verdict"].tolist() == ["harmed", "helped", "no difference shown"]
    harmed = rows.iloc[0]
    assert harmed.p_holm == pytest.approx(min(3 * harmed.p_value, 1))
    assert harmed["size"] == 900


def test_a_federation_without_effect_harms_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(60) % 2
    verdicts = []
    for _ in range(2000):
        shared = 1.2 * labels + rng.normal(size=60)
        first, second = (shared + 0.4 * rng.normal(size=60) for _ in range(2))
        found = compare_aucs(labels, first, second)
        verdicts.append(verdict_of(found.low, found.high))

    assert verdicts.count("harmed") / 2000 == pytest.approx(0.025, abs=0.012)
    assert verdicts.count("helped") / 2000 == pytest.approx(0.025, abs=0.012)


def test_the_endpoints_of_a_federation_without_effect_call_no_harm() -> None:
    effect = {f"h{i}": 0.0 for i in range(10)}

    summary = harm_summary(federation(effect, n=80, seed=5))

    rows = summary[summary["unit"] == "patient"].set_index("hospital")
    assert list(rows.index) == [
        "all", "larger half", "smaller half", "worst", "worst decile",
    ]  # fmt: skip
    assert (rows["verdict"] == "no difference shown").all()
    assert rows.loc["worst", "difference"] < 0  # in the data, of ten
    assert rows["n"].tolist() == [10, 5, 5, 10, 10]


def test_harm_to_one_hospital_shows_in_the_worst_and_not_in_the_mean() -> None:
    effect = {f"h{i}": 0.0 for i in range(9)} | {"poor": -1.1}

    summary = harm_summary(federation(effect, n=200))

    rows = summary[summary["unit"] == "patient"].set_index("hospital")
    assert rows.loc["worst", "verdict"] == "harmed"
    assert rows.loc["all", "verdict"] == "no difference shown"


def test_a_hospital_of_one_class_is_not_testable() -> None:
    predictions = federation({"a": 0.0, "b": 0.5}, n=40)
    predictions.loc[predictions["hospital"] == "a", "malignant"] = 1

    table = harm_table(predictions)

    row = only(table, unit="patient", hospital="a")
    assert row.verdict == "not testable"
    assert math.isnan(row.difference)
    assert row.n == 40


def test_without_single_models_the_tables_are_empty() -> None:
    predictions = shortcut("hospital")

    assert harm_table(predictions).empty
    assert harm_summary(predictions).empty
    assert list(harm_summary(predictions).columns) == HARM_COLUMNS


def test_segmentation_has_a_gap_and_a_verdict_too() -> None:
    rng = np.random.default_rng(7)
    tables = []
    for names, mean in (
        (FEDERATED, 0.6),
        ({"arm": "single", "strategy": "", "budget": "tuned", "trained_on": "h0"}, 0.8),
    ):
        hospital = [f"h{i % 6}" for i in range(240)]
        cases = pd.DataFrame(
            {
                **NAMES, **names, "task": "segmentation", "seed": 1,
                "patient_id": [f"p{i}" for i in range(240)],
                "image_id": [f"i{i}" for i in range(240)],
                "hospital": hospital,
                "test_set": ["internal" if h < "h3" else "external" for h in hospital],
                "dice": np.clip(mean + 0.1 * rng.normal(size=240), 0, 1),
                "hd95_px": 5.0, "hd95_mm": 1.0,
            }
        )  # fmt: skip
        cases.loc[cases["test_set"] == "external", "dice"] -= 0.2
        tables.append(cases.assign(iou=cases["dice"]))
    predictions = pd.concat(tables, ignore_index=True)

    gaps, verdicts = gap_table(predictions), harm_table(predictions)

    row = only(
        gaps, unit="patient", arm="federated", metric="dice", target="these hospitals"
    )
    assert row.difference == pytest.approx(0.2, abs=0.03)
    assert row.low > 0
    row = only(verdicts, unit="patient")
    assert (row.verdict, row.budget, row.metric) == ("harmed", "tuned", "dice")


def test_folds_are_paired_by_their_names_and_averaged() -> None:
    first, second = shortcut("hospital"), shortcut("hospital", strength=0)
    other = second.assign(fold=1, image_id=second["image_id"] + "b")
    other["patient_id"] = other["patient_id"] + "b"
    only_inside = other[other["test_set"] == "internal"].assign(fold=2)

    table = gap_table(pd.concat([first, only_inside, other], ignore_index=True))

    rows = table.query("unit == 'patient' and target == 'these hospitals'")
    by_fold = rows.set_index("fold")["difference"]
    assert math.isnan(by_fold["2"])
    assert by_fold["mean"] == pytest.approx((by_fold["0"] + by_fold["1"]) / 2)
    boot = table[table["target"] == "hospitals like these (bootstrap)"]
    over_folds = only(boot, fold="mean")
    assert math.isnan(over_folds.difference)
    assert "see the rows of each fold" in over_folds.method


def test_the_size_of_a_hospital_is_its_test_cases_unless_told() -> None:
    predictions = federation({"a": 0.0, "b": 0.0}, n=40)
    bigger = predictions[
        (predictions["hospital"] == "b") | (predictions.index % 2 == 0)
    ]

    table = harm_table(bigger)

    rows = table[table["unit"] == "patient"]
    assert rows["hospital"].tolist() == ["b", "a"]
    assert rows["size"].tolist() == rows["n"].tolist()
