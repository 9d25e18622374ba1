"""The checklists have all items, and claim only what the software knows."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from thyroid_fl.server.federation import read_federation
from thyroid_fl.server.report.checklist import (
    AUTHORS,
    Fact,
    filled_checklist,
    read_items,
)
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.comparison_facts import comparison_facts
from thyroid_fl.server.report.federation import write_federation_report
from thyroid_fl.server.report.federation_facts import federation_facts
from thyroid_fl.server.report.findings import read_run

NEVER_KNOWN = {
    "CLAIM 2024": ["2", "5", "6", "14", "15", "16", "17", "18", "21", "34", "41", "44"],
    "TRIPOD+AI": ["2", "5b", "6c", "8a", "8b", "10", "17", "18a", "18b", "18d", "19"],
}


def test_claim_has_44_items_and_tripod_ai_27_with_their_parts():
    items = read_items().groupby("guideline")["item"].agg(list)

    assert items["CLAIM 2024"] == [str(n) for n in range(1, 45)]
    whole = dict.fromkeys(item.rstrip("abcdefg") for item in items["TRIPOD+AI"])
    assert list(whole) == [str(n) for n in range(1, 28)]
    assert len(set(items["TRIPOD+AI"])) == len(items["TRIPOD+AI"]) == 52


def test_an_item_names_fact_and_share_or_neither():
    items = read_items()

    is_open = items["fact"] == ""
    assert (items.loc[is_open, "share"] == "").all()
    assert items.loc[~is_open, "share"].isin(["whole", "part"]).all()


def test_every_fact_of_a_comparison_answers_an_item(study_folder: Path):
    facts = comparison_facts(read_run(study_folder))

    assert set(facts) == set(read_items()["fact"]) - {""}


def test_every_fact_of_a_federation_answers_an_item(federation_folder: Path):
    facts = federation_facts(read_federation(federation_folder))

    assert facts.keys() <= set(read_items()["fact"])


@pytest.mark.parametrize("kind", ["comparison", "federation"])
def test_ethics_funding_and_reference_standard_are_for_the_authors(
    kind: str, study_folder: Path, federation_folder: Path
):
    facts = (
        comparison_facts(read_run(study_folder))
        if kind == "comparison"
        else federation_facts(read_federation(federation_folder))
    )

    table = filled_checklist(facts).set_index(["guideline", "item"])

    for guideline, items in NEVER_KNOWN.items():
        for item in items:
            row = table.loc[(guideline, item)]
            assert (row["by"], row["answer"], row["where"]) == (AUTHORS, "", "")


def test_an_unknown_fact_leaves_its_items_to_the_authors():
    table = filled_checklist({"split": Fact("by hospital", "settings")})

    answered = table[table["by"] != AUTHORS]
    assert answered["item"].tolist() == ["19", "12a"]
    assert answered["answer"].tolist() == ["by hospital"] * 2


def test_real_data_of_a_random_split_claim_neither_externality_nor_anonymity(
    write_study: Callable[..., Path],
):
    folder = write_study(
        "random", seeds=1, split="patient", provenance={"cohort": None}
    )

    facts = comparison_facts(read_run(folder))

    assert facts["external"].text == "None: there are no such test patients."
    assert "identity" not in facts
    assert "SHA-256" in facts["source"].text


def test_a_federation_claims_no_measure_that_it_did_not_test(federation_folder: Path):
    facts = federation_facts(read_federation(federation_folder))

    assert "AUC" in facts["metrics"].text
    assert "ensitivity" not in facts["metrics"].text


def test_links_of_the_checklists_lead_to_sections_of_the_page(
    study_folder: Path, federation_folder: Path, read_page
):
    for folder, write in (
        (study_folder, write_report),
        (federation_folder, write_federation_report),
    ):
        page = read_page(write(folder).read_text("utf-8"))
        table = pd.read_csv(folder / "checklist.csv", keep_default_na=False)

        assert set(table["where"]) - {""} <= set(page.values("id"))
        for answer in table["answer"]:
            assert " ".join(answer.split()) in page.text
