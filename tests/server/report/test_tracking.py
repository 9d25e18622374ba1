"""MLflow holds the results and every training, and no prediction."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from thyroid_fl.evaluation.further import FURTHER_TABLES
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.findings import main_rows, read_run
from thyroid_fl.server.tracking import log_to_mlflow


@pytest.fixture(scope="module")
def logged(write_study: Callable[..., Path]) -> Path:
    """Return a study that was logged twice."""
    folder = write_study("logged study")
    write_report(folder)
    log_to_mlflow(folder)
    log_to_mlflow(folder)
    return folder


@pytest.fixture(scope="module")
def client(logged: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{logged / 'mlflow.db'}")


@pytest.fixture(scope="module")
def runs(client):
    experiment = client.get_experiment_by_name("logged study")
    return client.search_runs([experiment.experiment_id])


@pytest.fixture(scope="module")
def parent(runs):
    (found,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    return found


def test_one_run_per_training_under_one_parent_even_if_logged_twice(runs, parent):
    parents = [run.data.tags.get("mlflow.parentRunId") for run in runs]

    assert parents.count(parent.info.run_id) == 6 * 2  # models, seeds
    assert len(runs) == 6 * 2 + 1
    assert all(run.info.status == "FINISHED" for run in runs)


def test_a_training_has_its_settings_and_its_rounds(client, runs, logged: Path):
    (child,) = [
        run
        for run in runs
        if run.info.run_name == "classification: H000 alone (tuned), seed 2, fold 0"
    ]

    history = read_run(logged).history.query(
        "trained_on == 'H000' and budget == 'tuned' and seed == '2'"
    )
    metrics = client.get_metric_history(child.info.run_id, "auc")
    assert [m.step for m in metrics] == history["round"].tolist()
    assert [m.value for m in metrics] == pytest.approx(history["auc"].tolist())
    assert child.data.params["budget"] == "tuned"
    assert child.data.params["seed"] == "2"
    assert child.data.params["rounds"] == "8"


def test_the_parent_has_the_results(parent, logged: Path):
    rows = main_rows(read_run(logged).results)
    pooled = rows.query(
        "arm == 'pooled' and metric == 'auc' and test_set == 'external'"
    ).iloc[0]

    metrics = parent.data.metrics
    name = "auc per patient/external/Pooled"
    assert metrics[name] == pytest.approx(pooled["value"])
    assert metrics[f"{name}/low"] == pytest.approx(pooled["low"])
    assert "difference in auc/external/fedavg minus pooled/high" in metrics


def test_the_parent_has_gap_harm_operating_points_and_calibration(parent, logged: Path):
    further = read_run(logged).further
    metrics = parent.data.metrics
    model = "Federated FedAvg"

    rows = further["gap"].query(
        "arm == 'federated' and unit == 'patient' and metric == 'auc' and "
        "seed == 'mean' and target == 'these hospitals'"
    )
    name = f"gap in auc per patient/these hospitals/{model}"
    assert metrics[name] == pytest.approx(rows["difference"].item())
    assert metrics[f"{name}/high"] == pytest.approx(rows["high"].item())
    verdicts = {name: n for name, n in metrics.items() if name.startswith("hospitals ")}
    of_patients = [n for name, n in verdicts.items() if "per patient" in name]
    assert sum(of_patients) == 4  # three matched, one tuned
    rows = further["calibration"].query(
        "arm == 'pooled' and test_set == 'external' and seed == 'mean' and "
        "metric == 'calibration_slope'"
    )
    name = "calibration_slope per patient/external/Pooled"
    assert metrics[name] == pytest.approx(rows["value"].item())
    rows = further["operating_points"].query(
        "arm == 'pooled' and test_set == 'external' and seed == 'mean' and "
        "metric == 'sensitivity' and unit == 'image' and "
        "basis == 'validation, clustered'"
    )
    name = "sensitivity per image/external/validation clustered/Pooled"
    assert metrics[name] == pytest.approx(rows["value"].item())
    assert "auc per patient/external/age below 45 minus from 45/Pooled" in metrics


def test_report_tables_and_figures_are_kept_but_no_predictions(logged: Path):
    names = {path.name for path in (logged / "mlartifacts").rglob("*")}

    assert {"report.html", "results.csv", "differences.svg", "gap.svg"} <= names
    assert {f"{name}.csv" for name in FURTHER_TABLES} <= names
    assert not [name for name in names if "prediction" in name]


def test_telemetry_is_off_and_the_command_opens_this_store(logged: Path):
    command = log_to_mlflow(logged)

    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["DO_NOT_TRACK"] == "true"
    assert command == (
        "MLFLOW_DISABLE_TELEMETRY=true mlflow ui --backend-store-uri "
        f"'sqlite:///{logged / 'mlflow.db'}'"
    )
