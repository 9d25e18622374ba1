"""Tables 1 and 2, bytes and seconds: the text says what the numbers say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.server.report.findings import Run, read_run
from thyroid_fl.server.report.sections.communication import (
    communication_table,
    strategies_table,
    time_table,
    traffic_figure,
)
from thyroid_fl.server.report.sections.patients import (
    characteristics_table,
    vendors_table,
)

MIB = 2**20


@pytest.fixture(scope="module")
def run(study_folder: Path) -> Run:
    return read_run(study_folder)


def traffic(**columns: object) -> pd.DataFrame:
    """Return two rounds of two hospitals: 2 MiB down; 1 MiB back from training."""
    rows = [
        {"round": k, "step": step, "sent_bytes": 2 * MIB, "received_bytes": back}
        for k in (1, 2)
        for step, back in (("train", MIB), ("evaluate", 0))
        for _ in range(2)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_table_1_has_a_column_a_side_with_its_patients(run: Run):
    n = run.baseline.query("characteristic == 'patients'").set_index("stage")
    table = characteristics_table(run.baseline)

    names = ["Total", "Training", "Validation", "Internal test", "External test"]
    stages = ["usable", "train", "val", "internal", "external"]
    assert list(table.columns) == [
        "",
        *(
            f"{name} (n\u00a0=\u00a0{n['n_patients'][stage]:,})"
            for name, stage in zip(names, stages, strict=True)
        ),
    ]


def test_table_1_has_counts_shares_and_quartiles(run: Run):
    cell = run.baseline.query("stage == 'train' and cell == 'malignant'").iloc[0]

    table = characteristics_table(run.baseline).set_index("").iloc[:, 1]

    assert table["Malignant, patients (%)"] == f"{cell['n_patients']:,} (60.0)"
    assert table["Malignant, images"] == f"{cell['n_images']:,}"
    assert table["Age (y), median (IQR)"] == "46 (37\u201355)"


def test_a_class_or_sex_that_nobody_has_gets_no_row(run: Run):
    rows = characteristics_table(run.baseline)[""].tolist()

    assert "Female, patients (%)" in rows
    assert not any(row.startswith(("Male", "Sex unknown", "Class")) for row in rows)


def test_a_side_without_patients_has_zeros_and_no_age(run: Run):
    empty = run.baseline["stage"] == "external"
    counts = ["n_hospitals", "n_patients", "n_images", "n_age"]
    baseline = run.baseline.copy()
    baseline.loc[empty, counts] = 0
    baseline.loc[empty, ["percent", "age_q1", "age_median", "age_q3"]] = np.nan

    table = characteristics_table(baseline).set_index("").iloc[:, -1]

    assert table["Malignant, patients (%)"] == "0"
    assert table["Age (y), median (IQR)"] == "\u2013"


def test_table_2_has_the_vendor_with_most_patients_first(run: Run):
    table = vendors_table(run.baseline)

    assert table["Vendor"].tolist() == ["GE Healthcare", "other"]
    assert table["Total"].str.endswith("(70.0)").tolist() == [True, False]


def test_bytes_by_step_by_hand():
    table = communication_table(traffic()).set_index("Step")

    assert table.loc["training"].tolist() == ["2", "4", "8.0", "4.0", "2.000", "1.000"]
    assert table.loc["validation", "Back, MiB"] == "0.0"
    assert table.loc["all"].tolist() == ["2", "8", "16.0", "4.0", "2.000", "0.500"]


def test_a_strategy_s_bytes_are_means_over_its_trainings():
    one = traffic(strategy="fedavg", arm="federated", budget="", trained_on="all")
    seeds = pd.concat([one.assign(seed=1, fold=0), one.assign(seed=2, fold=0)])

    table = strategies_table(seeds)

    assert table["Strategy"].unique().tolist() == ["FedAvg"]
    assert table["To hospitals, MiB"].tolist() == ["8.0", "8.0", "16.0"]


def test_times_are_means_over_trainings_and_single_hospitals_are_one_row(run: Run):
    table = time_table(run.history).set_index("Model")

    federated = table.loc["Federated (FedAvg)"]
    assert federated.tolist() == ["2", "8", "3.0", "0.4"]  # 8 rounds of 3 s
    assert table.loc["Hospital alone (matched)", "Trainings"] == "6"  # 3 x 2 seeds


def test_the_figure_has_mib_and_seconds_of_each_round():
    history = pd.DataFrame({"round": [0, 1, 2], "seconds": [np.nan, 5.0, 7.0]})

    chart = traffic_figure(traffic(), history)

    assert chart.numbers["sent_mib"].tolist() == [8.0, 8.0]
    assert chart.numbers["received_mib"].tolist() == [2.0, 2.0]
    assert chart.numbers["seconds"].tolist() == [5.0, 7.0]
    assert len(chart.figure.axes) == 2


def test_without_seconds_there_is_one_panel():
    chart = traffic_figure(traffic(), pd.DataFrame({"round": [1, 2]}))

    assert len(chart.figure.axes) == 1
