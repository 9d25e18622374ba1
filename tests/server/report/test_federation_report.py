"""The page of a real federation says what its folder holds, and what it lacks."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from safetensors.numpy import save_file

from thyroid_fl.client.results import told_of
from thyroid_fl.errors import ConfigError
from thyroid_fl.server.participation import add_round
from thyroid_fl.server.report.federation import write_federation_report
from thyroid_fl.server.result_replies import read_results
from thyroid_fl.server.site_results import write_results
from thyroid_fl.settings import make_study
from thyroid_fl.site_results import LEVELS
from thyroid_fl.strategies.replies import Tally
from thyroid_fl.tasks import TASKS

NODES = [2**62 + k for k in range(4)]
NAMES = dict(
    zip(NODES, ["Nord", "Süd <script>alert(1)</script>", "NA", "Zwerg"], strict=True)
)
HIDDEN = ("traffic.csv", "participation.csv", "test_results.csv", "site_results.csv")


def study_of(task="classification"):
    return make_study(task=task, rounds=3, strategy="fedprox")


def write_study(folder, study):
    """Write what the round engine keeps of three rounds."""
    history = [
        {"round": k, "loss": 0.7 - 0.1 * k, "auc": 0.5 + 0.1 * k, "n_hospitals": 3 - k}
        for k in range(4)
    ]
    saved = {
        "last_round": 3,
        "best_round": 2,
        "history": history,
        "study": json.loads(study.to_json()),
    }
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "checkpoint.json").write_text(json.dumps(saved))
    pd.DataFrame(history).to_csv(folder / "history.csv", index=False)
    model = {"w": np.zeros(2, "f4")}
    save_file(model, folder / "model.safetensors", {"thyroid_fl": "0.1.0"})


def write_rounds(folder):
    """Write who took part and what went over the lines; node 1 fails in 1 and 3."""
    counts = {"n-registered": 90, "n-readable": 80, "n-usable": 70, "n-used": 60}
    told = RecordDict({"counts": ConfigRecord(counts)})
    for k in (1, 2, 3):
        used = [node for node in NODES[:3] if k == 2 or node != NODES[1]]
        failed = {} if k == 2 else {NODES[1]: "no reply within 9 s"}
        tally = Tally(used=used, told=dict.fromkeys([*used, NODES[3]], told))
        add_round(folder, k, tally, failed, NAMES)
    table = pd.read_csv(folder / "participation.csv")
    traffic = table[["round", "node", "hospital"]]
    traffic.assign(sent_bytes=3 * 2**20, received_bytes=2**20).to_csv(
        folder / "traffic.csv", index=False
    )


def reply(number, task, level, n):
    """Return what a hospital of n patients says."""
    rng = np.random.default_rng(number)
    labels = np.arange(n) % 2
    cases = pd.DataFrame(
        {
            "malignant": labels,
            "score": 1 / (1 + np.exp(-4 * rng.normal(labels - 0.5, 0.6))),
            "dice": rng.beta(8, 3, n),
            "iou": rng.beta(6, 4, n),
        }
    )
    patients = pd.Series([f"secret-{k}" for k in range(n)], dtype="str")
    told = told_of(TASKS[task], cases, patients, level)
    place = {"level": LEVELS.index(level), "is-external": int(number == 2)}
    return RecordDict({"results": MetricRecord(place | {"n-images": n} | told)})


def write_test(folder, study, levels=("scores", "histogram", "histogram", "metrics")):
    """Write the test results of hospitals with these levels."""
    replies = {
        node: reply(k, study.task, level, n)
        for k, (node, level, n) in enumerate(
            zip(NODES, levels, (120, 80, 60, 8), strict=True)
        )
    }
    results, left_out = read_results(study, replies)
    assert left_out == {}
    write_results(folder, study, results, {77: "auc is 7"}, NAMES)


def write_all(folder, task="classification"):
    study = study_of(task)
    write_study(folder, study)
    write_rounds(folder)
    write_test(folder, study)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("runs") / "demo federation")


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


def test_every_hospital_is_named_by_its_name_which_stays_text(page, html):
    assert "Süd <script>alert(1)</script>" in page.text
    assert "<script>" not in html
    assert str(NODES[0]) not in page.text
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
    names = ("learning", "participation", "traffic", "results")
    assert page.tags["svg"] == page.tags["figure"] == len(names)
    for name in names:
        for ending in ("svg", "png", "csv"):
            assert (folder / "figures" / f"{name}.{ending}").exists()


def test_a_folder_with_rounds_alone_says_what_is_absent(tmp_path, read_page):
    write_study(tmp_path / "bare", study_of())
    (tmp_path / "bare" / "model.safetensors").unlink()
    (tmp_path / "bare" / "history.csv").unlink()

    written = write_federation_report(tmp_path / "bare")

    page = read_page(written.read_text(encoding="utf-8"))
    assert page.tags["svg"] == 1
    assert "test_results.csv is not in the folder" in page.text
    assert "participation.csv is not in the folder" in page.text
    assert "traffic.csv is not in the folder" in page.text
    assert "There is no model yet" in page.text


def test_nodes_stand_in_for_names_and_reasons_that_are_not_told(tmp_path, read_page):
    write_all(tmp_path / "run")
    table = pd.read_csv(tmp_path / "run" / "participation.csv", dtype={"node": "str"})
    table = table.drop(columns=["hospital", "reason"])
    table.to_csv(tmp_path / "run" / "participation.csv", index=False)

    page = read_page(write_federation_report(tmp_path / "run").read_text("utf-8"))

    assert f"{NODES[1]} 1, 3not known" in page.text


def test_segmentation_speaks_of_dice_and_exactness(tmp_path, read_page):
    folder = write_all(tmp_path / "run", "segmentation")
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
