"""``thyroid-sim matrix``: its design, its run from start to end, its refusals."""

import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import thyroid_fl
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.manifest import read_manifest, write_manifest
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.cli import main
from thyroid_fl.simulation.design import draw_patients, write_design
from thyroid_fl.simulation.matrix_design import (
    design_sides,
    source_cases,
    sources_of,
    trainings_of,
)
from thyroid_fl.splits import split_cases

SETTINGS = {
    "image_px": 32,
    "rounds": 1,
    "local_epochs": 1,
    "threads": 1,
    "jobs": 1,
    "progress": False,
}


@pytest.fixture(scope="module")
def table():
    """900 patients, two pictures each: vendors A (half), B and six small ones."""
    rng = np.random.default_rng(5)
    vendor = rng.choice(list("ABCDEFGH"), 900, p=[0.5, 0.2, *[0.05] * 6])
    patient = np.repeat(np.arange(900), 2)
    cases = pd.DataFrame(
        {
            "image_id": [f"i{k}" for k in range(1800)],
            "patient_id": [f"p{k}" for k in patient],
            "hospital": [f"H{k % 12}" for k in patient],
            "vendor": vendor[patient],
            "region": "inland",
            "malignant": (rng.random(900) < 0.6).astype(float)[patient],
        }
    )
    return split_cases(cases, "patient", seed=1)


def test_small_vendors_are_one_source_and_mixed_patients_take_no_part(table):
    odd = table.copy()
    odd.loc[[0, 1], "vendor"] = ["A", "B"]  # a patient of two vendors
    odd.loc[[2, 3], "vendor"] = None
    cases = source_cases(odd, "vendor", 0)

    assert sources_of(cases)[:2] == ["A", "B"]
    assert len(sources_of(cases)) == 6
    assert sources_of(cases)[-1] == "Other"
    assert not {"i0", "i1", "i2", "i3"} & set(cases["image_id"])


def test_only_the_largest_hospitals_take_part(table):
    cases = source_cases(table, "hospital", 3)

    assert cases["hospital"].nunique() == 3
    assert (cases["hospital"] == table.loc[cases.index, "hospital"]).all()


def test_who_trains_on_what(table):
    cases = source_cases(table, "vendor", 0)
    sides = design_sides(cases, seed=1)

    assert len(sides) == 1 + 3 * 6
    is_test = cases["split"] == "test"
    own = cases["hospital"] == "A"
    for side in sides.values():
        assert (side[is_test] == "test").all()
    assert set(cases.loc[sides["own A"] == "train", "hospital"]) == {"A"}
    assert "A" not in set(cases.loc[sides["others A"] == "train", "hospital"])
    drawn = cases[sides["equal A"] == "train"]
    assert (
        drawn["patient_id"].nunique()
        == cases.loc[own & (cases["split"] == "train"), "patient_id"].nunique()
    )
    shares = drawn["hospital"].value_counts(normalize=True)
    whole = cases.loc[cases["split"] == "train", "hospital"].value_counts(
        normalize=True
    )
    assert (shares - whole).abs().max() < 0.02
    everyone = cases[cases["split"] == "train"]
    assert drawn["malignant"].mean() == pytest.approx(
        everyone["malignant"].mean(), abs=0.02
    )


def test_every_training_sees_about_as_many_pictures(table, tmp_path):
    cases = source_cases(table, "vendor", 0)
    sides = design_sides(cases, seed=1)
    study = make_study(local_epochs=2, split=write_design(cases, sides, tmp_path))
    trainings = trainings_of(study, cases, sides)

    assert len({t.folder for t in trainings}) == len(trainings) == 20
    n_all = 2 * (cases["split"] == "train").sum()
    for training in trainings:
        side = list(sides.values())[training.study.fold - 1]
        seen = (side == "train").sum() * training.study.local_epochs
        assert seen == pytest.approx(n_all, rel=0.26)
    assert trainings[0].hospitals == tuple(sorted(sources_of(cases)))


def test_another_design_in_the_folder_is_refused(table, tmp_path):
    cases = source_cases(table, "vendor", 0)
    write_design(cases, design_sides(cases, seed=1), tmp_path)

    with pytest.raises(ConfigError, match="holds a run on other pictures"):
        write_design(cases, design_sides(cases, seed=2), tmp_path)


def test_patients_are_drawn_whole_and_evenly(table):
    rng = np.random.default_rng(1)
    chosen = draw_patients(table, 90, ["vendor"], rng)

    of_patient = chosen.groupby(table["patient_id"]).nunique()
    assert (of_patient == 1).all()
    patients = table[chosen].drop_duplicates("patient_id")
    assert len(patients) == 90
    everyone = table.drop_duplicates("patient_id")["vendor"].value_counts() / 10
    assert (patients["vendor"].value_counts() - everyone).abs().max() <= 1
    assert not draw_patients(table, 0, ["vendor"], rng).any()
    assert draw_patients(table, 10_000, ["vendor"], rng).all()


@pytest.mark.parametrize(
    ("by", "change", "error", "expected"),
    [
        ("scanner", {}, ConfigError, "expected one of: hospital, vendor, region"),
        ("vendor", {"vendor": np.nan}, ManifestError, "column vendor is empty"),
        ("region", {}, ConfigError, "only one source"),
    ],
)
def test_what_cannot_be_a_source_is_said(table, by, change, error, expected):
    with pytest.raises(error, match=expected):
        source_cases(table.assign(**change), by, 0)


@pytest.fixture(scope="module")
def finished(small_manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "matrix"
    costs = []
    done = thyroid_fl.matrix(
        by="vendor", data=small_manifest, out=out, seeds=1, on_cost=costs.append,
        **SETTINGS,
    )  # fmt: skip
    return done, costs


def test_a_matrix_from_start_to_end(finished, small_manifest):
    done, (cost,) = finished

    assert cost.n_trainings == 8
    assert cost.seconds > 0
    assert re.match(r"8 trainings, [\d,]+ pictures in all: about ", str(cost))
    assert done.table["Training Data Set"].tolist() == [
        "GE", "Philips", "Mixed", "Federated",
    ]  # fmt: skip
    assert len(done.cells) == 8 * 4
    assert done.plot().axes
    assert "report.html" in done._repr_html_()
    names = {path.name for path in done.folder.iterdir()}
    assert {"matrix.csv", "differences.csv", "table.csv", "sources.csv"} <= names
    sources = pd.read_csv(done.folder / "sources.csv").set_index("source")
    assert sources.filter(like="patients").to_numpy().sum() == 120
    assert sources.filter(like="images").to_numpy().sum() == 240
    vendors = read_manifest(small_manifest).drop_duplicates("patient_id")
    malignant = vendors.groupby("vendor")["malignant"].sum()
    assert (sources.filter(like="malignant").sum(axis=1) == malignant).all()


def test_more_seeds_go_on_in_the_same_folder(finished, small_manifest):
    done, _ = finished
    models = sorted(done.folder.glob("trainings/*/*/model.safetensors"))
    before = {path: path.stat().st_mtime_ns for path in models}
    more = thyroid_fl.matrix(
        by="vendor", data=small_manifest, out=done.folder, seeds=2, **SETTINGS
    )

    assert len(before) == 8
    assert {path: path.stat().st_mtime_ns for path in models} == before
    assert set(more.cells["n_seeds"]) == {2}
    with pytest.raises(ConfigError, match="other settings"):
        thyroid_fl.matrix(
            by="region", data=small_manifest, out=done.folder, seeds=2, **SETTINGS
        )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--by", "vendor", "--split", "vendor:GE"], "takes one of: patient, hospital"),
        (["--by", "hospital", "--split", "hospital"], "takes one of: patient, man"),
        (["--by", "machine"], "expected one of: hospital, vendor, region"),
        (["--by", "vendor", "--seeds", "0"], "seeds is 0"),
        (["--by", "vendor", "--sources", "1"], "sources 1"),
    ],
)
def test_bad_options_are_refused_with_nothing_written(
    small_manifest, tmp_path, options, expected
):
    out = tmp_path / "out"
    settings = ["--set", "image_px=32", "--set", "threads=1"]
    done = CliRunner().invoke(
        main,
        [
            "matrix",
            "--data",
            str(small_manifest),
            "--out",
            str(out),
            *options,
            *settings,
        ],
    )

    assert done.exit_code == 2
    assert expected in " ".join(done.output.split())
    assert not out.exists()


def test_a_manifest_without_vendors_is_refused(small_manifest, tmp_path):
    cases = read_manifest(small_manifest).assign(vendor=None)
    manifest = small_manifest.parent / "without.csv"
    write_manifest(cases, manifest)

    with pytest.raises(ManifestError, match="column vendor is empty"):
        thyroid_fl.matrix(
            by="vendor", data=manifest, out=tmp_path / "out", seeds=1, **SETTINGS
        )
