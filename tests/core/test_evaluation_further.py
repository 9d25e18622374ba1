"""All further tables of a comparison in one call."""

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.evaluation import comparisons_table
from thyroid_fl.evaluation.further import FURTHER_TABLES, further_tables
from thyroid_fl.evaluation.rows import ONE_TRAINING

SIZES = {"classification": {"H0": 30, "H1": 20}}


def scored(seeds: tuple[int, ...] = (1,)) -> pd.DataFrame:
    """Predictions of a federated model and of H0's own, worse one."""
    rng = np.random.default_rng(3)
    n = 120
    malignant = np.arange(n) % 2
    cases = pd.DataFrame(
        {
            "task": "classification",
            "fold": 0,
            "split": np.where(np.arange(n) % 6 < 2, "val", "test"),
            "test_set": np.where(np.arange(n) < 80, "internal", "external"),
            "image_id": [f"i{i}" for i in range(n)],
            "patient_id": [f"p{i}" for i in range(n)],
            "hospital": [f"H{i // 40}" for i in range(n)],
            "vendor": "GE",
            "malignant": malignant,
        }
    )
    models = (("federated", "fedavg", "", "all"), ("single", "", "matched", "H0"))
    tables = [
        cases.assign(
            arm=arm,
            strategy=strategy,
            budget=budget,
            trained_on=trained_on,
            seed=seed,
            score=1 / (1 + np.exp(-malignant * gain - rng.normal(size=n))),
        )
        for seed in seeds
        for (arm, strategy, budget, trained_on), gain in zip(
            models, (2, 0.5), strict=True
        )
    ]
    return pd.concat(tables, ignore_index=True)


def manifest(**columns: object) -> pd.DataFrame:
    names = [f"i{i}" for i in range(120)]
    empty = {"image_id": names, "age": np.nan, "sex": None}
    return pd.DataFrame(empty | columns)


def test_every_table_has_rows_where_the_predictions_allow_them() -> None:
    sex = np.where(np.arange(120) % 4 < 2, "F", "M")

    tables = further_tables(scored(), manifest(sex=sex), SIZES, n_resamples=50)

    assert tuple(tables) == FURTHER_TABLES
    assert all(len(table) for table in tables.values())
    assert set(tables["subgroups"]["column"]) == {"sex"}  # no age is known
    assert (tables["harm"]["size"] == 30).all()


def test_a_manifest_without_ages_or_sexes_has_no_subgroups() -> None:
    tables = further_tables(scored(), manifest(), SIZES, n_resamples=50)

    assert tables["subgroups"].empty
    assert "group" in tables["subgroups"]


def test_ages_of_training_patients_alone_make_no_subgroups() -> None:
    is_test = scored().drop_duplicates("image_id")["split"] == "test"
    ages = np.where(is_test, np.nan, 50.0)

    tables = further_tables(scored(), manifest(age=ages), SIZES, n_resamples=50)

    assert tables["subgroups"].empty


@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_the_method_says_where_each_model_was_trained_once(seeds) -> None:
    predictions = scored(seeds)
    further = further_tables(
        predictions, manifest(age=np.arange(120.0)), SIZES, n_resamples=50
    )

    names = ("gap", "harm", "subgroups")
    for table in (comparisons_table(predictions), *(further[k] for k in names)):
        is_told = table["method"].str.endswith(ONE_TRAINING)
        assert (is_told == (table["seed"] != "mean")).all()
        assert table["p_value"].notna().any()
        assert (~is_told).any() == (len(seeds) > 1)
