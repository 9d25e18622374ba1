"""The data summary over the synthetic cohort's table, and from the command line."""

import re

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from typer.testing import CliRunner

from thyroid_fl.client.summary import tell
from thyroid_fl.columns import as_cases
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.report.summary_tables import table_1, table_2
from thyroid_fl.server.summary import ask_hospitals
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.cli import main
from thyroid_fl.simulation.cohort import cohort, cohort_tables
from thyroid_fl.simulation.grid import InProcessGrid

GREY = [1.0] + [0.0] * 31


@pytest.fixture(scope="module")
def patients():
    return cohort(seed=1, scale=0.2)


def manifest_of(patients):
    """Return the cohort's manifest without its pictures."""
    rows = patients.loc[patients.index.repeat(patients["n_images"])]
    number = rows.groupby("patient_id").cumcount()
    rows = rows.assign(image_id=rows["patient_id"] + "-" + number.astype("str"))
    rows["image"] = rows["image_id"] + ".png"
    rows["mask"] = rows["image"].where(number < rows["n_annotated_images"])
    cases = as_cases(rows.reset_index(drop=True))
    return cases.assign(crop=[(0, 0, 96, 96)] * len(cases))


def federation(patients, least):
    """Return what the centre reads from the cohort's hospitals."""
    cases = manifest_of(patients)
    hospitals = [part for _, part in cases.groupby("hospital")]
    app = ClientApp()

    @app.query("summary")
    def answer(message, context):
        told = tell(hospitals[context.node_config["number"]], GREY, least)
        echo = message.content["request"]
        records = RecordDict({"summary": MetricRecord(told), "request": echo})
        return Message(records, reply_to=message)

    grid = InProcessGrid(app, [{"number": i} for i in range(len(hospitals))])
    summaries, failed = ask_hospitals(Hospitals(grid=grid, study=make_study()))
    assert failed == {}
    return summaries


def numbers(text):
    """Return the numbers of a printed cell: ``46 (37-55)`` is 46, 37, 55."""
    text = text.replace(" ", "") if "(" not in text else text
    return [float(number) for number in re.findall(r"[\d.]+", text)]


def test_with_a_minimum_of_one_the_tables_are_the_cohorts(patients):
    printed_1, printed_2 = cohort_tables(patients)
    total = printed_1.iloc[:, 0].to_numpy()

    summaries = federation(patients, least=1)
    told_1 = table_1(summaries).set_index(["characteristic", "cell"])
    told_2 = table_2(summaries).set_index("cell")

    assert told_1.loc[("patients", "all"), "patients_at_least"] == len(patients)
    for cell, row in {
        ("class", "malignant"): 2, ("class", "benign"): 4,
        ("sex", "M"): 6, ("sex", "F"): 9,
    }.items():  # fmt: skip
        found = told_1.loc[cell]
        n_patients, percent = numbers(total[row])
        (n_images,) = numbers(total[row + (2 if cell[0] == "sex" else 1)])
        assert found["patients_at_least"] == found["patients_at_most"] == n_patients
        assert found["percent"] == pytest.approx(percent, abs=0.005)
        assert found["images_at_least"] == n_images
    columns = ["age_median", "age_q1", "age_q3"]
    for cell, row in {
        ("patients", "all"): 1,
        ("sex", "M"): 7,
        ("sex", "F"): 10,
    }.items():
        np.testing.assert_allclose(
            told_1.loc[cell, columns].astype(float), numbers(total[row]), atol=1
        )
    for vendor, cells in printed_2.drop(index="Other").iterrows():
        found = told_2.loc[vendor, ["patients_at_least", "images_at_least"]]
        assert found.tolist() == [numbers(text)[0] for text in cells]
    assert (told_1["n_withheld"] == 0).all()


def test_what_is_withheld_is_between_the_limits_and_told_of_no_small_group(patients):
    exact = table_1(federation(patients, least=1))
    summaries = federation(patients, least=5)

    told = table_1(summaries)

    assert (told["patients_at_least"] <= exact["patients_at_least"]).all()
    assert (told["patients_at_most"] >= exact["patients_at_least"]).all()
    assert told.loc[0, "n_withheld"] == (patients.groupby("hospital").size() < 5).sum()
    everyone = ["age_q1", "age_median", "age_q3"]
    np.testing.assert_allclose(
        told.loc[0, everyone].astype(float),
        exact.loc[0, everyone].astype(float),
        atol=2,
    )
    for summary in summaries:
        groups = [*summary.patients.values(), *summary.ages.values()]
        assert all(n <= 0 or n >= 5 for counts in groups for n in counts)


def call(*arguments):
    return CliRunner().invoke(main, ["summary", *map(str, arguments)])


def test_the_command_writes_tables_and_figure_and_prints_them(small_manifest, tmp_path):
    done = call(
        small_manifest, "--out", tmp_path / "out", "--set", "image_px=32",
        "--set", "threads=1",
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert "patients: all" in done.stdout
    assert "vendor: GE Healthcare" in done.stdout
    assert f"figure: {tmp_path / 'out' / 'summary.svg'}" in done.stdout
    told = pd.read_csv(tmp_path / "out" / "table_2.csv").set_index("cell")
    assert told.loc["GE Healthcare", "patients_at_least"] == 72
    assert told.loc["Philips", "patients_at_least"] == 48
    hospitals = pd.read_csv(tmp_path / "out" / "hospitals.csv")
    assert hospitals["n_patients"].tolist() == [24] * 5
    assert hospitals["n_images"].tolist() == [48] * 5
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "hospitals.csv", "summary.csv", "summary.png", "summary.svg",
        "table_1.csv", "table_2.csv",
    ]  # fmt: skip


def test_the_commands_minimum_is_every_hospitals(small_manifest, tmp_path):
    options = ["--set", "image_px=32", "--set", "threads=1"]

    done = call(small_manifest, "--out", tmp_path, "--min-cell", 25, *options)

    assert done.exit_code == 0, done.output
    answers = pd.read_csv(tmp_path / "hospitals.csv")["answer"]
    assert set(answers) == {"fewer than 25 patients"}


def test_a_manifest_that_is_not_there_ends_with_a_message(tmp_path):
    done = call(tmp_path / "absent.csv", "--out", tmp_path / "out")

    assert done.exit_code == 2
    assert "absent.csv: cannot read the table" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_whole_cohort_has_the_papers_tables_within_its_limits():
    patients = cohort(seed=1)

    table = table_1(federation(patients, least=5)).set_index(["characteristic", "cell"])

    malignant = table.loc[("class", "malignant")]
    assert malignant["patients_at_least"] <= 6188 <= malignant["patients_at_most"]
    assert malignant["percent"] == pytest.approx(61.74, abs=1)
    ages = table.loc[("patients", "all"), ["age_q1", "age_median", "age_q3"]]
    np.testing.assert_allclose(ages.astype(float), [37, 46, 55], atol=1)
