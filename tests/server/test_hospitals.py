"""Asking hospitals: who is asked, and which answers do not count and why."""

import numpy as np
import pandas as pd
import pytest
from flwr.app import Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from thyroid_fl.requests import Request
from thyroid_fl.server.hospitals import Hospitals, by_reason, connected, replies
from thyroid_fl.server.participation import TRAFFIC, add_trips
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import InProcessGrid

FIRST, SECOND = 1001, 1002
NAMES = {FIRST: "St. Anna", SECOND: "Klinik Nord"}
REQUEST = Request(study_id=32 * "a", server_round=3, best_round=2)


def app_of(answer):
    """Return an app that answers a validation with what the function makes of it."""
    app = ClientApp()

    @app.evaluate()
    def evaluate(message, context):
        return answer(message)

    return app


def good(message):
    records = {"m": MetricRecord({"loss": 0.5}), "request": message.content["request"]}
    return Message(RecordDict(records), reply_to=message)


@pytest.fixture
def federation():
    """Return a function that makes two hospitals which answer so."""

    def make(answer=good, n=2, **settings):
        study = make_study(**{"wait_s": 0.1, "round_deadline_s": 5, **settings})
        grid = InProcessGrid(app_of(answer), [{} for _ in range(n)])
        return Hospitals(grid=grid, study=study, names=lambda: NAMES)

    return make


def ask(hospitals, request=REQUEST):
    """Return the nodes that answered, and those that failed, with why."""
    failed = {}
    messages = [
        Message(RecordDict(), node, "evaluate")
        for node in hospitals.grid.get_node_ids()
    ]
    answered = replies(hospitals, messages, request, failed)
    return [reply.metadata.src_node_id for reply in answered], failed


def test_what_is_asked_says_study_round_and_version(federation):
    seen = []

    def listen(message):
        seen.append(dict(message.content["request"]))
        return good(message)

    assert ask(federation(listen))[0] == [FIRST, SECOND]
    assert seen[0] == REQUEST.record() == seen[1]


@pytest.mark.parametrize(
    "other",
    [
        Request(study_id=32 * "a", server_round=2, best_round=2),
        Request(study_id=32 * "b", server_round=3, best_round=2),
        Request(study_id=32 * "a", server_round=3, best_round=2, version="0.0.9"),
    ],
)
def test_a_reply_to_another_request_is_stale(federation, other, caplog):
    def replay(message):
        records = {"m": MetricRecord({"loss": 0.5}), "request": other.record()}
        return Message(RecordDict(records), reply_to=message)

    answered, failed = ask(federation(replay))

    assert answered == []
    assert set(failed) == {FIRST, SECOND}
    assert "stale: it answers another request" in failed[FIRST]
    assert "round 3, evaluate: St. Anna: stale" in caplog.text


def test_a_reply_that_does_not_say_what_it_answers_is_stale(federation):
    answered, failed = ask(
        federation(lambda message: Message(RecordDict(), reply_to=message))
    )

    assert (answered, len(failed)) == ([], 2)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ErrorCode.NODE_UNAVAILABLE, "it went offline"),
        (ErrorCode.CLIENT_APP_CRASHED, "killed or ran out of memory"),
        (ErrorCode.LOAD_CLIENT_APP_EXCEPTION, "install it again"),
        (ErrorCode.INVALID_FAB, "run only (it holds code)"),
    ],
)
def test_flowers_errors_are_told_in_words(federation, code, words):
    def fail(message):
        return Message(Error(code=code, reason="it holds code"), reply_to=message)

    _, failed = ask(federation(fail))

    assert words in failed[FIRST]


def test_a_hospitals_own_words_come_without_flowers(federation):
    def refuse(message):
        raise ValueError("rounds is 50;\nthis hospital allows at most 20")

    def say_nothing(message):
        raise ValueError

    _, failed = ask(federation(refuse))
    _, silent = ask(federation(say_nothing))

    assert failed[FIRST] == "rounds is 50; this hospital allows at most 20"
    assert "ValueError" in silent[FIRST]


class LateGrid(InProcessGrid):
    """A grid whose second hospital answers nothing before the next question."""

    n_pushes = 0

    def push_messages(self, messages):
        self.n_pushes += 1
        ids = super().push_messages(messages)
        if self.n_pushes == 1:
            self.late = ids[1]
        return ids

    def pull_messages(self, message_ids):
        ids = set(message_ids)
        if self.is_asleep and self.late in ids:
            return []
        return super().pull_messages(ids)


def test_a_late_reply_is_named_and_counted_and_not_used(federation, tmp_path, caplog):
    hospitals = federation(round_deadline_s=0.3)
    grid = LateGrid(app_of(good), [{}, {}])
    grid.is_asleep = True
    hospitals.grid = grid

    first = ask(hospitals)
    grid.is_asleep = False
    second = ask(hospitals, Request(study_id=32 * "a", server_round=4))

    assert first == ([FIRST], {SECOND: "no reply within 0.3 s"})
    assert second == ([FIRST, SECOND], {})
    assert hospitals.unanswered == {}
    assert "round 3, evaluate: Klinik Nord: late" in caplog.text
    add_trips(tmp_path, hospitals)
    table = pd.read_csv(tmp_path / TRAFFIC)
    outcomes = table[table["node"] == SECOND]["outcome"].str.split(":").str[0]
    assert outcomes.tolist() == ["no reply within 0.3 s", "late", "answered"]
    assert table["hospital"].unique().tolist() == ["St. Anna", "Klinik Nord"]
    assert hospitals.trips == []


def test_bytes_there_and_back_are_counted(federation, tmp_path):
    hospitals = federation()

    ask(hospitals)
    add_trips(tmp_path, hospitals)

    table = pd.read_csv(tmp_path / TRAFFIC)
    assert table[["round", "step"]].drop_duplicates().values.tolist() == [
        [3, "evaluate"]
    ]
    assert (table["sent_bytes"] > 32).all()
    assert (table["received_bytes"] > 8).all()
    assert (table["seconds"] >= 0).all()


def test_a_share_of_the_hospitals_is_drawn_anew_each_round(federation):
    hospitals = federation(n=20, min_hospitals=2)

    drawn = [
        tuple(connected(hospitals, 0.25, number).get_node_ids()) for number in (1, 2, 3)
    ]
    again = tuple(connected(hospitals, 0.25, 2).get_node_ids())

    assert {len(nodes) for nodes in drawn} == {5}
    assert len(set(drawn)) > 1
    assert again == drawn[1]
    assert all(list(nodes) == sorted(set(nodes)) for nodes in drawn)


def test_a_share_is_never_less_than_the_quorum(federation):
    hospitals = federation(n=6, min_hospitals=4)

    assert len(connected(hospitals, 0.01, 1).get_node_ids()) == 4
    assert len(connected(hospitals).get_node_ids()) == 6


def test_reasons_are_told_once_with_the_hospitals_that_have_them(federation):
    hospitals = federation()
    failed = {FIRST: "offline", SECOND: "offline", 7: "stale"}

    words = by_reason(hospitals, failed, [9])

    assert words == (
        "no examples (node 9); offline (St. Anna, Klinik Nord); stale (node 7)"
    )
    assert np.char.count(words, "offline") == 1
