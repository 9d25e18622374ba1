import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import thyroid_fl
from thyroid_fl.errors import ConfigError
from thyroid_fl.simulation.cli import main

SETTINGS = {
    "split": "hospital",
    "image_px": 32,
    "rounds": 2,
    "local_epochs": 1,
    "threads": 1,
    "jobs": 1,
    "singles": 1,
    "tuned": 1,
    "progress": False,
}


@pytest.fixture(scope="module")
def finished(small_manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    return thyroid_fl.compare(data=small_manifest, out=out, seeds=2, **SETTINGS)


def test_the_results_have_the_promised_columns_and_arms(finished):
    results = pd.read_csv(finished.folder / "results.csv", keep_default_na=False)

    assert results.columns.tolist() == [
        "task", "arm", "strategy", "budget", "trained_on", "hospital", "test_set",
        "unit", "metric", "value", "low", "high", "n", "n_positive", "method", "fold",
        "seed",
    ]  # fmt: skip
    assert set(results["arm"]) == {"federated", "pooled", "single"}
    assert set(results["test_set"]) == {"internal", "external"}
    assert set(results["seed"].astype(str)) == {"1", "2", "mean"}


def test_the_comparison_has_its_tables_figure_and_report(finished):
    assert len(finished.table) == 4  # federated, pooled, single matched and tuned
    assert {"federated - pooled", "federated - single (tuned)"} <= set(
        finished.comparisons["comparison"]
    )
    assert finished.plot().axes
    assert "report.html" in finished._repr_html_()
    for name in ("report.html", "predictions.parquet", "history.csv", "mlflow.db"):
        assert (finished.folder / name).stat().st_size > 0


def test_hospitals_are_trainers_or_external_tests(finished):
    hospitals = pd.read_csv(finished.folder / "hospitals.csv")

    assert len(hospitals) == 5
    external = hospitals[hospitals["role"] == "external test"]
    assert len(external) == 1
    assert (external["n_train"] == 0).all()
    assert (external["n_test"] == external["n_images"]).all()


def test_provenance_tells_how_to_repeat_it(finished):
    facts = json.loads((finished.folder / "provenance.json").read_text())

    assert len(facts["manifest_sha256"]) == 64
    assert facts["versions"]["thyroid-fl"] == thyroid_fl.__version__
    assert (facts["seeds"], facts["strategies"]) == (2, ["fedavg"])


def test_the_same_settings_give_the_same_table(finished, small_manifest, tmp_path):
    again = thyroid_fl.compare(
        data=small_manifest, out=tmp_path / "again", seeds=2, **SETTINGS
    )

    pd.testing.assert_frame_equal(finished.results, again.results)


def test_a_finished_training_is_not_trained_again(finished, small_manifest):
    models = list(finished.folder.glob("trainings/*/*/model.safetensors"))
    written = {path: path.stat().st_mtime_ns for path in models}

    thyroid_fl.compare(data=small_manifest, out=finished.folder, seeds=2, **SETTINGS)

    assert len(written) == 8
    assert {path: path.stat().st_mtime_ns for path in models} == written


def test_a_folder_of_another_comparison_is_refused(finished, small_manifest):
    before = (finished.folder / "study.json").read_text()

    with pytest.raises(ConfigError, match=r"other settings \(rounds\)"):
        thyroid_fl.compare(
            data=small_manifest,
            out=finished.folder,
            seeds=2,
            **SETTINGS | {"rounds": 3},
        )

    assert (finished.folder / "study.json").read_text() == before


def test_a_manifest_that_changed_since_is_refused(finished, small_manifest):
    before = small_manifest.read_bytes()
    try:
        small_manifest.write_bytes(before + b"\n")
        with pytest.raises(ConfigError, match=r"other settings \(manifest_sha256\)"):
            thyroid_fl.compare(
                data=small_manifest, out=finished.folder, seeds=2, **SETTINGS
            )
    finally:
        small_manifest.write_bytes(before)


def test_validation_gives_the_threshold(finished):
    results = finished.results
    sensitivity = results[
        (results["metric"] == "sensitivity") & (results["arm"] == "pooled")
    ]

    assert sensitivity["value"].notna().any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strategies", "fedsgd"], "no strategy 'fedsgd'; expected some of: fedavg"),
        (["--set", "rouds=3"], "unknown setting 'rouds'. Did you mean 'rounds'?"),
        (["--set", "rounds"], "expected NAME=VALUE"),
        (["--rounds", "0"], "rounds is 0; expected at least 1"),
        (["--split", "vendor:Siemens"], "no such vendor; known: GE, Philips"),
        (["--folds", "1"], "folds is 1"),
        (["--seeds", "0"], "at least one strategy and one seed"),
        (["--study", "absent.toml"], "absent.toml: cannot read the study"),
        (["--weights", "absent.pth"], "cannot be read"),
        (["--set", "select_by=accuracy"], "select_by is 'accuracy'"),
    ],
)
def test_a_wrong_option_ends_with_2_and_the_remedy(
    small_manifest, tmp_path, options, message
):
    command = ["compare", "--data", str(small_manifest), "--image-px", "32"]
    command += [
        "--threads",
        "1",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "out"),
        *options,
    ]

    done = CliRunner().invoke(main, command)

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_absent_manifest_ends_with_2_and_leaves_nothing(tmp_path):
    out = tmp_path / "out"
    command = ["compare", "--data", str(tmp_path / "no.csv"), "--out", str(out)]

    done = CliRunner().invoke(main, command)

    assert done.exit_code == 2
    assert "no.csv" in done.stderr
    assert not out.exists()


def test_folds_test_every_patient_once(small_manifest, tmp_path):
    settings = SETTINGS | {"split": "patient", "rounds": 1, "singles": 0, "tuned": 0}
    done = thyroid_fl.compare(
        data=small_manifest, out=tmp_path / "folds", folds=2, **settings
    )

    scores = pd.read_parquet(done.folder / "predictions.parquet")
    tested = scores[(scores["split"] == "test") & (scores["arm"] == "pooled")]
    assert sorted(tested["fold"].unique()) == [1, 2]
    assert tested["image_id"].is_unique
    assert len(tested) == 240
    mean = done.results[(done.results["fold"] == "mean")]
    assert np.isfinite(mean.loc[mean["metric"] == "auc", "value"]).all()
