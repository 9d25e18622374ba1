"""`thyroid-client audit`: the log in plain words, the chain first."""

import pytest
from typer.testing import CliRunner

from thyroid_fl.client.audit import append, read_log
from thyroid_fl.client.audit_words import told
from thyroid_fl.client.cli import main

ARRAY = {
    "name": "conv.weight", "shape": [3, 4], "dtype": "float32", "bytes": 48,
    "norm": 3.0, "sha256": "0123456789abcdef",
}  # fmt: skip
ANSWERED = {
    "event": "answered", "asked": "train", "study_id": "first", "round": 1,
    "run_id": "5", "task": "classification", "strategy": "fedavg",
    "settings_sha256": "a" * 64, "reason": "",
    "cases": {"used": 3, "usable": 4, "readable": 5, "registered": 6},
    "numbers": {"num-examples": 3.0, "train-loss": 0.123456789},
    "arrays": [ARRAY, ARRAY | {"name": "bias", "shape": [], "norm": 4.0}],
    "bytes": 96,
}  # fmt: skip
REFUSED = ANSWERED | {
    "event": "refused", "round": 2, "reason": "rounds is 50; at most 20",
    "numbers": {}, "arrays": [], "cases": {},
}  # fmt: skip


@pytest.fixture
def site(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "hospital.toml").write_text(
        'name = "h1"\nmanifest = "/m.csv"\naddress = "c:1"\n'
    )
    for event in ({"event": "connected", "address": "c:1"}, ANSWERED, REFUSED):
        append(tmp_path / "logs" / "audit.jsonl", event)
    return tmp_path


def audit(site, *more):
    return CliRunner().invoke(main, ["audit", "--site", str(site), *more])


def test_each_round_says_what_was_asked_done_and_sent(site):
    done = audit(site)

    assert done.exit_code == 0
    for words in (
        "connected (address c:1)",
        f"study first: classification, fedavg (settings {'a' * 16})",
        "round 1, train: answered",
        "left: 2 arrays, 0.00 MB, total norm 5",
        "left: num-examples = 3, train-loss = 0.123457",
        "cases: 3 used of 4 usable (5 readable, 6 registered)",
        "round 2, train: REFUSED: rounds is 50; at most 20",
        "left: nothing",
        "3 events, the chain is whole",
    ):
        assert words in done.stdout
    assert "conv.weight" not in done.stdout


def test_each_array_is_listed_where_asked(site):
    done = audit(site, "--arrays")

    assert (
        "conv.weight: 3 x 4 float32, 48 bytes, norm 3, sha256 0123456789abcdef"
        in done.stdout
    )
    assert "bias: one number float32" in done.stdout


def test_one_round_alone_is_shown_where_asked(site):
    done = audit(site, "--round", "2")

    assert "round 2" in done.stdout
    assert "round 1" not in done.stdout
    assert "connected" not in done.stdout


def test_a_changed_log_ends_with_code_1_and_the_line(site):
    log = site / "logs" / "audit.jsonl"
    log.write_text(log.read_text().replace("0.123456789", "0.223456789"))

    done = audit(site)

    assert done.exit_code == 1
    assert "audit.jsonl line 2: it was changed" in done.stdout
    assert "num-examples" not in done.stdout


def test_no_log_is_no_events(site):
    (site / "logs" / "audit.jsonl").unlink()

    done = audit(site)

    assert (done.exit_code, done.stdout) == (0, "no events yet\n")


def test_the_text_of_the_centre_cannot_steer_the_terminal(tmp_path):
    log = tmp_path / "audit.jsonl"
    append(log, REFUSED | {"reason": "\x1b[2Jx\ny", "study_id": "\x1b]0;"})

    lines = told(read_log(log))

    assert all(line.isprintable() for line in lines)
