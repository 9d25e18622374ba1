"""The page of a real federation says what its folder holds, and what it lacks."""

import re

import pandas as pd
import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.federation import write_federation_report


@pytest.fixture(scope="module")
def folder(federation_folder):
    return federation_folder


@pytest.fixture(scope="module")
def html(folder):
    return write_federation_report(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html, read_page):
    return read_page(html)


def test_nothing_is_asked_from_outside_the_file(html, page):
    links = page.values("href") + page.values("xlink:href")
    assert all(link.startswith("#") or link == "data:," for link in links)
    for tag in ("script", "img", "iframe", "object", "embed", "base"):
        assert page.tags[tag] == 0
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)]+)\)", html))


def test_links_inside_lead_somewhere_and_ids_are_unique(page, html):
    ids = page.values("id")
    inner = [*page.values("href"), *re.findall(r"url\((#[^)]+)\)", html)]
    inner += page.values("xlink:href")

    assert len(ids) == len(set(ids))
    assert {link[1:] for link in inner if link.startswith("#")} <= set(ids)


def test_it_opens_with_the_pooled_result_and_its_bound_in_words(page, folder):
    row = pd.read_csv(folder / "test_results.csv").iloc[0]

    low, high = row["estimate"] - row["bound"], row["estimate"] + row["bound"]
    words = (
        f"AUC {row['estimate']:.3f} ({row['low']:.3f} to {row['high']:.3f}) on 260 "
        "test patients of 3 hospitals, whose pictures never left them; with all scores "
        "in one place the AUC would certainly lie between "
        f"{low:.3f} and {high:.3f}."
    )
    assert words in page.text
    assert "3 of 3 rounds are done; the model is that of round 2, by loss." in page.text


def test_it_says_who_failed_when_and_why(page):
    assert "in 2 of 3 rounds one or more failed; the others went on" in page.text
    assert "Süd <script>alert(1)</script> 1, 3no reply within 9 s" in page.text


def test_every_hospital_is_named_by_its_name_which_stays_text(page, html, nodes):
    assert "Süd <script>alert(1)</script>" in page.text
    assert "<script>" not in html
    assert str(nodes[0]) not in page.text
    assert "Zwerg 030908070609.03.0" in page.text


def test_bytes_are_summed_in_mebibytes(page):
    assert "36.0 MiB went to the hospitals, 12.0 MiB back." in page.text


def test_what_left_each_hospital_is_said_by_its_level(page):
    assert "sorted and without names 1: Nord" in page.text
    assert "its own AUC with its variance 1: Zwerg" in page.text
    assert "scores of single patients only from those that tell scores" in page.text
    assert "secret" not in page.text


def test_a_hospital_whose_test_failed_is_there_with_the_reason(page):
    assert "77 " + 4 * "\u2013" + "auc is 7" in page.text


def test_every_figure_is_beside_the_page_with_its_numbers(page, folder):
    names = ("flow", "learning", "participation", "traffic", "results")
    assert page.tags["svg"] == page.tags["figure"] == len(names)
    for name in names:
        for ending in ("svg", "png", "csv"):
            assert (folder / "figures" / f"{name}.{ending}").exists()


def test_a_folder_with_rounds_alone_says_what_is_absent(
    tmp_path, read_page, write_federation
):
    write_federation(tmp_path / "bare", asked=False)
    (tmp_path / "bare" / "model.safetensors").unlink()
    (tmp_path / "bare" / "history.csv").unlink()

    written = write_federation_report(tmp_path / "bare")

    page = read_page(written.read_text(encoding="utf-8"))
    assert page.tags["svg"] == 1
    assert "test_results.csv is not in the folder" in page.text
    assert "participation.csv is not in the folder" in page.text
    assert "traffic.csv is not in the folder" in page.text
    assert "There is no model yet" in page.text


def test_nodes_stand_in_for_names_and_reasons_that_are_not_told(
    tmp_path, read_page, write_federation, nodes
):
    write_federation(tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "participation.csv", dtype={"node": "str"})
    table = table.drop(columns=["hospital", "reason"])
    table.to_csv(tmp_path / "run" / "participation.csv", index=False)

    page = read_page(write_federation_report(tmp_path / "run").read_text("utf-8"))

    assert f"{nodes[1]} 1, 3not known" in page.text


def test_segmentation_speaks_of_dice_and_exactness(
    tmp_path, read_page, write_federation
):
    folder = write_federation(tmp_path / "run", "segmentation")
    history = pd.read_csv(folder / "history.csv").rename(columns={"auc": "dice"})
    history.to_csv(folder / "history.csv", index=False)

    page = read_page(write_federation_report(folder).read_text("utf-8"))

    assert "exactly the Dice of all predictions in one place" in page.text
    assert "IoU" in page.text
    assert "squared deviations from their mean 4: NA, Nord" in page.text
    assert "and no score of a single patient" in page.text
    assert "AUC" not in page.text


@pytest.mark.parametrize("text", [None, "{", '{"study": {"colour": 1}}', "[]"])
def test_a_folder_without_a_federation_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "checkpoint").mkdir()
        (tmp_path / "checkpoint" / "checkpoint.json").write_text(text)

    with pytest.raises(ConfigError, match=r"federation|unknown setting"):
        write_federation_report(tmp_path)

    assert not (tmp_path / "report.html").exists()


def test_gap_and_worst_hospital_are_those_of_the_tables_beside_the_page(page, folder):
    gap = pd.read_csv(folder / "gap.csv").iloc[0]
    worst = pd.read_csv(folder / "worst_hospitals.csv").iloc[0]

    assert gap["target"] == "these hospitals"
    difference = f"+{gap['difference']:.3f} (\u2212{-gap['low']:.3f} to "
    assert difference in page.text
    assert f"{worst['value']:.3f} ({worst['low']:.3f} to " in page.text


def test_the_flow_has_what_the_hospitals_told(page):
    for words in ("Left out as not readable", "360 images", "40 images", "280 images"):
        assert words in page.text


def test_without_a_test_the_gap_is_not_known(tmp_path, read_page, write_federation):
    folder = write_federation(tmp_path / "bare", asked=False)

    page = read_page(write_federation_report(folder).read_text("utf-8"))

    assert "it needs results of both kinds of hospitals" in page.text
    assert "No hospital has enough test patients" in page.text
