"""The generalisation matrix from predictions: cells, paired tests, tables."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from thyroid_fl.evaluation.matrix import (
    CELL_COLUMNS,
    DIFFERENCE_COLUMNS,
    MIXED,
    WITHIN,
    cells_table,
    differences_table,
    own_minus_others,
    paper_table,
)
from thyroid_fl.statistics import auc, compare_aucs, mean_auc

SOURCES = ("GE", "Philips", "Tiny")
MODELS = {  # arm, budget, trained_on: its AUC at home (or anywhere) and elsewhere
    ("federated", "", "all"): (0.90, 0.90),
    ("pooled", "", "all"): (0.92, 0.92),
    **{("single", "", s): (0.90, 0.70) for s in SOURCES},
    **{("pooled", "others", s): (0.75, 0.85) for s in SOURCES},
    **{("pooled", "equal", s): (0.80, 0.80) for s in SOURCES},
}


@pytest.fixture(scope="module")
def predictions():
    """60 test patients with two pictures of each vendor but one, which has 12."""
    rng = np.random.default_rng(3)
    patients = pd.DataFrame(
        {
            "hospital": np.repeat(SOURCES, [60, 60, 12]),
            "malignant": np.tile([0, 1], 66),
            "patient_id": [f"p{i}" for i in range(132)],
        }
    )
    images = patients.loc[patients.index.repeat(2)].reset_index(drop=True)
    images["image_id"] = [f"i{i}" for i in range(len(images))]
    tables = []
    for seed in (1, 2):
        for fold, ((arm, budget, trained_on), reached) in enumerate(MODELS.items(), 1):
            is_home = (images["hospital"] == trained_on) | (trained_on == "all")
            distance = math.sqrt(2) * norm.ppf(np.where(is_home, *reached))
            score = rng.normal(distance * images["malignant"])
            tables.append(
                images.assign(
                    task="classification",
                    arm=arm,
                    budget=budget,
                    fold=fold,
                    strategy="fedavg" if arm == "federated" else "",
                    seed=seed,
                    trained_on=trained_on,
                    split="test",
                    vendor=images["hospital"],
                    test_set=np.where(is_home, "internal", "external"),
                    score=score,
                )
            )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def cells(predictions):
    return cells_table(predictions)


@pytest.fixture(scope="module")
def tests(predictions):
    return differences_table(predictions)


def scores(predictions, model, hospital=None):
    """Return labels and scores by patient, (N,) and (N, seeds)."""
    names = ["arm", "budget", "trained_on"]
    chosen = predictions[(predictions[names] == list(model)).all(axis=1)]
    if hospital:
        chosen = chosen[chosen["hospital"] == hospital]
    wide = chosen.pivot_table(
        index=["patient_id", "malignant"], columns="seed", values="score", aggfunc="max"
    )
    return wide.index.get_level_values("malignant").to_numpy(), wide.to_numpy()


def cell(cells, kind, source, column):
    found = cells.query("kind == @kind and source == @source and column == @column")
    assert len(found) == 1
    return found.iloc[0]


def test_every_model_has_a_cell_in_every_column(cells):
    assert cells.columns.tolist() == CELL_COLUMNS
    assert len(cells) == len(MODELS) * (len(SOURCES) + 2)
    assert set(cells["column"]) == {*SOURCES, MIXED, WITHIN}
    assert (cells["n_seeds"] == 2).all()


@pytest.mark.parametrize("hospital", ["Philips", None])
def test_a_cell_is_the_mean_auc_by_patient_over_the_seeds(cells, predictions, hospital):
    labels, of_seeds = scores(predictions, ("single", "", "GE"), hospital)
    expected = mean_auc([(labels, of_seeds, None)])
    found = cell(cells, "single", "GE", hospital or MIXED)

    assert found["value"] == pytest.approx(expected.value)
    assert found["low"] == pytest.approx(expected.low)
    assert found["n"] == len(labels)
    each = [auc(labels, one).value for one in of_seeds.T]
    assert found["seed_sd"] == pytest.approx(np.std(each, ddof=1))


def test_a_cell_with_too_few_of_a_class_is_nan_with_its_n(cells):
    tiny = cells[cells["column"] == "Tiny"]

    assert tiny["value"].isna().all()
    assert tiny["low"].isna().all()
    assert (tiny["n"] == 12).all()
    assert tiny["method"].str.startswith("fewer than 10").all()
    assert cells.loc[cells["column"] == MIXED, "value"].notna().all()


def test_tests_are_paired_and_corrected_over_one_comparison(tests, predictions):
    assert tests.columns.tolist() == DIFFERENCE_COLUMNS
    assert "Tiny" not in set(tests["column"])
    for _, family in tests.groupby("comparison"):
        _, corrected, _, _ = multipletests(family["p_value"], method="holm")
        assert family["p_holm"].to_numpy() == pytest.approx(corrected)
    sizes = tests["comparison"].value_counts()
    assert sizes.pop("federated - mixed") == 3  # two vendors, and all together
    assert set(sizes) == {9}  # for each of three sources


def test_diversity_and_size_add_up_to_mixed_minus_single(tests):
    wide = tests.pivot(
        index=["source", "column"], columns="comparison", values="difference"
    ).drop(index="", level="source")

    total = wide["diversity"] + wide["size"]
    assert total.to_numpy() == pytest.approx(wide["mixed - single"].to_numpy())


def test_one_seed_gives_the_paired_test_of_delong(predictions):
    one = predictions[predictions["seed"] == 1]
    labels, mixed = scores(one, ("pooled", "", "all"), "GE")
    _, alone = scores(one, ("single", "", "Philips"), "GE")
    expected = compare_aucs(labels, mixed[:, 0], alone[:, 0])
    found = differences_table(one).query(
        "comparison == 'mixed - single' and source == 'Philips' and column == 'GE'"
    )

    assert found["difference"].item() == pytest.approx(expected.difference)
    assert found["p_value"].item() == pytest.approx(expected.p_value)
    assert found["n_seeds"].item() == 1


def test_own_minus_others_leaves_undefined_cells_out(cells):
    table = own_minus_others(cells).set_index("source")
    at_home = cell(cells, "single", "GE", "GE")["value"]
    away = cell(cells, "single", "GE", "Philips")["value"]

    assert table.loc["GE", "own"] == at_home
    assert table.loc["GE", "others"] == away
    assert table.loc["GE", "difference"] == at_home - away
    assert math.isnan(table.loc["Tiny", "difference"])


def test_the_table_has_the_papers_shape(cells):
    table = paper_table(cells)

    assert table.columns.tolist() == ["Training Data Set", *SOURCES, MIXED]
    assert table["Training Data Set"].tolist() == [*SOURCES, "Mixed", "Federated"]
    found = cell(cells, "mixed", "", "GE")
    text = f"{found['value']:.2f} ({found['low']:.2f}, {found['high']:.2f})"
    assert table.loc[3, "GE"] == text
    assert (table["Tiny"] == "NaN (n = 12)").all()


def test_detection_and_segmentation_have_matrices_too(predictions):
    one = predictions[predictions["seed"] == 1].drop(columns=["malignant"])
    one = one[one["trained_on"].isin(["all", "GE"])]
    overlap = one.assign(task="segmentation", dice=1 / (1 + np.exp(-one["score"])))
    overlap = overlap.assign(iou=overlap["dice"], hd95_px=1.0, hd95_mm=np.nan)
    boxes = one.assign(task="detection", boxes=[[[0, 0, 9, 9]]] * len(one))
    boxes["found"] = [[[0, 0, 9, 9 + 2 * (s < 0)]] for s in one["score"]]
    boxes["scores"] = [[s] for s in one["score"]]
    for table, metric in ((overlap, "dice"), (boxes, "ap50")):
        shown = cells_table(table)
        compared = differences_table(table)

        assert set(shown["metric"]) == {metric}
        assert set(shown["column"]) == {*SOURCES, MIXED}
        assert shown["value"].notna().all()
        assert len(compared) == 7 * 4
        assert compared["difference"].notna().all()
