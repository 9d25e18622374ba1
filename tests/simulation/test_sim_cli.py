"""`thyroid-sim`: what the terminal shows, exit codes, and a fast --help."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from thyroid_fl.simulation import cli
from thyroid_fl.simulation.cli import main


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def compared(small_manifest, tmp_path_factory):
    """Run a comparison; return its folder and what the terminal showed."""
    out = tmp_path_factory.mktemp("runs") / "told"
    study = out.with_suffix(".toml")
    study.write_text(
        f'data = "{small_manifest}"\nimage_px = 32\nrounds = 5\nlocal_epochs = 1\n'
    )
    done = call(
        "compare", "--study", study, "--rounds", 1, "--set", "threads=1",
        "--split", "patient", "--strategies", "fedavg,fedprox", "--singles", 1,
        "--tuned", 0, "--jobs", 1, "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return out, done


def test_compare_prints_the_table_the_differences_and_where_the_report_is(compared):
    out, done = compared

    printed = " ".join(done.stdout.split())
    for word in ("Federated", "(FedAvg)", "(FedProx)", "Pooled", "alone", "(matched)"):
        assert word in printed
    assert "federated (FedAvg) minus pooled: AUC" in printed
    assert "federated (FedProx) minus the best single hospital" in printed
    assert "No hospital was kept out of training" in printed
    assert f"report: {out / 'report.html'}" in printed
    assert f"mlflow ui --backend-store-uri sqlite:///{out / 'mlflow.db'}" in printed


def test_a_hospitals_name_is_printed_as_it_is(capsys):
    console = Console(markup=False, width=100)
    cli._print_table(console, pd.DataFrame({"Model": ["St. Mary [East] alone"]}))

    assert "St. Mary [East] alone" in capsys.readouterr().out


def test_compare_draws_its_progress_on_stderr_only(compared):
    _, done = compared

    assert "36/36" in done.stderr  # 4 trainings' requests, each 3 times a hospital
    assert "36/36" not in done.stdout


def test_options_override_the_file_and_set_reaches_every_field(compared):
    out, _ = compared

    study = json.loads((out / "study.json").read_text())["classification"]
    comparison = json.loads((out / "comparison.json").read_text())
    assert (study["rounds"], study["image_px"], study["threads"]) == (1, 32, 1)
    assert comparison["strategies"] == ["fedavg", "fedprox"]


def test_an_unknown_setting_in_the_file_is_refused(tmp_path):
    (tmp_path / "study.toml").write_text("learning_rat = 0.1\n")

    done = call("compare", "--study", tmp_path / "study.toml", "--out", tmp_path / "o")

    assert done.exit_code == 2
    message = " ".join(done.stderr.split())
    assert "study.toml: unknown setting 'learning_rat'. Did you mean" in message
    assert "Known settings: data, task, preset" in message
    assert not (tmp_path / "o").exists()


def test_a_wrong_setting_is_mended_in_the_same_folder(small_manifest, tmp_path):
    command = ["compare", "--data", small_manifest, "--image-px", 32, "--threads", 1]
    command += ["--rounds", 1, "--singles", 0, "--tuned", 0, "--jobs", 1]
    command += ["--set", "local_epochs=1"]
    command += ["--out", tmp_path / "out"]

    wrong = call(*command, "--weights", tmp_path / "absent.pth")
    mended = call(*command)
    other = call(*command, "--set", "batch_size=4")

    assert (wrong.exit_code, mended.exit_code, other.exit_code) == (2, 0, 2)
    assert "other settings (batch_size)" in other.stderr


def test_cohort_writes_a_manifest_and_prints_its_place(tmp_path):
    arguments = ["cohort", tmp_path / "cohort", "--scale", 0.021, "--picture-px", 32]

    drawn = call(*arguments)
    again = call(*arguments)
    other = call(*arguments, "--seed", 2)

    manifest = tmp_path / "cohort" / "manifest.parquet"
    assert (drawn.exit_code, again.exit_code, other.exit_code) == (0, 0, 2)
    assert drawn.stdout == again.stdout == f"{manifest}\n"
    assert pd.read_parquet(manifest)["hospital"].nunique() == 208
    assert "other settings: choose another folder" in " ".join(other.stderr.split())


def test_cohort_refuses_what_it_cannot_draw(tmp_path):
    done = call("cohort", tmp_path / "cohort", "--scale", 2)

    assert done.exit_code == 2
    assert done.stderr.startswith("error: scale is 2.0")
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_contracts_options_and_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; "
        "from thyroid_fl.simulation.cli import main; "
        "print(CliRunner().invoke(main, ['compare', '--help']).stdout); "
        "heavy = {'torch', 'flwr', 'mlflow', 'pandas', 'matplotlib', 'ray'}; "
        "sys.exit(' '.join(heavy & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.stderr.strip() == ""
    for option in (
        "data", "task", "preset", "region", "split", "strategies", "seeds", "folds",
        "out", "debug",
    ):  # fmt: skip
        assert f"--{option} " in done.stdout
