"""`thyroid-server` without a SuperLink: what is refused, in which words, with 2."""

import socket

import pytest

from thyroid_fl.server.centre.folder import Centre, open_centre
from thyroid_fl.server.centre.services import services
from thyroid_fl.server.centre.studies import Record, Standing
from thyroid_fl.server.centre.words import plain, standing_words
from thyroid_fl.settings import make_study

COMMANDS = {
    "start": (),
    "hospitals": (),
    "admit": ("north", "north.pub"),
    "revoke": ("north",),
    "run": (),
    "status": (),
    "logs": ("first",),
    "stop": ("first",),
    "resume": ("first",),
}


@pytest.fixture
def port():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def moved(centre, port):
    """A centre whose port somebody else has."""
    path = centre / "centre.toml"
    path.write_text(path.read_text().replace("28000", str(port)))
    return centre


@pytest.mark.parametrize("command", COMMANDS)
def test_other_folders_are_refused(call, tmp_path, command):
    done = call(command, *COMMANDS[command], "--centre", tmp_path)

    assert done.exit_code == 2
    assert "is not the folder of a centre" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "address = 1\nsuperlink_port = 2", 'address = "a"\nsuperlink_port = 2', "=",
     'address = "a:1"\nsuperlink_port = 0'],
)  # fmt: skip
def test_damaged_settings_are_refused(call, centre, text):
    (centre / "centre.toml").write_text(text)

    done = call("start", "--centre", centre)

    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert "hint" not in done.stderr


@pytest.mark.parametrize("name", ["ca/ca.key", "tls/server.key", "superexec.secret"])
def test_start_refuses_secrets_that_others_can_read(call, centre, name):
    (centre / name).chmod(0o640)

    done = call("start", "--centre", centre)

    assert done.exit_code == 2
    assert f"{name} can be read by others" in done.stderr
    assert "chmod 600" in done.stderr


def test_start_refuses_a_missing_key(call, centre):
    (centre / "tls/server.key").unlink()

    done = call("start", "--centre", centre)

    assert done.exit_code == 2
    assert "server.key is missing" in done.stderr


def test_start_refuses_a_port_in_use(call, moved, port):
    done = call("start", "--centre", moved)

    assert done.exit_code == 2
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr


@pytest.mark.parametrize("command", ["hospitals", "run"])
def test_commands_say_that_the_centre_does_not_run(call, centre, command):
    done = call(command, "--centre", centre)

    assert done.exit_code == 2
    assert "thyroid-server start" in done.stderr
    assert list((centre / "runs").iterdir()) == []


def test_admission_without_a_superlink_keeps_nothing(call, centre, key_pair):
    _, public = key_pair()

    done = call("admit", "north", public, "--centre", centre)

    assert done.exit_code == 2
    assert not (centre / "hospitals.json").exists()


def test_status_without_a_superlink_ends_with_1(call, centre):
    done = call("status", "--centre", centre)

    assert done.exit_code == 1
    assert "does not run" in done.stdout


@pytest.mark.parametrize("name", ["../x", ".x", "a b", "a" * 65])
def test_unsafe_study_names_are_refused(call, centre, name):
    done = call("run", "--name", name, "--centre", centre)

    assert done.exit_code == 2
    assert "begin with a letter or digit" in done.stderr
    assert list((centre / "runs").iterdir()) == []


@pytest.mark.parametrize("command", ["logs", "stop", "resume"])
def test_unknown_studies_are_refused(call, centre, command):
    done = call(command, "frist", "--centre", centre)

    assert done.exit_code == 2
    assert "no study 'frist'" in done.stderr


def test_services_are_closed_to_everyone_else(provisioned):
    superlink, superexec = services(provisioned)

    options = " ".join(superlink.command)
    assert "--host 127.0.0.1 --port 28000" in options
    for option in (
        "--enable-supernode-auth",
        "--isolation process",
        "--superexec-auth-secret-file",
        "--disable-runtime-dependency-installation",
        "--database",
    ):
        assert option in options
    assert "--insecure" not in options + " ".join(superexec.command)
    for service in (superlink, superexec):
        assert service.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert service.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert service.environment["FLWR_HOME"].startswith(str(provisioned.root))


@pytest.mark.parametrize(
    ("address", "is_direct"),
    [
        ("127.0.0.1:18000", True),
        ("localhost:18000", True),
        ("127.0.0.1:18443", False),
        ("fl.example.org:443", False),
        ("[::1]:18000", True),
    ],
)
def test_local_address_with_the_same_port_is_direct(tmp_path, address, is_direct):
    centre = Centre(root=tmp_path, address=address, superlink_port=18000)

    assert centre.is_direct == is_direct


def test_folder_is_found_from_within(provisioned, monkeypatch):
    monkeypatch.chdir(provisioned.root)

    assert open_centre(provisioned.root.__class__()) == provisioned


def test_log_is_shown_in_plain_words():
    log = [
        "INFO :      Start `flwr-serverapp` process",
        "2026-01-01 round 1 of 2: loss 0.5",
        "ERROR :     ServerApp raised an exception",
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in main',
        "    run()",
        "thyroid_fl.errors.RoundError: too few",
        "",
        "WARNING :   a node left",
    ]

    assert list(plain(log)) == ["2026-01-01 round 1 of 2: loss 0.5", "a node left"]


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("ServerApp failed with exception: too few\nhospitals", "too few hospitals"),
        (
            "No heartbeat received from the task",
            "its ServerApp was killed, or the centre was restarted",
        ),
    ],
)
def test_standing_says_how_far_and_what_to_do(why, words):
    record = Record(name="first", study=make_study(), ask="training", run_ids=(1,))
    standing = Standing(
        record=record, state="failed", why=why, last_round=2, best_round=1
    )

    assert standing_words(standing) == (
        f"first: failed, round 2 of 8, best round 1 by loss: {words}; "
        "to go on: thyroid-server resume first"
    )
