"""`thyroid-sim readers`: what is written and printed, and what is refused."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from thyroid_fl.readers import ReaderStudy
from thyroid_fl.simulation.cli import main

TABLES = {name for name in ReaderStudy.__dataclass_fields__ if name != "notes"}


def call(*arguments):
    return CliRunner().invoke(main, ["readers", *map(str, arguments)])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    out = tmp_path_factory.mktemp("readers") / "out"
    done = call(
        "--simulate", "--scale", 0.05, "--skills", "junior:.75,.8;senior:.85",
        "--positive-from", "4b", "--out", out,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return out, done


def test_simulated_readers_are_written_and_said_to_be_simulated(simulated):
    out, done = simulated

    assert {path.stem for path in out.iterdir()} == {*TABLES, "ratings", "notes"}
    assert "SIMULATED readers" in done.stdout
    assert "SIMULATED readers" in (out / "notes.txt").read_text()
    for word in ("Patient-level scoring", "Senior radiologists", "after Holm"):
        assert word in done.stdout


def test_written_ratings_give_the_same_tables_again(simulated, tmp_path):
    out, _ = simulated
    notes = (out / "notes.txt").read_text()
    threshold = notes.split("AI positive from ")[1].split(",")[0]

    done = call(
        out / "ratings.csv", "--threshold", threshold, "--positive-from", "4b",
        "--out", tmp_path,
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    for name in TABLES - {"agreement"}:  # its shuffles are drawn at random
        assert (tmp_path / f"{name}.csv").read_text() == (
            out / f"{name}.csv"
        ).read_text(), name


def test_tables_without_rows_can_be_read(simulated, tmp_path):
    out, _ = simulated

    done = call(out / "ratings.csv", "--out", tmp_path)

    assert done.exit_code == 0, done.output
    for name in TABLES:
        assert len(pd.read_csv(tmp_path / f"{name}.csv").columns) > 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "either a file of ratings, or --simulate"),
        (("--simulate", "--threshold", "0.5"), "leave --threshold out"),
        (("--simulate", "--skills", "junior"), "expected such as junior:.80"),
        (("--simulate", "--skills", "a:1.5", "--scale", "0.05"), "skill of Reader 1"),
        (("--simulate", "--predictions", "no.csv"), "the predictions.parquet of"),
        (("--simulate", "--predictions", "no.parquet"), "cannot read the predictions"),
        (("no.csv",), "cannot read the table"),
        (("RATINGS", "--threshold", "high"), "threshold is 'high'"),
        (("RATINGS", "--policy", "stretch", "--threshold", "0.5"), "policy is 'stre"),
        (("RATINGS", "--skills", "a:.8"), "belong to --simulate"),
        (("RATINGS", "--positive-from", "6"), "positive_from is '6'"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(
    simulated, tmp_path, options, message
):
    ratings = str(simulated[0] / "ratings.csv")
    out = tmp_path / "out"

    done = call(
        *(ratings if word == "RATINGS" else word for word in options), "--out", out
    )

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not out.exists()


def test_a_spoilt_file_is_named_with_its_line(simulated, tmp_path):
    spoilt = tmp_path / "ratings.csv"
    lines = (simulated[0] / "ratings.csv").read_text().splitlines()
    column = lines[0].split(",").index("category")
    cells = lines[4].split(",")
    cells[column] = "4d"
    lines[4] = ",".join(cells)
    spoilt.write_text("\n".join(lines))

    done = call(spoilt, "--out", tmp_path / "out")

    assert done.exit_code == 2
    assert "ratings.csv line 5: category is '4d'" in done.stderr
    assert not (tmp_path / "out").exists()
