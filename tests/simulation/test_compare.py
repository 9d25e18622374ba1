import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import thyroid_fl
from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.further import FURTHER_TABLES
from thyroid_fl.manifest import read_manifest, write_manifest
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


def test_gap_harm_and_the_other_tables_are_written_and_told(finished):
    for name in FURTHER_TABLES:
        assert (finished.folder / f"{name}.csv").exists()
    harm = pd.read_csv(finished.folder / "harm.csv")
    hospitals = pd.read_csv(finished.folder / "hospitals.csv").set_index("hospital")

    assert set(harm["budget"]) == {"matched", "tuned"}
    assert (harm["size"] == harm["hospital"].map(hospitals["n_train"])).all()
    text = "\n".join(finished.conclusions["classification"])
    assert "Generalisation gap, Federated (FedAvg): AUC" in text
    assert "of 1 hospital" in text
    assert "no P value" not in text  # two seeds


def test_hospitals_are_trainers_or_external_tests(finished):
    hospitals = pd.read_csv(finished.folder / "hospitals.csv")

    assert len(hospitals) == 5
    external = hospitals[hospitals["role"] == "external test"]
    assert len(external) == 1
    assert (external["n_train"] == 0).all()
    assert (external["n_test"] == external["n_images"]).all()


def test_data_and_traffic_are_told_in_tables(finished):
    folder = finished.folder
    baseline = pd.read_csv(folder / "baseline.csv")
    traffic = pd.read_csv(folder / "traffic.csv")

    everyone = baseline[baseline["characteristic"] == "patients"].set_index("stage")
    assert everyone["n_patients"]["usable"] == 120
    assert pd.read_csv(folder / "left_out.csv").empty
    trained = traffic[traffic["step"] == "train"]
    assert set(trained["hospital"]) < {f"H{k}" for k in range(5)}
    # 2 seeds, 2 rounds; every trainer gets the model and sends one back
    assert len(trained) == 2 * 2 * trained["hospital"].nunique()
    assert (trained[["sent_bytes", "received_bytes"]] > 1e5).all(axis=None)
    assert set(traffic["arm"]) == {"federated"}


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


def test_the_counts_of_every_hospital_and_round_are_written(finished):
    table = pd.read_csv(finished.folder / "participation.csv")

    assert len(table) == 2 * 2 * 4  # seeds, rounds, hospitals that train
    assert set(table["outcome"]) == {"used"}
    assert (table[["n_registered", "n_readable", "n_usable"]] == 48).all(axis=None)
    hospitals = pd.read_csv(finished.folder / "hospitals.csv").set_index("hospital")
    used = table.groupby("hospital")["n_used"].unique().explode()
    assert used.to_dict() == hospitals.loc[used.index, "n_train"].to_dict()


@pytest.fixture(scope="module")
def all_tasks(small_manifest, tmp_path_factory):
    """All three tasks; H1 has neither masks nor boxes, H2 no masks."""
    folder = tmp_path_factory.mktemp("partial")
    (folder / "images").symlink_to(small_manifest.parent / "images")
    (folder / "masks").mkdir()
    cases = read_manifest(small_manifest)
    nodule = np.zeros((40, 50), np.uint8)
    nodule[10:30, 15:35] = 255
    Image.fromarray(nodule).save(folder / "masks" / "m.png")
    cases["mask"] = "masks/m.png"
    cases.loc[cases["hospital"].isin(["H1", "H2"]), "mask"] = None
    cases["boxes"] = [
        () if row.hospital == "H1" else row.boxes for row in cases.itertuples()
    ]
    write_manifest(cases, folder / "manifest.csv")
    settings = SETTINGS | {"image_px": 64, "rounds": 1, "split": "patient"}
    out = tmp_path_factory.mktemp("runs") / "all"
    return thyroid_fl.compare(
        data=folder / "manifest.csv", out=out, task="all", **settings
    )


def test_the_sections_of_a_task_are_there_where_they_mean_something(all_tasks):
    page = (all_tasks.folder / "report.html").read_text()
    gap = pd.read_csv(all_tasks.folder / "gap.csv")

    assert set(gap["task"]) == {"segmentation", "classification"}
    for name in ("gap", "harm"):
        assert f'id="{name}-segmentation"' in page
        assert f'id="{name}-classification"' in page
    for name in ("operating", "calibration"):
        assert f'id="{name}-classification"' in page
        assert f'id="{name}-segmentation"' not in page
    for name in ("gap", "harm", "operating", "calibration", "subgroups"):
        assert f'id="{name}-detection"' not in page
    assert 'id="subgroups-' not in page  # the manifest has neither age nor sex
    assert len(pd.read_csv(all_tasks.folder / "subgroups.csv")) == 0


def test_all_tasks_come_in_one_folder_and_one_report(all_tasks):
    results = all_tasks.results

    assert list(all_tasks.tables) == ["detection", "segmentation", "classification"]
    for task, metric in zip(all_tasks.tables, ("ap50", "dice", "auc"), strict=True):
        rows = results[(results["task"] == task) & (results["metric"] == metric)]
        assert set(rows["arm"]) == {"federated", "pooled", "single"}
        assert rows["value"].notna().any()
        assert all_tasks.plot(task).axes
        assert (all_tasks.folder / "figures" / task / "differences.svg").exists()
    page = (all_tasks.folder / "report.html").read_text()
    for text in ("AP50", "Dice", "AUC", "only in classification"):
        assert text in page
    again = thyroid_fl.simulation.compare.open_comparison(all_tasks.folder)
    assert list(again.tables) == list(all_tasks.tables)


def test_a_hospital_takes_part_in_the_tasks_that_its_data_allow(all_tasks):
    table = pd.read_csv(all_tasks.folder / "participation.csv")
    hospitals = pd.read_csv(all_tasks.folder / "hospitals.csv")

    trained = table.groupby("task")["hospital"].apply(set)
    assert trained["detection"] == {"H0", "H2", "H3", "H4"}
    assert trained["segmentation"] == {"H0", "H3", "H4"}
    assert trained["classification"] == {"H0", "H1", "H2", "H3", "H4"}
    row = hospitals[
        (hospitals["task"] == "detection") & (hospitals["hospital"] == "H1")
    ]
    assert row[["n_registered", "n_readable", "n_usable"]].iloc[0].tolist() == [
        48,
        48,
        0,
    ]
    assert row["role"].item() == "none"


def test_a_patient_is_on_one_side_in_all_tasks(all_tasks):
    predictions = pd.read_parquet(all_tasks.folder / "predictions.parquet")

    sides = predictions.groupby("patient_id")["split"].nunique()
    assert (sides == 1).all()
