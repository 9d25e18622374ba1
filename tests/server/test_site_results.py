"""What hospitals claim of a test is checked, and what is kept is written."""

import math

import numpy as np
import pandas as pd
import pytest
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from thyroid_fl.client.results import told_of
from thyroid_fl.errors import RoundError
from thyroid_fl.requests import Request
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.result_replies import read_results
from thyroid_fl.server.site_results import (
    ask_results,
    pooled_table,
    site_table,
    write_results,
)
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import FIRST_NODE_ID, InProcessGrid
from thyroid_fl.site_results import LEVELS
from thyroid_fl.statistics import auc, clustered_mean, random_effects_mean
from thyroid_fl.tasks import TASKS

STUDY = make_study(wait_s=0.1)
DETECTION = make_study(task="detection")
NAN = math.nan


def drawn(seed, n=60):
    """Labels and scores of one picture a patient."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    scores = 1 / (1 + np.exp(-3 * rng.normal(labels - 0.5)))
    return pd.DataFrame({"malignant": labels, "score": scores})


def told(seed=0, level="histogram", n=60, is_external=0):
    """Return what a hospital says of drawn patients."""
    cases = drawn(seed, n)
    patients = pd.Series([f"p{k}" for k in range(n)], cases.index)
    found = told_of(TASKS["classification"], cases, patients, level)
    return {"level": LEVELS.index(level), "is-external": is_external, "n-images": n} | (
        found
    )


def reply(values, name="results"):
    return RecordDict({name: MetricRecord(values)})


def read(values, study=STUDY):
    results, left_out = read_results(study, {7: reply(values)})
    assert len(results) + len(left_out) == 1
    return results.get(7), left_out.get(7)


@pytest.mark.parametrize("level", LEVELS)
def test_an_honest_reply_is_read_as_it_was_told(level):
    cases = drawn(0)
    exact = auc(cases["malignant"], cases["score"])

    result, fault = read(told(level=level))

    assert fault is None
    assert (result.level, result.n_images, result.n_patients) == (level, 60, 60)
    assert result.auc.value == pytest.approx(exact.value, abs=1e-15)
    assert result.auc.variance == pytest.approx(exact.variance, rel=1e-14)
    assert (result.auc.bins is None) == (level == "metrics")
    assert (result.auc.scores is None) == (level != "scores")


@pytest.mark.parametrize("level", LEVELS)
def test_a_hospital_without_test_cases_is_no_fault(level):
    empty = told(level=level, n=0)

    result, fault = read(empty)

    assert fault is None
    assert result.n_patients == 0
    assert math.isnan(result.auc.value)


def one_more(counts):
    """Return the counts with one patient more in the fullest bin."""
    counts = list(counts)
    counts[int(np.argmax(counts))] += 1
    return counts


HISTOGRAM, SCORES = told(), told(level="scores")
LIES = {
    "another level": {"level": 3},
    "no level": {"level": 1.0},
    "more patients than pictures": {"n-patients": 61},
    "pictures of nobody": {"n-patients": 0},
    "classes that do not sum": {"n-benign": 29},
    "a negative count": {"n-malignant": -30, "n-benign": 90},
    "an AUC above 1": {"auc": 1.5},
    "an infinite AUC": {"auc": math.inf},
    "NaN where there are pairs": {"auc": NAN},
    "an AUC that the bins contradict": {"auc": 0.1},
    "a list for a number": {"auc": [0.5]},
    "a variance that no patients have": {"auc-variance": 0.02},
    "a negative variance": {"auc-variance": -0.001},
    "no variance": {"auc-variance": NAN},
    "bins that do not sum": {"benign-bins": one_more(HISTOGRAM["benign-bins"])},
    "too few bins": {"benign-bins": HISTOGRAM["benign-bins"][1:]},
    "bins that are no counts": {"benign-bins": [0.5] * 256},
    "a negative bin": {"benign-bins": [31, -1, *[0] * 254]},
    "a billion and one": {"n-images": 10**9 + 1},
    "yes and no": {"is-external": 2},
    "something else": {"patient-17": 1},
}
FALSE_SCORES = {
    "a score above 1": [2.0, *SCORES["benign-scores"][:-1]],
    "NaN": [NAN, *SCORES["benign-scores"][:-1]],
    "file order": SCORES["benign-scores"][::-1],
    "too few": SCORES["benign-scores"][1:],
    "other scores": [1.0] * 30,
    "a number": 0.5,
}


@pytest.mark.parametrize("lie", LIES)
def test_what_cannot_be_true_is_left_out_with_the_reason(lie):
    result, fault = read(HISTOGRAM | LIES[lie])

    assert result is None
    assert any(key in fault for key in [*LIES[lie], "malignant are not", "patient-17"])


@pytest.mark.parametrize("lie", FALSE_SCORES)
def test_scores_that_cannot_be_true_are_left_out(lie):
    result, fault = read(SCORES | {"benign-scores": FALSE_SCORES[lie]})

    assert result is None
    assert "scores" in fault


def test_a_coarser_level_must_not_bring_more():
    _, fault = read(HISTOGRAM | {"level": 0})

    assert "benign-bins" in fault


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        reply(HISTOGRAM, name="metrics"),
        RecordDict({"results": ConfigRecord({"level": 0})}),
        RecordDict({"results": MetricRecord(HISTOGRAM), "more": ConfigRecord()}),
    ],
)
def test_other_records_are_left_out(content):
    results, left_out = read_results(STUDY, {3: content, 4: reply(HISTOGRAM)})

    assert (list(results), list(left_out)) == ([4], [3])


MEANS = {
    "level": 0, "is-external": 0, "n-images": 9, "n-patients": 4,
    "best_box_iou-n": 4, "best_box_iou-total": 2.0, "best_box_iou-deviations": 0.2,
    "best_box_hit-n": 4, "best_box_hit-total": 3.0, "best_box_hit-deviations": 0.75,
}  # fmt: skip


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"best_box_iou-n": 5},
        {"best_box_iou-total": 4.5},
        {"best_box_iou-total": NAN},
        {"best_box_hit-deviations": 0.8},
        {"best_box_hit-deviations": -0.1},
        {"best_box_iou-n": 0},
    ],
)
def test_sums_that_values_from_0_to_1_cannot_have_are_left_out(lie):
    result, fault = read(MEANS | lie, DETECTION)

    assert (result is None) == bool(lie)
    assert (fault is not None) == bool(lie)


def results_of(**replies):
    results, left_out = read_results(
        STUDY, {int(node[1:]): reply(values) for node, values in replies.items()}
    )
    assert left_out == {}
    return results


def test_a_row_a_hospital_and_those_that_failed_with_the_reason(tmp_path):
    results = results_of(n1=told(1, "scores"), n2=told(2, "metrics", 12))
    names = {1: "Nord", 2: "Süd", 3: "West"}

    write_results(tmp_path, STUDY, results, {3: "no reply within 9 s"}, names)

    table = pd.read_csv(tmp_path / "site_results.csv")
    assert table["hospital"].tolist() == ["Nord", "Süd", "West"]
    assert table["outcome"].tolist() == ["told", "told", "no reply within 9 s"]
    assert table["level"].tolist()[:2] == ["scores", "metrics"]
    cases = drawn(1)
    exact = auc(cases["malignant"], cases["score"])
    row = table.loc[0]
    found = row[["estimate", "low", "high", "variance", "n", "n_positive"]].tolist()
    names = ("value", "low", "high", "variance", "n", "n_positive")
    assert found == pytest.approx([getattr(exact, name) for name in names])
    assert np.isnan(table.loc[2, "estimate"])


def test_the_pooled_auc_names_those_that_it_covers_and_within_has_all():
    results = results_of(
        n1=told(1, "scores"), n2=told(2, "metrics"), n3=told(3), n4=told(n=0)
    )

    table = pooled_table(STUDY, results, {1: "A", 2: "B", 3: "C", 4: "D"}).set_index(
        "metric"
    )

    assert table.loc["auc", "hospitals"] == "A; C"
    assert "without those that told metrics only: 1" in table.loc["auc", "method"]
    assert 0 < table.loc["auc", "bound"] < 0.02
    assert table.loc["auc", "n"] == 120
    assert table.loc["auc_within_site", "hospitals"] == "A; B; C"
    assert table.loc["auc_within_site", "n"] == 180
    mean = random_effects_mean(
        [results[k].auc.value for k in (1, 2, 3)],
        [results[k].auc.variance for k in (1, 2, 3)],
    )
    assert table.loc["auc_hospital_mean", "estimate"] == pytest.approx(mean.value)
    assert table.loc["auc_hospital_mean", "n_hospitals"] == 3


def test_internal_and_external_test_sets_stay_apart_and_are_told_together():
    results = results_of(n1=told(1), n2=told(2, is_external=1), n3=told(3))

    table = pooled_table(STUDY, results, {})

    pooled = table[table["metric"] == "auc"].set_index("test_set")
    assert pooled["hospitals"].to_dict() == {
        "all": "1; 2; 3", "internal": "1; 3", "external": "2",
    }  # fmt: skip


def test_two_nodes_of_one_name_are_both_kept():
    results = results_of(n1=told(1), n2=told(2))

    table = pooled_table(STUDY, results, {1: "A", 2: "A"})

    assert table.loc[0, "hospitals"] == "A (node 1); A (node 2)"
    assert site_table(results, {}, {1: "A", 2: "B"})["hospital"].tolist() == ["A", "B"]


def test_without_any_patient_there_is_a_row_that_says_so():
    table = pooled_table(STUDY, results_of(n1=told(n=0)), {})

    row = table.set_index("metric").loc["auc"]
    assert (row["n"], row["n_hospitals"], row["hospitals"]) == (0, 0, "")
    assert math.isnan(row["estimate"])


def test_means_are_those_of_all_patients():
    rng = np.random.default_rng(0)
    replies, values = {}, []
    for node in (1, 2, 3):
        boxes = [[[0.0, 0.0, 10.0, 10.0]]] * 30
        found = [[[0.0, 0.0, 10.0, float(h)]] for h in rng.uniform(1, 10, 30)]
        found[0] = []
        cases = pd.DataFrame({"found": found, "boxes": boxes})
        patients = pd.Series(range(30)) // 2
        sums = told_of(TASKS["detection"], cases, patients.astype("str"), "metrics")
        replies[node] = reply({"level": 0, "is-external": 0, "n-images": 30} | sums)
        heights = pd.Series([f[0][3] if f else 0.0 for f in found])
        values += (heights / 10).groupby(patients).mean().tolist()

    results, left_out = read_results(DETECTION, replies)
    table = pooled_table(DETECTION, results, {}).set_index("metric")

    assert left_out == {}
    exact = clustered_mean(values, range(45))
    found = table.loc["best_box_iou"]
    for name in ("low", "high", "variance", "n"):
        assert found[name] == pytest.approx(getattr(exact, name))
    assert found["estimate"] == pytest.approx(exact.value)
    assert found["bound"] == 0
    assert 0 < table.loc["best_box_hit", "estimate"] < 1
    assert table.loc["best_box_iou_hospital_mean", "n_hospitals"] == 3


def asked(out, answers, study=STUDY):
    """Ask hospitals that answer with these records."""
    app = ClientApp()

    @app.evaluate("test")
    def answer(message, context):
        assert set(message.content) == {"arrays", "request"}
        values = answers[context.node_config["number"]]
        if values is None:
            raise RuntimeError("ConfigError in the hospital")
        told = reply(values)
        told["request"] = message.content["request"]
        return Message(told, reply_to=message)

    grid = InProcessGrid(app, [{"number": k} for k in range(len(answers))])
    hospitals = Hospitals(grid=grid, study=study, names=lambda: {FIRST_NODE_ID: "Nord"})
    request = Request(study_id=32 * "a", server_round=1)
    ask_results(hospitals, request, {"w": np.zeros(3, "f4")}, out)


def test_hospitals_are_asked_and_one_that_fails_costs_no_other(tmp_path):
    asked(tmp_path, [told(1), None, told(2) | {"auc": 7.0}])

    table = pd.read_csv(tmp_path / "site_results.csv", index_col="node")
    assert table.loc[FIRST_NODE_ID, ["hospital", "outcome"]].tolist() == [
        "Nord", "told",
    ]  # fmt: skip
    assert "ConfigError in the hospital" in table.loc[FIRST_NODE_ID + 1, "outcome"]
    assert "auc is 7.0" in table.loc[FIRST_NODE_ID + 2, "outcome"]
    tested = pd.read_csv(tmp_path / "test_results.csv").set_index("metric")
    assert tested.loc["auc", "hospitals"] == "Nord"


def test_no_usable_answer_is_an_error_and_the_table_says_why(tmp_path):
    with pytest.raises(RoundError, match="no hospital tested the model"):
        asked(tmp_path, [None])

    assert len(pd.read_csv(tmp_path / "site_results.csv")) == 1
