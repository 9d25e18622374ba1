"""The ClientApp: what it answers, and what it never tells."""

import logging
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from sklearn.metrics import log_loss, roc_auc_score

from thyroid_fl.client.app import app, round_seed
from thyroid_fl.client.inference import predict
from thyroid_fl.client.site import open_archive, open_site
from thyroid_fl.requests import Request
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.strategies.arrays import packed_record, unpacked
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import arrays_of, model_shapes

STUDY_ID = 32 * "0"


@pytest.fixture
def study(small_manifest):
    return make_study(
        data=str(small_manifest), split="patient", image_px=32, threads=1,
        local_epochs=2,
    )  # fmt: skip


@pytest.fixture
def ask(study):
    """Return a function that sends one message to one hospital."""
    initial = arrays_of(build_model(study))

    def send(what, site, study=study, server_round=1, **config):
        given = {"learning-rate": 1e-3} | config
        records = {
            "arrays": packed_record(initial, "fp32"),
            "request": Request(study_id=STUDY_ID, server_round=server_round).record(),
            "config": ConfigRecord(given),
        }
        if what == "evaluate":
            del records["config"]
        grid = InProcessGrid(app, [site], {"study": study.to_json()})
        (node,) = grid.get_node_ids()
        (reply,) = grid.send_and_receive([Message(RecordDict(records), node, what)])
        return reply

    return send


def weights(reply, study):
    shapes = model_shapes(build_model(study))
    return unpacked(reply.content["arrays"], "fp32", shapes)


def same(first, second):
    pair = (reply.content["arrays"]["model"].data for reply in (first, second))
    return len(set(pair)) == 1


def test_training_returns_the_whole_model_and_three_numbers(ask, study):
    site = open_site(study, {"hospital": "H1"})

    reply = ask("train", {"hospital": "H1"})

    before = arrays_of(build_model(study))
    assert {k: a.shape for k, a in weights(reply, study).items()} == {
        k: a.shape for k, a in before.items()
    }
    assert any(
        not np.array_equal(a, before[k]) for k, a in weights(reply, study).items()
    )
    metrics = dict(reply.content["metrics"])
    assert metrics.keys() == {"num-examples", "train-loss", "n-steps"}
    assert metrics["num-examples"] == len(site.train)
    assert metrics["n-steps"] == study.local_epochs * np.ceil(
        len(site.train) / study.batch_size
    )
    assert 0.1 < metrics["train-loss"] < 2


def test_validation_returns_sums_that_agree_with_scikit_learn(ask, study):
    site = open_site(study, {"hospital": "H2"})
    archive = open_archive(study, study.data)
    found = predict(build_model(study), archive, site.val, study)
    labels, scores = found["malignant"].to_numpy(), found["score"].to_numpy()

    reply = ask("evaluate", {"hospital": "H2"})

    assert set(reply.content) == {"metrics", "request"}
    metrics = reply.content["metrics"]
    assert metrics["num-examples"] == len(site.val) == len(labels)
    assert metrics["loss"] == pytest.approx(log_loss(labels, scores), rel=1e-5)
    assert metrics["auc-n"] == labels.sum() * (1 - labels).sum()
    auc = metrics["auc-sum"] / metrics["auc-n"]
    assert auc == pytest.approx(roc_auc_score(labels, scores))


def test_training_tells_four_counts_and_nothing_else_beside_the_model(ask, study):
    site = open_site(study, {"hospital": "H1"})

    reply = ask("train", {"hospital": "H1"})

    assert set(reply.content) == {"arrays", "metrics", "counts", "request"}
    assert dict(reply.content["counts"]) == {
        "n-registered": 48,
        "n-readable": 48,
        "n-usable": 48,
        "n-used": len(site.train),
    }


def test_validation_of_boxes_tells_two_sums_and_no_box(small_manifest):
    study = make_study(
        data=str(small_manifest), task="detection", split="patient", threads=1
    )
    site = open_site(study, {"hospital": "H1"})
    grid = InProcessGrid(app, [{"hospital": "H1"}], {"study": study.to_json()})
    records = {
        "arrays": packed_record(arrays_of(build_model(study)), "fp32"),
        "request": Request(study_id=STUDY_ID, server_round=0).record(),
    }
    message = Message(RecordDict(records), *grid.get_node_ids(), "evaluate")

    (reply,) = grid.send_and_receive([message])

    assert set(reply.content) == {"metrics", "request"}
    metrics = reply.content["metrics"]
    assert set(metrics) == {"num-examples", "loss", "iou-sum", "iou-n"}
    assert metrics["iou-n"] == metrics["num-examples"] == len(site.val)


def test_no_case_level_number_leaves_the_hospital(ask):
    for what in ("train", "evaluate"):
        reply = ask(what, {"hospital": "H0"})

        for record in reply.content.values():
            if isinstance(record, MetricRecord):
                assert {type(value) for value in record.values()} == {float}


@pytest.fixture
def divided(small_manifest, tmp_path):
    """Return a study in which H0 only tests, H1 only trains, and H2 only validates."""
    shutil.copytree(small_manifest.parent / "images", tmp_path / "images")
    table = pd.read_csv(small_manifest, dtype="str")
    sides = {"H0": "test", "H1": "train", "H2": "val", "H3": "train", "H4": "val"}
    table["split"] = table["hospital"].map(sides)
    table.to_csv(tmp_path / "manifest.csv", index=False)
    return make_study(
        data=str(tmp_path / "manifest.csv"), split="manifest", image_px=32, threads=1
    )


def test_a_hospital_without_training_cases_sends_no_weights(ask, divided):
    for hospital in ("H0", "H2"):
        reply = ask("train", {"hospital": hospital}, divided)

        assert dict(reply.content["metrics"]) == {"num-examples": 0.0}
        assert reply.content["counts"]["n-used"] == 0
        assert not reply.content["arrays"]


def test_a_hospital_without_validation_cases_sends_no_metrics(ask, divided):
    for hospital in ("H0", "H1"):
        reply = ask("evaluate", {"hospital": hospital}, divided)

        assert dict(reply.content["metrics"]) == {"num-examples": 0.0}
    assert ask("evaluate", {"hospital": "H2"}, divided).content["metrics"]["loss"] > 0


def test_the_centres_proximal_mu_and_learning_rate_are_used(ask):
    site = {"hospital": "H1"}
    plain = ask("train", site)

    assert same(plain, ask("train", site, **{"proximal-mu": 0.0}))
    assert not same(plain, ask("train", site, **{"proximal-mu": 5.0}))
    assert not same(plain, ask("train", site, **{"learning-rate": 2e-3}))


def test_a_round_is_repeatable_and_no_other_rounds_or_hospitals(ask):
    first = ask("train", {"hospital": "H1"})

    assert same(first, ask("train", {"hospital": "H1"}))
    assert not same(first, ask("train", {"hospital": "H1"}, server_round=2))
    seeds = {
        tuple(round_seed(seed, server_round, hospital).generate_state(2))
        for seed in (1, 2)
        for server_round in (1, 2)
        for hospital in ("H1", "H2")
    }
    assert len(seeds) == 8


def test_training_leaves_the_global_random_state_as_it_was(ask):
    before = torch.random.get_rng_state()

    ask("train", {"hospital": "H1"})

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_partition_is_the_hospital_of_that_place(ask):
    named, numbered = (
        ask("train", {"hospital": "H3"}),
        ask("train", {"partition-id": 3}),
    )

    assert same(named, numbered)


def test_an_error_tells_the_centre_its_kind_and_nothing_else(ask, tmp_path, caplog):
    folder = tmp_path / "Maria-Musterfrau"
    folder.mkdir()
    (folder / "manifest.csv").write_text(
        "image_id,patient_id,hospital,image,malignant\n"
        "i1,MRN-1955,H1,a.png,1\ni2,MRN-1955,H2,b.png,1\n"
    )

    with caplog.at_level(logging.ERROR, "thyroid_fl.client.answering"):
        reply = ask("train", {"manifest": str(folder / "manifest.csv")})

    assert reply.has_error()
    assert reply.error.reason == (
        "<class 'RuntimeError'>:"
        "<'ManifestError in the hospital; its own log says more'>"
    )
    assert "Maria-Musterfrau" in caplog.text
    assert "MRN-1955" in caplog.text


@pytest.mark.parametrize(
    ("site", "kind"),
    [({"hospital": "H9"}, "ConfigError"), ({"partition-id": 5}, "ConfigError"),
     ({"manifest": "absent.csv"}, "ManifestError")],
)  # fmt: skip
def test_a_hospital_that_cannot_answer_says_so(ask, site, kind):
    for what in ("train", "evaluate"):
        reply = ask(what, site)

        assert reply.has_error()
        assert f"{kind} in the hospital" in reply.error.reason


def test_another_model_than_the_studys_is_refused(ask, study, small_manifest):
    other = make_study(
        data=str(small_manifest), split="patient", preset="paper", norm="weight",
        image_px=32, threads=1,
    )  # fmt: skip

    reply = ask("train", {"hospital": "H1"}, other)

    assert "RoundError in the hospital" in reply.error.reason


def test_a_round_beyond_the_studys_is_refused_by_a_policy(ask, study, tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'tasks = ["classification"]\nstrategies = ["fedavg"]\n'
        f"most_rounds = {study.rounds}\nmost_local_epochs = 2\n"
        'least_hospitals = 1\nleast_noise = 0\nevaluation = "metrics"\n'
    )
    site = {"hospital": "H1", "policy": str(policy)}

    reply = ask("train", site, server_round=study.rounds + 1)

    assert f"round {study.rounds + 1} is asked for" in reply.error.reason
