"""What is checked before a hospital connects, and how it stands."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from thyroid_fl.client.audit import append
from thyroid_fl.client.cli import main
from thyroid_fl.client.supernode.contact import Contact, read_contact, write_contact
from thyroid_fl.client.supernode.environment import hardened
from thyroid_fl.client.supernode.folder import check_ready, read_hospital
from thyroid_fl.client.supernode.running import _alone, _lock_file, running_since
from thyroid_fl.client.supernode.status import status_lines
from thyroid_fl.errors import ConfigError, ManifestError

NOW = datetime.now(UTC)


def test_a_key_that_others_may_read_is_refused(hospital):
    hospital.key.chmod(0o640)

    with pytest.raises(ConfigError, match="mode is 0640: others may read the key"):
        check_ready(hospital, NOW)


def test_the_program_that_keeps_the_connection_does_without_torch(hospital):
    code = (
        "import sys, datetime, pathlib, thyroid_fl.client.cli; "
        "from thyroid_fl.client.supernode import folder; "
        f"found = folder.read_hospital(pathlib.Path({str(hospital.folder)!r})); "
        "folder.check_ready(found, datetime.datetime.now(datetime.UTC)); "
        "print('torch' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


def test_a_key_that_is_none_is_refused(hospital):
    hospital.key.write_text("no key")

    with pytest.raises(ConfigError, match="cannot read the key"):
        check_ready(hospital, NOW)


def test_a_certificate_that_has_expired_is_refused(hospital, make_certificate):
    hospital.ca.write_bytes(make_certificate(days=-1))

    with pytest.raises(ConfigError, match="ask the centre for a new kit"):
        check_ready(hospital, NOW)


def test_a_certificate_that_is_not_yet_valid_is_refused(hospital):
    with pytest.raises(ConfigError, match="check the clock"):
        check_ready(hospital, NOW - timedelta(days=100))


@pytest.mark.parametrize("name", ["ca.crt", "hospital.key", "policy.toml"])
def test_a_missing_file_is_named(hospital, name):
    (hospital.folder / name).unlink()

    with pytest.raises(ConfigError, match=f"{name}: missing"):
        check_ready(hospital, NOW)


def test_a_missing_manifest_is_named(hospital):
    hospital.manifest.unlink()

    with pytest.raises(ManifestError, match=r"manifest\.csv"):
        check_ready(hospital, NOW)


SETTINGS = {
    "unknown key": ("name =", "nam = 1\nname =", "unknown key 'nam'"),
    "missing key": ("name =", "# name =", "the key name is missing"),
    "type": ('name = "h1"', "name = 1", "name is 1; expected a value of type str"),
    "relative": ('manifest = "', 'manifest = "x', "give the whole path"),
    "min_cell": ("# min_cell = 5", "min_cell = 0", "min_cell is 0"),
    "no TOML": ("name =", "name", "cannot read it"),
}


@pytest.mark.parametrize("fault", SETTINGS)
def test_a_fault_in_the_settings_is_named(hospital, fault):
    old, new, words = SETTINGS[fault]
    path = hospital.folder / "hospital.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(ConfigError, match=words):
        read_hospital(hospital.folder)


def test_min_cell_is_read(hospital):
    path = hospital.folder / "hospital.toml"
    path.write_text(path.read_text().replace("# min_cell = 5", "min_cell = 7"))

    assert read_hospital(hospital.folder).min_cell == 7


def test_run_ends_with_code_2_and_words(tmp_path):
    done = CliRunner().invoke(main, ["run", "--site", str(tmp_path)])

    assert done.exit_code == 2
    assert "no folder of a hospital" in done.stderr


def test_one_program_a_folder_and_its_death_frees_it(hospital):
    code = (
        "import sys, time; from pathlib import Path; "
        "from thyroid_fl.client.supernode.running import _alone\n"
        "with _alone(Path(sys.argv[1])): print('on', flush=True); time.sleep(60)"
    )
    path = _lock_file(hospital)
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"on\n"

        running = running_since(hospital)
        with pytest.raises(ConfigError, match="already runs"), _alone(path):
            pass
        other.kill()

    assert running[0] == other.pid
    assert running_since(hospital) is None
    with _alone(path):
        pass


def test_the_environment_calls_nobody_and_keeps_what_is_the_hospitals(tmp_path):
    given = {
        "PATH": "/bin", "PYTHONPATH": "/x", "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "1", "FLWR_INTERNAL_GRPC_FLEET_API": "1",
        "https_proxy": "http://p", "HTTP_PROXY": "http://p", "SSL_CERT_FILE": "/y",
    }  # fmt: skip

    made = hardened(given, tmp_path)

    assert made["PYTHONPATH"] == "/x"
    assert made["OMP_NUM_THREADS"] == "1"
    assert made["PATH"].endswith(":/bin")
    assert made["FLWR_TELEMETRY_ENABLED"] == "0"
    assert made["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert made["FLWR_HOME"].startswith(str(tmp_path))
    for name in (
        "https_proxy", "HTTP_PROXY", "SSL_CERT_FILE", "FLWR_INTERNAL_GRPC_FLEET_API"
    ):  # fmt: skip
        assert name not in made


def test_a_hospital_that_does_not_run_says_how_to_start_it(hospital):
    told = "\n".join(status_lines(hospital, NOW))

    assert "not running; start it with thyroid-client run" in told
    assert "last request: none yet" in told
    assert "policy: classification; fedavg; at most 20 rounds of 2 epochs" in told


def test_the_status_tells_the_connection_and_the_last_request(hospital):
    append(hospital.audit, {"event": "started"})
    append(hospital.audit, {"event": "connected", "address": hospital.address})
    append(hospital.audit, {"event": "answered", "asked": "train", "round": 4})
    now = datetime.now(UTC)
    write_contact(hospital.contact, Contact(time_s=now.timestamp(), is_working=False))

    with _alone(_lock_file(hospital)):
        told = "\n".join(status_lines(hospital, now))
        later = "\n".join(status_lines(hospital, now + timedelta(seconds=99)))

    assert "centre.example.org:443, connected since" in told
    assert "round 4, train: answered" in told
    assert "connection lost 99 s ago" in later


def test_the_status_tells_the_cause(hospital):
    append(hospital.audit, {"event": "started"})
    hospital.node_log.write_text("[code: 2004] Failed to activate SuperNode.\n")

    with _alone(_lock_file(hospital)):
        told = "\n".join(status_lines(hospital, NOW))

    assert "not connected: the centre does not know this hospital's key" in told


def test_a_status_survives_a_policy_and_a_log_that_are_damaged(hospital):
    append(hospital.audit, {"event": "started"})
    hospital.audit.write_bytes(hospital.audit.read_bytes().replace(b"st", b"ts"))
    hospital.policy.write_text("x = 1")

    told = "\n".join(status_lines(hospital, NOW))

    assert "policy: CANNOT BE USED" in told
    assert "audit log: DAMAGED" in told


def test_a_contact_that_is_damaged_is_none(hospital):
    write_contact(hospital.contact, Contact(time_s=time.time(), is_working=True))
    assert read_contact(hospital.contact).is_working

    hospital.contact.write_text("{")

    assert read_contact(hospital.contact) is None
