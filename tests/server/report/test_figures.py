"""The figures show the numbers of the tables, and leave matplotlib as it was."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from thyroid_fl.server.report.charts import Chart, save_chart
from thyroid_fl.server.report.curves import curve_figure
from thyroid_fl.server.report.figures import (
    MOST_HOSPITALS,
    difference_figure,
    hospital_figure,
    learning_figure,
    sizes_figure,
)
from thyroid_fl.server.report.findings import Run, read_run


@pytest.fixture(scope="module")
def run(study_folder: Path) -> Run:
    return read_run(study_folder)


def roc_figure(predictions: pd.DataFrame, test_set: str) -> Chart:
    return curve_figure("classification", predictions, test_set)


def labels(chart) -> list[str]:
    return [label.get_text() for label in chart.figure.axes[0].get_yticklabels()]


def test_roc_of_a_perfect_and_of_an_inverse_model_by_hand():
    malignant = np.array([0, 0, 0, 1, 1, 1])
    perfect = pd.DataFrame(
        {
            "task": "classification", "arm": "federated", "strategy": "fedavg",
            "budget": "", "trained_on": "all", "fold": 0, "seed": 1, "split": "test",
            "test_set": "internal", "hospital": "H1", "vendor": "GE",
            "patient_id": list("abcdef"), "image_id": list("abcdef"),
            "malignant": malignant, "score": malignant * 1.0,
        }
    )  # fmt: skip
    inverse = perfect.assign(arm="pooled", strategy="", score=1.0 - malignant)

    numbers = roc_figure(pd.concat([perfect, inverse]), "internal").numbers

    by_arm = numbers.set_index("arm")
    assert (by_arm.loc["federated", "y"] == 1).all()
    inside = by_arm.loc["pooled"].query("x < 1")
    assert (inside["y"] == 0).all()
    assert by_arm.loc["federated", "value"].eq(1).all()
    assert by_arm.loc["pooled", "value"].eq(0).all()


def test_roc_shows_the_mean_over_seeds_and_only_the_best_single_hospital(run: Run):
    external = run.predictions.query("test_set == 'external' and split == 'test'")
    aucs = {}
    for key, images in external.groupby(["arm", "budget", "trained_on", "seed"]):
        patients = images.groupby("patient_id")[["malignant", "score"]].max()
        aucs[key] = roc_auc_score(patients["malignant"], patients["score"])
    mean = pd.Series(aucs).groupby(level=[0, 1, 2]).mean()

    numbers = roc_figure(run.predictions, "external").numbers

    shown = numbers.drop_duplicates(["arm", "budget", "trained_on"])
    shown = shown.set_index(["arm", "budget", "trained_on"])["value"]
    assert set(shown.index.get_level_values("arm")) == {"federated", "pooled", "single"}
    assert len(shown) == 3
    assert shown["single"].item() == pytest.approx(mean["single"].max())
    for model, value in shown.items():
        assert value == pytest.approx(mean[model])
    inside = numbers.query("0 < x < 1")
    assert (inside["low"] <= inside["y"] + 1e-9).all()
    assert (inside["y"] <= inside["high"] + 1e-9).all()


def test_the_auc_in_the_legend_is_that_of_the_table(run: Run):
    table = run.results.query(
        "metric == 'auc' and unit == 'patient' and hospital == 'all' "
        "and seed == 'mean' and arm == 'federated'"
    )

    for test_set in ("internal", "external"):
        (axis,) = roc_figure(run.predictions, test_set).figure.axes
        value = table.set_index("test_set")["value"][test_set]
        texts = [text.get_text() for text in axis.get_legend().get_texts()]
        assert f"Federated (FedAvg), AUC {value:.3f}" in texts


def test_hospitals_come_largest_first_with_a_defined_auc_and_only_their_own_model(
    run: Run,
):
    chart = hospital_figure(run.results)

    sizes = [int(label.rpartition(" ")[2]) for label in labels(chart)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) <= MOST_HOSPITALS
    assert chart.numbers["value"].notna().all()
    single = chart.numbers.query("arm == 'single'")
    assert (single["trained_on"] == single["hospital"]).all()
    assert not single.empty
    assert single.loc[single["hospital"] == "H000", "budget"].tolist() == ["tuned"]
    external = set(chart.numbers.query("test_set == 'external'")["hospital"])
    starred = {label.partition("*")[0] for label in labels(chart) if "*" in label}
    assert starred == external


def test_differences_are_those_of_the_means_per_patient(run: Run):
    chart = difference_figure(run.comparisons)

    expected = run.comparisons.query(
        "seed == 'mean' and unit == 'patient' and hospital == 'all'"
    )
    assert sorted(chart.numbers["difference"]) == sorted(expected["difference"])
    assert "FedAvg \u2212 pooled" in labels(chart)
    assert "FedAvg \u2212 H000 (tuned)" in labels(chart)


def test_differences_between_strategies_are_shown_too(
    write_study: Callable[..., Path],
):
    folder = write_study("two", seeds=1, strategies=("fedavg", "fedprox"))

    shown = labels(difference_figure(read_run(folder).comparisons))

    assert "FedProx \u2212 FedAvg" in shown
    assert {"FedAvg \u2212 pooled", "FedProx \u2212 pooled"} <= set(shown)


def test_learning_curves_are_means_over_seeds(run: Run):
    numbers = learning_figure(run.history).numbers

    last = run.history.query("arm == 'pooled' and round == 8")
    shown = numbers.query("arm == 'pooled' and round == 8")
    assert len(last) == 2
    assert shown["auc"].item() == pytest.approx(last["auc"].mean())


def test_every_hospital_has_its_bar(run: Run):
    chart = sizes_figure(run.hospitals)

    assert len(chart.figure.axes[0].patches) == len(run.hospitals) == 40
    texts = [t.get_text() for t in chart.figure.axes[0].get_legend().get_texts()]
    assert texts == ["32 took part in training", "8 external test only"]


def test_empty_tables_give_empty_figures(run: Run, tmp_path: Path):
    charts = [
        roc_figure(run.predictions.head(0), "external"),
        hospital_figure(run.results.head(0)),
        difference_figure(run.comparisons.head(0)),
    ]

    for chart in charts:
        assert save_chart(chart, tmp_path).exists()


def test_a_chart_is_saved_thrice_and_the_same_numbers_give_the_same_file(
    run: Run, tmp_path: Path
):
    first = save_chart(sizes_figure(run.hospitals), tmp_path / "a")
    second = save_chart(sizes_figure(run.hospitals), tmp_path / "b")

    assert first.read_bytes() == second.read_bytes()
    assert first.with_suffix(".png").stat().st_size > 5000
    assert len(pd.read_csv(first.with_suffix(".csv"))) == 40


def test_a_name_with_dollars_is_no_formula(run: Run, tmp_path: Path):
    comparisons = run.comparisons.replace({"trained_on": {"H000": "$a_{1$ $"}})

    path = save_chart(difference_figure(comparisons), tmp_path)

    assert "$a_{1$ $" in path.read_text()


def test_drawing_leaves_matplotlib_as_it_was(run: Run):
    before = dict(mpl.rcParams)

    difference_figure(run.comparisons)

    assert dict(mpl.rcParams) == before
