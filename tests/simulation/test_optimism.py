"""The same models on a random split and with hospitals held out, at equal size."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import read_manifest
from thyroid_fl.simulation.cli import main
from thyroid_fl.simulation.optimism import equal_sides, optimism
from thyroid_fl.splits import split_cases

SETTINGS = {
    "image_px": 32, "rounds": 1, "local_epochs": 1, "threads": 1, "jobs": 1,
    "seeds": 2, "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(small_manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "optimism"
    return optimism(data=small_manifest, out=out, **SETTINGS)


@pytest.fixture(scope="module")
def design(finished, small_manifest):
    """The table of the two splits, with the manifest's own columns."""
    table = pd.read_parquet(finished.folder / "design.parquet")
    cases = read_manifest(small_manifest)[["image_id", "patient_id"]]
    return table.merge(cases, on="image_id")


def test_both_splits_train_on_about_equally_many_pictures(finished, design):
    sizes = [(design[name] == "train").sum() for name in ("split_1", "split_2")]

    assert finished.n_training == tuple(sizes)
    assert max(sizes) <= 1.1 * min(sizes)
    dropped = design["split_1"].isna()
    assert dropped.any()
    assert not design["split_2"].isna().any()  # the smaller one is left as it is


def test_whole_hospitals_are_held_out_by_the_second_split_only(design):
    for name, n_held_out in (("split_1", 0), ("split_2", 1)):
        trains = (design[name] == "train").groupby(design["hospital"]).any()
        assert (~trains).sum() == n_held_out
        sides = design.dropna(subset=[name]).groupby("patient_id")[name].nunique()
        assert (sides == 1).all()


def test_every_model_has_its_optimism_and_its_gap(finished):
    rows = finished.table[finished.table["unit"] == "patient"]

    assert set(rows["arm"]) == {"pooled", "federated"}
    assert (rows["seed"] == "mean").all()
    predictions = pd.read_parquet(finished.folder / "predictions.parquet")
    tested = predictions[(predictions["split"] == "test") & (predictions["seed"] == 1)]
    tested = tested[tested["arm"] == "pooled"]
    in_hospitals = tested[(tested["fold"] == 2) & (tested["test_set"] == "external")]
    assert (
        rows["n_internal"] == tested[tested["fold"] == 1]["patient_id"].nunique()
    ).all()
    assert (rows["n_external"] == in_hospitals["patient_id"].nunique()).all()
    assert set(finished.gap["metric"]) >= {"auc", "auc_within_site"}
    written = pd.read_csv(finished.folder / "optimism.csv")
    np.testing.assert_allclose(written["difference"], finished.table["difference"])
    said = (finished.folder / "words.txt").read_text().splitlines()
    assert said == finished.sentences
    assert "Pooled" in finished._repr_html_()


def test_a_finished_run_is_kept_and_another_one_refused(finished, small_manifest):
    models = list(finished.folder.glob("trainings/*/*/model.safetensors"))
    written = {path: path.stat().st_mtime_ns for path in models}

    again = optimism(data=small_manifest, out=finished.folder, **SETTINGS)

    assert len(written) == 8  # two arms, splits and seeds
    assert {path: path.stat().st_mtime_ns for path in models} == written
    pd.testing.assert_frame_equal(again.table, finished.table)
    facts = json.loads((finished.folder / "provenance.json").read_text())
    assert facts["n_training"] == list(finished.n_training)
    with pytest.raises(ConfigError, match=r"other settings \(rounds\)"):
        optimism(data=small_manifest, out=finished.folder, **SETTINGS | {"rounds": 2})


def test_patients_are_dropped_evenly_over_hospital_and_class():
    cases = pd.DataFrame(
        {
            "patient_id": [f"P{k}" for k in range(80) for _ in range(2)],
            "hospital": np.repeat(["A", "B"], 80),
            "malignant": np.tile(np.repeat([0.0, 1.0], 40), 2),
            "split": "train",
        }
    )
    smaller = cases.assign(split=np.where(np.arange(160) < 80, "train", "test"))

    larger_sides, smaller_sides = equal_sides([cases, smaller], seed=1)

    pd.testing.assert_series_equal(smaller_sides, smaller["split"])
    kept = cases[larger_sides == "train"]
    assert len(kept) == 80
    assert (kept.groupby(["hospital", "malignant"]).size() == 20).all()
    assert (kept.groupby("patient_id").size() == 2).all()


def test_validation_and_test_cases_stay(small_manifest):
    cases = read_manifest(small_manifest)
    splits = [split_cases(cases, name, seed=1) for name in ("patient", "hospital")]

    for before, after in zip(splits, equal_sides(splits, seed=1), strict=True):
        stays = before["split"] != "train"
        pd.testing.assert_series_equal(after[stays], before["split"][stays])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "split=patient"], "split is set"),
        (["--task", "detection"], "task is 'detection'"),
        (["--seeds", "0"], "at least one strategy and one seed"),
        (["--strategies", "fedsgd"], "no strategy 'fedsgd'"),
        (["--data", "absent.csv"], "absent.csv: no such manifest"),
    ],
)
def test_a_wrong_option_ends_with_2_and_the_remedy(
    small_manifest, tmp_path, options, message
):
    out = tmp_path / "out"
    command = ["optimism", "--data", str(small_manifest), "--out", str(out), *options]

    done = CliRunner().invoke(main, command)

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_the_command_prints_the_table_and_the_sentences(finished, small_manifest):
    command = ["optimism", "--data", str(small_manifest), "--seeds", "2"]
    command += ["--out", str(finished.folder), "--jobs", "1"]
    for name in ("image_px", "rounds", "local_epochs", "threads"):
        command += ["--set", f"{name}={SETTINGS[name]}"]

    done = CliRunner().invoke(main, command)

    assert done.exit_code == 0, done.output
    printed = " ".join(done.stdout.split())
    assert "optimism (95% CI)" in printed
    for sentence in finished.sentences:
        assert sentence in printed
    assert str(finished.folder) in printed
