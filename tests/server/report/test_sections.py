"""Gap, harm, operating points, calibration, subgroups, seeds: worded as they are."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from thyroid_fl.evaluation.rows import ONE_TRAINING
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.conclusions import SECTIONS, conclusions
from thyroid_fl.server.report.findings import Run, per_run_rows, read_run
from thyroid_fl.server.report.sections.gap import gap_section, gap_sentences
from thyroid_fl.server.report.sections.harm import harm_section, harm_sentences
from thyroid_fl.server.report.sections.operating import operating_section
from thyroid_fl.server.report.sections.section import joint_rows
from thyroid_fl.server.report.sections.seeds import seeds_section, spread_table
from thyroid_fl.server.report.sections.subgroups import subgroup_section
from thyroid_fl.server.report.words import interval, number


@pytest.fixture(scope="module")
def two_seeds(study_folder: Path) -> Run:
    return read_run(study_folder)


@pytest.fixture(scope="module")
def one_seed(write_study: Callable[..., Path]) -> Run:
    return read_run(write_study("one seed", seeds=1))


@pytest.fixture(scope="module")
def by_patient(write_study: Callable[..., Path]) -> Path:
    return write_study("by patient", seeds=1, split="patient")


def with_table(run: Run, name: str, table: pd.DataFrame) -> Run:
    return replace(run, further=run.further | {name: table})


def with_gap(run: Run, low: float, high: float) -> Run:
    table = run.further["gap"].assign(difference=(low + high) / 2, low=low, high=high)
    return with_table(run, "gap", table)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.02, 0.08, "worse in hospitals that took no part."),
        (-0.08, -0.02, "better in hospitals that took no part."),
        (-0.02, 0.08, "no gap shown."),
    ],
)
def test_the_gap_is_worded_by_its_interval(two_seeds: Run, low, high, words):
    (sentence,) = gap_sentences(with_gap(two_seeds, low, high))

    assert sentence.endswith(words)
    assert f"(95% CI {number(low, sign=True)} to {number(high, sign=True)})" in sentence


def test_the_gap_has_a_row_a_target_and_both_aucs_side_by_side(two_seeds: Run):
    section = gap_section(two_seeds)

    gap, within = section.tables["gap"], section.tables["within"]
    assert set(gap["Model"]) == {"Federated (FedAvg)", "Pooled"}
    assert {"these hospitals", "the next hospital"} <= set(gap["Interval for"])
    row = within.query("Model == 'Pooled' and `Test set` == 'external'").iloc[0]
    known = two_seeds.further["gap"].query("arm == 'pooled' and seed == 'mean'")
    known = known[known["unit"] == "patient"].drop_duplicates("metric")
    values = known.set_index("metric")["external"]
    assert row["All pairs"] == number(values["auc"])
    assert row["Pairs within a hospital"] == number(values["auc_within_site"])


def test_a_split_by_patient_shows_no_gap_and_says_why(by_patient: Path, read_page):
    run = read_run(by_patient)
    html = write_report(by_patient).read_text(encoding="utf-8")

    (sentence,) = gap_section(run).sentences
    assert "cannot show a generalisation gap" in sentence
    assert "every test patient comes from a hospital that took part" in sentence
    assert gap_section(run).tables == {}
    page = read_page(html)
    assert "gap-classification" in page.values("id")
    assert not (by_patient / "figures" / "classification" / "gap.svg").exists()
    assert not (by_patient / "figures/classification/decision_external.svg").exists()
    assert sentence in page.text
    cells = re.findall(r'data-label="P[ "][^>]*>([^<]*)<', html)
    # Empty where a group is that which another is compared with.
    assert "\u2013" in cells
    assert set(map(str.strip, cells)) == {"", "\u2013"}


def test_planted_harm_is_called_harm_by_name_and_in_the_figure(two_seeds: Run):
    table = two_seeds.further["harm"].copy()
    is_matched = (table["budget"] == "matched") & (table["unit"] == "patient")
    table.loc[is_matched, ["difference", "low", "high"]] = [0.02, -0.02, 0.06]
    table.loc[is_matched, "verdict"] = "no difference shown"
    is_planted = is_matched & (table["hospital"] == "H001")
    table.loc[is_planted, ["difference", "low", "high"]] = [-0.1, -0.15, -0.05]
    table.loc[is_planted, "verdict"] = "harmed"
    run = with_table(two_seeds, "harm", table)

    (sentence,) = [text for text in harm_sentences(run) if "(matched)" in text]
    section = harm_section(run)

    assert "harmed: 1 of 3 hospitals (H001); no difference shown: 2." in sentence
    assert sentence in conclusions(run)
    (chart,) = section.charts
    labels = [text.get_text() for text in chart.figure.legends[0].get_texts()]
    assert "harmed (1)" in labels
    row = section.tables["hospitals"].query("Verdict == 'harmed'").iloc[0]
    assert row["Hospital"] == "H001"
    assert row["Federated minus own (95% CI)"] == interval(-0.1, -0.15, -0.05, True)


def test_endpoints_rest_on_two_hospitals_at_least(two_seeds: Run):
    endpoints = harm_section(two_seeds).tables["endpoints"]

    assert "Worst hospital" in set(endpoints["Endpoint"])
    assert (endpoints["Hospitals"].astype(int) > 1).all()
    assert set(endpoints["Own model"]) == {"matched"}  # one hospital is tuned


def test_with_one_seed_there_is_no_p_value_but_the_remedy(one_seed: Run):
    differences = one_seed.comparisons

    assert differences["p_value"].notna().any()
    assert differences["method"].str.endswith(ONE_TRAINING).all()
    (sentence,) = seeds_section(one_seed).sentences
    assert "no P value is shown" in sentence
    assert "--seeds 3" in sentence
    assert sentence in conclusions(one_seed)
    for table, column in (
        (gap_section(one_seed).tables["gap"], "P"),
        (harm_section(one_seed).tables["hospitals"], "P (Holm)"),
        (subgroup_section(one_seed).tables["groups"], "P"),
    ):
        assert set(table[column]) <= {"", "\u2013"}
    assert seeds_section(one_seed).tables == {}


def test_with_several_seeds_p_values_and_the_spread_are_shown(two_seeds: Run):
    rows = per_run_rows(two_seeds.results)
    rows = rows[(rows["arm"] == "pooled") & (rows["test_set"] == "external")]

    spread = spread_table(two_seeds.results)
    spread = spread.query("arm == 'pooled' and test_set == 'external'").iloc[0]

    assert len(rows) == spread["count"] == 2
    assert spread["std"] == pytest.approx(abs(rows["value"].diff().iloc[-1]) / 2**0.5)
    assert spread["min"] == rows["value"].min()
    shown = seeds_section(two_seeds).tables["spread"]
    shown = shown[shown["Model"] == "Pooled"].iloc[0]
    assert shown["SD (external)"] == number(spread["std"])
    assert seeds_section(two_seeds).sentences == ()
    is_mean = two_seeds.comparisons["seed"] == "mean"
    assert (
        not two_seeds.comparisons.loc[is_mean, "method"]
        .str.contains(ONE_TRAINING)
        .any()
    )
    gap = gap_section(two_seeds).tables["gap"]
    known = gap["Interval for"] == "these hospitals"
    assert (gap.loc[known, "P"] != "\u2013").all()
    # The bootstrap of hospitals knows nothing of the trainings.
    drawn = gap["Interval for"] == "hospitals like these (bootstrap)"
    assert drawn.any()
    assert (gap.loc[drawn, "P"] == "\u2013").all()


def test_the_threshold_chosen_on_the_test_set_is_called_optimistic(
    one_seed: Run, two_seeds: Run
):
    points = operating_section(one_seed).tables["points"]
    means = operating_section(two_seeds).tables["points"]

    bases = points["Threshold from; interval"]
    assert list(dict.fromkeys(bases[points["Tested on"] == "external images"])) == [
        "validation; Wilson", "validation; clustered", "test set; optimistic*",
    ]  # fmt: skip
    assert "validation; Wilson" not in set(means["Threshold from; interval"])
    row = points[(bases == "test set; optimistic*") & (points["Model"] == "Pooled")]
    known = joint_rows(one_seed.further["operating_points"]).query(
        "arm == 'pooled' and basis == 'test, re-optimised' and unit == 'patient' and "
        "metric == 'specificity' and test_set == 'internal'"
    )
    (known,) = known.itertuples()
    assert row["Specificity (95% CI)"].iloc[0] == interval(
        known.value, known.low, known.high
    )


def test_groups_are_compared_once_and_unpaired(two_seeds: Run):
    table = subgroup_section(two_seeds).tables["groups"]

    of_ages = table[table["Group"].str.startswith("age") & (table["Model"] == "Pooled")]
    assert list(of_ages["Group"]) == ["age < 45", "age >= 45"] * 2
    assert list(of_ages["Minus"]) == [">= 45", ""] * 2
    assert of_ages["P"].iloc[0] != ""


def test_a_section_without_rows_is_absent(two_seeds: Run):
    empty = {name: table.iloc[:0] for name, table in two_seeds.further.items()}
    run = replace(two_seeds, further=empty)

    for name, section in SECTIONS.items():
        found = section(run)
        if name != "seeds":  # of results, which every task has
            assert found.tables == {}, name
            assert found.sentences == (), name
            assert found.charts == (), name
