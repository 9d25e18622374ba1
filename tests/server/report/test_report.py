"""The report is one safe file that says which make-believe it rests on."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.conclusions import conclusions
from thyroid_fl.server.report.findings import read_run, summary_table

FIGURES = (
    "roc_internal", "roc_external", "differences", "hospitals", "learning", "sizes",
    "flow", "traffic",
    "seeds", "gap", "harm", "operating_points", "calibration_internal",
    "calibration_external", "decision_internal", "decision_external", "subgroups",
)  # fmt: skip


@pytest.fixture(scope="module")
def html(study_folder: Path) -> str:
    return write_report(study_folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str, read_page):
    return read_page(html)


def test_nothing_is_asked_from_outside_the_file(html: str, page):
    links = page.values("href") + page.values("xlink:href")
    assert all(link.startswith("#") or link == "data:," for link in links)
    for tag in ("script", "img", "iframe", "object", "embed", "base"):
        assert page.tags[tag] == 0
    assert page.values("src") == page.values("srcset") == []
    assert "@import" not in html
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)]+)\)", html))


def test_every_figure_is_in_the_file_and_beside_it_with_its_numbers(
    page, study_folder: Path
):
    folder = study_folder / "figures" / "classification"
    assert page.tags["svg"] == page.tags["figure"] == len(FIGURES)
    for name in FIGURES:
        for ending in ("svg", "png", "csv"):
            assert (folder / f"{name}.{ending}").exists()


def test_ids_are_unique_and_links_inside_the_page_lead_somewhere(page, html: str):
    ids = Counter(page.values("id"))
    assert [name for name, n in ids.items() if n > 1] == []
    inner = [link for link in page.values("href") + page.values("xlink:href")]
    inner += re.findall(r"url\((#[^)]+)\)", html)
    assert {link[1:] for link in inner if link.startswith("#")} <= set(ids)


def test_a_hostile_hospital_name_stays_text(html: str, page):
    assert "<script>" not in html
    assert "H003 <script>alert(1)</script> & Söhne alone (matched)" in page.text


def test_it_says_what_the_terminal_says(page, study_folder: Path):
    run = read_run(study_folder)

    for sentence in conclusions(run):
        assert sentence in page.text
    for cell in summary_table(run.results, run.comparisons).to_numpy().ravel():
        assert cell in page.text


def test_synthetic_pictures_small_preset_and_bayes_auc_are_named(page):
    assert "Synthetic pictures." in page.text
    assert "nothing clinical follows" in page.text
    assert "They are not the paper's size" in page.text
    assert "Bayes AUC 0.931" in page.text
    assert "Beijing, Shanghai" in page.text


def test_real_data_with_a_random_split_is_no_external_validation(
    write_study: Callable[..., Path], read_page
):
    folder = write_study(
        "real",
        seeds=1,
        split="patient",
        preset="paper",
        provenance={"cohort": None, "bayes_auc": None},
    )

    text = read_page(write_report(folder).read_text(encoding="utf-8")).text

    assert "known hospitals only" in text
    assert "it is no external validation" in text
    assert "This comparison cannot show a generalisation gap" in text
    assert "external test patients, in the same manner" not in text
    assert "Synthetic" not in text
    assert "Bayes" not in text
    assert "YOLOv5u), pictures of 512 px" in text
    assert "One seed" in text


def test_settings_and_provenance_can_be_read(page, study_folder: Path):
    run = read_run(study_folder)

    assert run.provenance["manifest_sha256"] in page.text
    assert "thyroid-sim compare --seeds 2 --out 'demo study'" in page.text
    assert "learning rate 0.001" in page.text


def test_an_unfinished_comparison_gets_no_report(tmp_path: Path):
    with pytest.raises(ConfigError, match="no finished comparison"):
        write_report(tmp_path)

    assert list(tmp_path.iterdir()) == []
