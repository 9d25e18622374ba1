"""The flow chart says who came in, who was left out and why, and who went where."""

from pathlib import Path

import pandas as pd
import pytest

from thyroid_fl.server.report.charts import save_chart
from thyroid_fl.server.report.findings import Run, read_run
from thyroid_fl.server.report.sections.flow_figure import (
    MOST_LETTERS,
    Step,
    comparison_steps,
    flow_figure,
)


@pytest.fixture(scope="module")
def run(study_folder: Path) -> Run:
    return read_run(study_folder)


def texts(steps: list[Step]) -> list[str]:
    return [text.get_text() for text in flow_figure(steps).figure.axes[0].texts]


def test_every_stage_and_side_has_its_box_in_order(run: Run):
    steps = comparison_steps(run.baseline, run.left_out)

    assert [step.title for step in steps] == [
        "Registered", "Left out as not readable", "Readable", "Left out as not usable",
        "Usable for the task", "Training", "Validation", "Internal test",
        "External test",
    ]  # fmt: skip


def test_the_counts_are_those_of_the_table(run: Run):
    everyone = run.baseline.query("characteristic == 'patients'").set_index("stage")
    malignant = run.baseline.query("cell == 'malignant'").set_index("stage")

    shown = {step.title: step for step in comparison_steps(run.baseline, run.left_out)}

    for stage, title in (("train", "Training"), ("external", "External test")):
        assert shown[title].n_patients == everyone["n_patients"][stage]
        assert shown[title].n_images == everyone["n_images"][stage]
        assert shown[title].n_hospitals == everyone["n_hospitals"][stage]
        assert shown[title].n_malignant == malignant["n_patients"][stage]
    assert shown["Registered"].n_malignant is None


def test_who_was_left_out_is_there_with_reason_and_number(run: Run):
    drawn = texts(comparison_steps(run.baseline, run.left_out))

    assert "40 images" in drawn
    assert "no box of the nodule (40)" in drawn
    assert "the column malignant is empty (3)" in drawn


def test_nobody_left_out_is_said_with_a_zero(run: Run):
    steps = comparison_steps(run.baseline, run.left_out.head(0))

    assert texts(steps).count("0 images") == 2


def test_counts_in_words_by_hand():
    step = Step(title="x", n_hospitals=1, n_patients=1200, n_malignant=7, n_images=0)

    assert step.lines() == ["1 hospital, 1,200 patients (7 malignant)", "0 images"]
    assert Step(title="x").lines() == []


def test_a_long_reason_is_broken_into_lines_not_cut():
    reason = " ".join(["reason"] * 30)

    lines = Step(title="Left out", words=reason).lines()

    assert " ".join(lines) == reason
    assert max(map(len, lines)) <= MOST_LETTERS


def test_it_is_saved_with_its_numbers(run: Run, tmp_path: Path):
    steps = comparison_steps(run.baseline, run.left_out)

    path = save_chart(flow_figure(steps), tmp_path)

    table = pd.read_csv(path.with_suffix(".csv"))
    assert table["title"].tolist() == [step.title for step in steps]
    assert table["n_images"].tolist() == [step.n_images for step in steps]
