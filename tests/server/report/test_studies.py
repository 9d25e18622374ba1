"""A comparison's page has the studies of its sub-folders, and MLflow has them, too."""

import shutil

import pytest
from typer.testing import CliRunner

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.sections.studies import studies
from thyroid_fl.server.tracking import log_matrix_to_mlflow, log_to_mlflow
from thyroid_fl.simulation.cli import main


@pytest.fixture(scope="module")
def page(full_folder, read_page):
    return read_page(write_report(full_folder).read_text("utf-8"))


def test_the_matrix_is_on_the_page_with_its_words_and_figure(page, full_folder):
    assert "Trained on one vendor, tested on each" in page.text
    assert "own minus others +0.100" in page.text
    assert "vendors/figures/classification/matrix .svg .png .csv" in page.text
    assert (full_folder / "vendors/figures/classification/matrix.svg").is_file()


def test_optimism_and_readers_are_on_the_page(page):
    assert "The random split <b>flatters</b>." in page.text  # as text, not as HTML
    assert "SIMULATED readers" in page.text
    assert "Scoring and Experience Level" in page.text
    assert "Patient-level scoring" in page.text


def test_without_studies_there_are_no_sections_of_them(study_folder):
    assert studies(study_folder, "") == {"matrices": [], "optimisms": [], "readers": []}


def test_a_matrix_of_other_data_is_refused(full_folder):
    with pytest.raises(ConfigError, match="vendors: this matrix is of other data"):
        studies(full_folder, "another")


def test_a_half_written_matrix_is_refused(write_matrix, tmp_path):
    write_matrix(tmp_path / "vendors")
    (tmp_path / "vendors/differences.csv").unlink()

    with pytest.raises(ConfigError, match="no finished matrix here"):
        studies(tmp_path, "")


def names_of_runs(folder, experiment):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id])
    return client, {run.info.run_name: run for run in runs}


def test_mlflow_has_the_matrix_beside_the_comparison_once(full_folder):
    write_report(full_folder)
    log_to_mlflow(full_folder)
    log_to_mlflow(full_folder)

    client, runs = names_of_runs(full_folder, "full study")
    run = runs["matrix by vendor: classification"]
    assert "full study" in runs
    assert len(runs) == 2 + 6 * 2  # models, seeds
    cells = run.data.metrics
    assert cells["auc per patient/single Philips/Philips"] == 0.9
    assert cells["auc per patient/single Philips/NA/low"] == pytest.approx(0.77)
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"matrix.csv", "differences.csv", "figures"} <= artifacts


def test_a_matrix_alone_has_a_store_of_its_own(write_matrix, tmp_path):
    folder = write_matrix(tmp_path / "vendors")

    command = log_matrix_to_mlflow(folder)

    assert "mlflow ui --backend-store-uri" in command
    assert list(names_of_runs(folder, "vendors")[1]) == [
        "matrix by vendor: classification"
    ]


def test_the_command_makes_the_page_again(study_folder, write_matrix, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(study_folder, folder)
    write_matrix(folder / "vendors")
    (folder / "report.html").unlink(missing_ok=True)

    done = CliRunner().invoke(main, ["report", str(folder)])

    assert done.exit_code == 0, done.output
    assert f"report: {folder / 'report.html'}" in done.output
    assert "MLflow: MLFLOW_DISABLE_TELEMETRY=true mlflow ui" in done.output
    assert "matrix-vendor-classification" in (folder / "report.html").read_text("utf-8")


def test_a_folder_without_a_comparison_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["report", str(tmp_path)])

    assert done.exit_code == 2
    assert "no finished comparison" in done.output
