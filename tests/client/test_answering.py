"""What a deployed hospital answers, refuses and writes down."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message, RecordDict

import thyroid_fl
from thyroid_fl.client.app import app
from thyroid_fl.client.audit import read_log
from thyroid_fl.client.state import load_state, study_folder
from thyroid_fl.packing import shapes_of
from thyroid_fl.requests import Request
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.strategies.arrays import packed_record, unpacked
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import arrays_of

STUDY_ID = 32 * "c"
POLICY = """\
tasks = ["classification"]
strategies = ["fedavg"]
most_rounds = 8
most_local_epochs = 2
least_hospitals = 1
least_noise = 0.0
evaluation = "metrics"
"""


@pytest.fixture
def study(small_manifest):
    return make_study(data=str(small_manifest), split="patient", image_px=32, threads=1)


@pytest.fixture
def site(tmp_path):
    """Return the configuration of a deployed hospital's node."""
    (tmp_path / "policy.toml").write_text(POLICY)
    return {
        "hospital": "H1",
        "policy": str(tmp_path / "policy.toml"),
        "audit": str(tmp_path / "audit.jsonl"),
        "state": str(tmp_path / "state"),
    }


@pytest.fixture
def ask(site):
    """Return a function that asks the hospital, and its log's last line."""

    def send(what, study, request=None, settings=None):
        request = request or Request(study_id=STUDY_ID, server_round=1)
        records = {
            "arrays": packed_record(arrays_of(build_model(study)), study.download),
            "request": request.record(),
            "config": ConfigRecord({"learning-rate": 1e-3}),
        }
        grid = InProcessGrid(app, [site], {"study": settings or study.to_json()})
        message = Message(RecordDict(records), *grid.get_node_ids(), what)
        (reply,) = grid.send_and_receive([message])
        return reply, read_log(Path(site["audit"]))[-1]

    return send


def test_what_leaves_stands_in_the_log(ask, study):
    reply, logged = ask("train", study)

    metrics = reply.content["metrics"]
    assert logged["event"] == "answered"
    assert (logged["asked"], logged["round"]) == ("train", 1)
    assert (logged["task"], logged["study_id"]) == ("classification", STUDY_ID)
    told = logged["numbers"]
    assert {name: told[name] for name in metrics} == pytest.approx(dict(metrics))
    assert logged["cases"]["used"] == metrics["num-examples"]
    assert logged["cases"]["usable"] == reply.content["counts"]["n-usable"]
    assert logged["bytes"] == len(reply.content["arrays"]["model"].data)
    names = [array["name"] for array in logged["arrays"]]
    assert names == list(arrays_of(build_model(study)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rounds": 50}, "rounds is 50"),
        ({"local_epochs": 3}, "local_epochs is 3"),
        ({"strategy": "fedprox"}, "fedprox"),
        ({"task": "segmentation"}, "segmentation"),
    ],
)
@pytest.mark.parametrize("what", ["train", "evaluate", "evaluate.test"])
def test_what_the_policy_does_not_allow_is_refused_in_words(
    ask, study, change, words, what
):
    reply, logged = ask(what, dataclasses.replace(study, **change))

    assert reply.has_error()
    assert words in reply.error.reason
    assert logged["event"] == "refused"
    assert words in logged["reason"]
    assert "numbers" not in logged


def test_a_centre_of_another_version_is_refused(ask, study):
    other = Request(study_id=STUDY_ID, server_round=0, version="9.9")

    reply, logged = ask("evaluate", study, other)

    assert f"runs thyroid-fl 9.9, this hospital {thyroid_fl.__version__}" in (
        reply.error.reason
    )
    assert logged["event"] == "refused"


def test_settings_in_a_file_of_the_hospital_are_refused(ask, study, tmp_path):
    (tmp_path / "study.toml").write_text("rounds = 1\n")

    reply, logged = ask("evaluate", study, settings=str(tmp_path / "study.toml"))

    assert "did not come with the request" in reply.error.reason
    assert str(tmp_path) not in reply.error.reason
    assert logged["event"] == "refused"


def test_a_damaged_policy_lets_nothing_out(ask, study, site, tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY.replace("most_rounds = 8", ""))

    reply, logged = ask("train", study)

    assert "ConfigError in the hospital" in reply.error.reason
    assert str(tmp_path) not in reply.error.reason
    assert logged["event"] == "failed"
    assert "most_rounds" in logged["reason"]


def test_what_cannot_be_written_down_does_not_leave(study, site, tmp_path):
    site["audit"] = str(tmp_path)  # a folder
    grid = InProcessGrid(app, [site], {"study": study.to_json()})
    records = {"request": Request(study_id=STUDY_ID, server_round=1).record()}
    message = Message(RecordDict(records), *grid.get_node_ids(), "query.summary")

    (reply,) = grid.send_and_receive([message])

    assert "IsADirectoryError in the hospital" in reply.error.reason
    assert str(tmp_path) not in reply.error.reason


def test_how_much_of_a_test_is_told_is_the_policys(ask, study, site, tmp_path):
    told = {}
    for level in ("metrics", "histogram", "scores"):
        changed = POLICY.replace('"metrics"', json.dumps(level))
        (tmp_path / "policy.toml").write_text(changed)
        reply, _ = ask("evaluate.test", study)
        told[level] = set(reply.content["results"])

    assert told["metrics"] < told["histogram"]
    assert not any("scores" in name for name in told["metrics"] | told["histogram"])
    assert any("scores" in name for name in told["scores"])


@pytest.mark.parametrize("upload", ["bf16", "int8"])
def test_what_rounding_cuts_off_is_sent_with_the_next_change(ask, study, site, upload):
    rounded = dataclasses.replace(study, upload=upload)
    start = arrays_of(build_model(study))
    shapes = shapes_of(start)
    folder = study_folder(Path(site["state"]), STUDY_ID)
    cut_off = {name: np.zeros_like(array) for name, array in start.items()}

    for number in (1, 2):
        request = Request(study_id=STUDY_ID, server_round=number)
        exact, _ = ask("train", study, request)
        reply, _ = ask("train", rounded, request)

        trained = unpacked(exact.content["arrays"], "fp32", shapes)
        arrives = unpacked(reply.content["arrays"], upload, shapes)
        kept = load_state(folder, number)
        for name, array in trained.items():
            wanted = array - start[name] + cut_off[name]
            cut_off[name] = kept[f"cut-off/{name}"]
            found = arrives[name] + cut_off[name]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
        assert any(np.any(array) for array in cut_off.values())
