"""The audit log: what is written is read, and what is changed is found."""

import hashlib
import json
import multiprocessing
import os
import stat

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from thyroid_fl.client.audit import START, append, described, read_log
from thyroid_fl.errors import AuditError


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "audit.jsonl"
    for number in range(6):
        append(path, {"event": "answered", "round": number})
    return path


def test_events_are_read_as_they_were_written(log):
    events = read_log(log)

    assert [e["round"] for e in events] == list(range(6))
    assert [e["line"] for e in events] == list(range(1, 7))
    assert all(e["time"].endswith("+00:00") for e in events)


def test_a_line_is_chained_as_the_module_says(log):
    first, second = (json.loads(line) for line in log.read_text().splitlines()[:2])
    own = first.pop("hash")

    assert first["previous"] == START
    assert hashlib.sha256(json.dumps(first).encode()).hexdigest() == own
    assert second["previous"] == own


def test_only_the_owner_may_read_it(log):
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_numbers_of_numpy_and_those_not_finite_are_kept(tmp_path):
    path = tmp_path / "audit.jsonl"

    append(path, {"event": "x", "numbers": {"a": np.float32(1.5), "b": float("nan")}})

    assert read_log(path)[0]["numbers"] == {"a": 1.5, "b": "nan"}


def test_an_event_cannot_bring_its_own_hash(tmp_path):
    with pytest.raises(ValueError, match="its own hash"):
        append(tmp_path / "audit.jsonl", {"event": "x", "hash": "y"})

    assert not (tmp_path / "audit.jsonl").exists()


DAMAGES = {
    "changed": (
        lambda x: [*x[:2], x[2].replace("2,", "7,"), *x[3:]],
        "3: it was chang",
    ),
    "last changed": (lambda x: [*x[:5], x[5].replace("5,", "7,")], "6: it was chan"),
    "removed": (lambda x: x[:2] + x[3:], "3: it does not follow the line before"),
    "first removed": (lambda x: x[1:], "1: it does not follow the line before"),
    "moved": (lambda x: [x[0], x[2], x[1], *x[3:]], "2: it does not follow"),
    "twice": (lambda x: [*x[:3], *x[2:]], "4: it does not follow"),
    "empty line": (lambda x: [*x[:3], "", *x[3:]], "4: it was changed"),
    "torn inside": (lambda x: [*x[:3], x[3][:40], *x[4:]], "4: it was changed"),
    "torn at the end": (lambda x: [*x[:5], x[5][:40]], "6: the last line is torn"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_first_broken_line_is_named(log, damage):
    change, words = DAMAGES[damage]
    log.write_text("\n".join(change(log.read_text().splitlines())) + "\n")

    with pytest.raises(AuditError, match=f"line {words}"):
        read_log(log)


@settings(max_examples=60, deadline=None)
@given(some.data())
def test_no_changed_byte_stays_unseen(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    for number in range(3):
        append(path, {"event": "answered", "round": number})
    content = bytearray(path.read_bytes())
    place = data.draw(some.integers(0, len(content) - 2))  # the last newline may go
    content[place] ^= data.draw(some.integers(1, 255))
    path.write_bytes(bytes(content))

    with pytest.raises(AuditError, match=r"line [123]:"):
        read_log(path)


@settings(max_examples=40, deadline=None)
@given(some.integers(1, 10**6))
def test_a_torn_line_is_noted_and_the_log_goes_on(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("log") / "audit.jsonl"
    append(path, {"event": "started"})
    append(path, {"event": "answered", "round": 1})
    content = path.read_bytes()
    second = content.index(b"\n") + 1
    kept = second + 1 + cut % (len(content) - second - 2)  # at least one letter
    path.write_bytes(content[:kept])

    append(path, {"event": "answered", "round": 2})

    events = read_log(path)
    if kept == len(content) - 1:  # only the newline was lost: the line is whole
        assert [e["event"] for e in events] == ["started", "answered", "answered"]
    else:
        assert [e["event"] for e in events] == ["started", "torn line", "answered"]
        assert events[1]["bytes"] == kept - second
        assert content[second:kept] in path.read_bytes()


def test_a_first_line_torn_is_noted(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"\0\0\0")

    append(path, {"event": "started"})

    assert [e["event"] for e in read_log(path)] == ["torn line", "started"]


def test_a_torn_line_longer_than_a_block_is_noted(log):
    append(log, {"event": "answered", "reason": "x" * 200_000})
    log.write_bytes(log.read_bytes()[:-100])

    append(log, {"event": "started"})

    assert [e["event"] for e in read_log(log)[-2:]] == ["torn line", "started"]


def test_what_is_no_audit_log_is_not_continued(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_text("a\nb\nc\n")

    with pytest.raises(AuditError, match="are no lines of an audit log"):
        append(path, {"event": "started"})

    assert path.read_text() == "a\nb\nc\n"


def _append_many(path):
    for number in range(20):
        append(path, {"event": "answered", "round": number, "process": os.getpid()})


def test_processes_may_append_at_once(tmp_path):
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append_many, args=[path]) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(30)

    assert len(read_log(path)) == 60


def test_an_array_is_described_by_size_norm_and_hash():
    array = np.array([[3, 0], [0, 4]], np.float32)

    (said,) = described({"layer.weight": array.T})

    assert said == {
        "name": "layer.weight",
        "shape": [2, 2],
        "dtype": "float32",
        "bytes": 16,
        "norm": 5.0,
        "sha256": hashlib.sha256(array.T.tobytes()).hexdigest()[:16],
    }


def test_scalars_integers_and_empty_arrays_are_described():
    arrays = {
        "0-d": np.array(2.0),
        "int8": np.array([-128, 0], np.int8),
        "empty": np.zeros((0, 3), np.float32),
    }

    said = described(arrays)

    assert [s["norm"] for s in said] == [2.0, 128.0, 0.0]
    assert [s["shape"] for s in said] == [[], [2], [0, 3]]
