"""A hospital's program against a real SuperLink: it connects, refuses, and heals.

One SuperLink and one hospital serve all tests, which tell one story in their order.
"""

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors.http import RuntimeVersionHttpInterceptor
from PIL import Image

import thyroid_fl
from thyroid_fl.client.audit import read_log
from thyroid_fl.client.supernode.folder import read_hospital
from thyroid_fl.client.supernode.joining import join
from thyroid_fl.client.supernode.status import status_lines
from thyroid_fl.settings import Study

pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]
PROJECT = f"""
[project]
name = "thyroid-fl"
version = "{thyroid_fl.__version__}"
description = "x"
license = "x"

[tool.flwr.app]
publisher = "thyroidfl"
fab-include = INCLUDE

[tool.flwr.app.components]
serverapp = "probe:app"
clientapp = "CLIENT"

[tool.flwr.app.config]
study = ""
out = ""
"""
# At the centre only: asks each hospital what data it has, and writes the answers down.
PROBE = """
import json, time
from flwr.app import Message, RecordDict
from flwr.serverapp import ServerApp
from thyroid_fl.requests import Request

app = ServerApp()

@app.main()
def main(grid, context):
    while not (nodes := list(grid.get_node_ids())):
        time.sleep(0.5)
    request = {"request": Request(study_id=32 * "0", server_round=0).record()}
    asked = [
        Message(RecordDict(request), dst_node_id=node, message_type="query.summary")
        for node in nodes
    ]
    replies = list(grid.send_and_receive(asked, timeout=120))
    answers = [
        r.error.reason if r.has_error() else sorted(r.content) for r in replies
    ]
    with open(context.run_config["out"], "w") as file:
        json.dump(answers, file)
"""
EVIL = """
import os
open(os.environ["THYROID_TEST_MARK"], "w").write("code of the centre ran")
from flwr.clientapp import ClientApp
app = ClientApp()
"""
POLICY = """
tasks = ["classification"]
strategies = ["fedavg"]
most_rounds = 20
most_local_epochs = 2
least_hospitals = 1
least_noise = 0
evaluation = "metrics"
"""


def eventually(condition, what, timeout_s=90):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not within {timeout_s} s: {what}")


def authority(name):
    """Return key and certificate of a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, signed(key, key, name, None, is_ca=True)


def signed(key, by, name, issuer, *, is_ca):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
    )
    if not is_ca:
        names = [x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(by, hashes.SHA256())


def pem(certificate):
    return certificate.public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def centre(tmp_path_factory):
    """A SuperLink with TLS and node authentication, and the kit of its hospitals."""
    folder = tmp_path_factory.mktemp("centre")
    ca_key, ca = authority("test CA")
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.crt").write_bytes(pem(ca))
    (folder / "server.crt").write_bytes(pem(signed(key, ca_key, "x", ca, is_ca=False)))
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "probe.py").write_text(PROBE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    kit = folder / "kit"
    kit.mkdir()
    shutil.copy(folder / "ca.crt", kit)
    (kit / "policy.toml").write_text(POLICY)
    (kit / "kit.toml").write_text(
        f'address = "{address}"\nversion = "{thyroid_fl.__version__}"\n'
    )
    one = SimpleNamespace(folder=folder, kit=kit, address=address, process=None)
    start_superlink(one)
    yield one
    end(one.process)


def start_superlink(one):
    command = [
        BIN / "flower-superlink", "--host", "127.0.0.1",
        "--port", one.address.rpartition(":")[2],
        "--ssl-ca-certfile", one.folder / "ca.crt",
        "--ssl-certfile", one.folder / "server.crt",
        "--ssl-keyfile", one.folder / "server.key",
        "--enable-supernode-auth", "--database", one.folder / "state.db",
        "--disable-runtime-dependency-installation",
    ]  # fmt: skip
    environment = os.environ | {
        "FLWR_HOME": str(one.folder / "flwr"),
        "PYTHONPATH": f"{ROOT}:{one.folder}",
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }
    with (one.folder / "superlink.log").open("ab") as log:
        one.process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    url = f"https://{one.address}/health"
    trust = ssl.create_default_context(cafile=one.folder / "ca.crt")

    def is_up():
        try:
            return httpx.get(url, verify=trust).is_success
        except httpx.TransportError:
            return False

    eventually(is_up, "the SuperLink is up")


def end(process):
    """End a process and its group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def control(centre):
    with ControlHttpClient.from_server_address(
        server_address=centre.address,
        insecure=False,
        root_certificates=(centre.folder / "ca.crt").read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="test")],
    ) as client:
        yield client


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(1)
    rows = ["image_id,patient_id,hospital,image,malignant"]
    for number in range(8):
        noise = rng.integers(0, 255, (6, 8), np.uint8)
        Image.fromarray(noise).resize((80, 60)).save(folder / f"{number}.png")
        rows.append(f"i{number},p{number},H1,{number}.png,{number % 2}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def hospital(centre, manifest, tmp_path_factory):
    """A hospital whose program runs, and whose key the centre does not know yet."""
    folder = tmp_path_factory.mktemp("hospitals") / "h1"
    own = join(centre.kit, "h1", manifest, folder).hospital
    program = start_client(own)
    yield SimpleNamespace(own=own, program=program, folder=folder)
    end(program)


def start_client(own):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "THYROID_TEST_MARK": str(own.folder / "mark"),
        "HTTPS_PROXY": "http://127.0.0.1:9",  # must be ignored
    }
    with (own.folder / "logs" / "run.log").open("ab") as log:
        return subprocess.Popen(
            [BIN / "thyroid-client", "run", "--site", own.folder],
            env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def standing(own):
    return "\n".join(status_lines(own, datetime.now(UTC)))


def says(own, words):
    return lambda: words in standing(own)


def n_events(own, kind):
    return sum(event["event"] == kind for event in read_log(own.audit))


def the_node(program):
    """Return the process of the SuperNode."""
    return next(
        (
            child
            for child in psutil.Process(program.pid).children()
            if "thyroid_fl.client.supernode.node" in child.cmdline()
        ),
        None,
    )


def ask(control, out, client, more):
    """Start a run of a bundle; return what the hospitals answered."""
    files = {"README.md": b"# x\n", **more}
    project = PROJECT.replace("CLIENT", client)
    project = project.replace("INCLUDE", json.dumps(list(files)))
    files["pyproject.toml"] = project.encode()
    content, _ = build_fab_from_files(files)
    fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
    study = Study(split="patient").to_json()
    config = user_config_to_proto({"out": str(out), "study": study})
    answer = control.StartRun(
        StartRunRequest(fab=fab_to_proto(fab), override_config=config)
    )
    assert answer.HasField("run_id")
    eventually(out.exists, "the run ends", 180)
    time.sleep(0.2)
    return json.loads(out.read_text())


def test_an_unknown_key_is_told_in_words(hospital):
    eventually(says(hospital.own, "ask for `thyroid-server admit h1"), "the words")

    log = hospital.folder / "logs" / "run.log"
    words = "the centre does not know this hospital's key"
    eventually(lambda: words in log.read_text(), "the words in the log")
    assert hospital.program.poll() is None  # it goes on trying


def test_once_admitted_it_connects_by_itself(hospital, centre, control):
    key = load_ssh_public_key((hospital.folder / "hospital.key.pub").read_bytes())
    content = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    asked = RegisterNodeRequest(public_key=content, name="h1")
    centre.node_id = control.RegisterNode(asked).node_id

    eventually(says(hospital.own, "connected since"), "connected")

    assert f"running since {datetime.now(UTC):%Y-%m-%d}" in standing(hospital.own)


def test_a_second_program_on_the_folder_is_refused(hospital):
    second = subprocess.run(
        [BIN / "thyroid-client", "run", "--site", hospital.folder],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert second.returncode == 2
    assert "already runs on this folder" in second.stderr


def test_a_bundle_with_code_is_refused_and_no_code_runs(hospital, control, tmp_path):
    answers = ask(
        control, tmp_path / "out.json", "evil:app", {"evil.py": EVIL.encode()}
    )

    assert len(answers) == 1
    assert answers[0].startswith("the bundle holds 'evil.py'")
    assert not (hospital.folder / "mark").exists()
    refused = [
        e for e in read_log(hospital.own.audit) if e["event"] == "bundle refused"
    ]
    assert [e["reason"] for e in refused] == answers
    assert not (hospital.folder / "state" / "flower" / "apps").exists()


def test_another_app_than_the_installed_one_is_refused(control, tmp_path):
    answers = ask(control, tmp_path / "out.json", "os:system", {})

    assert "clientapp is 'os:system'" in answers[0]


def test_a_bundle_of_settings_is_answered(control, tmp_path):
    answers = ask(control, tmp_path / "out.json", "thyroid_fl.client.app:app", {})

    assert answers == [["request", "summary"]]


def test_it_talks_to_the_centre_and_to_nobody_else(hospital, centre):
    """Seen from outside: the sockets of all its processes, while it is connected."""
    node = the_node(hospital.program)
    processes = [node, *node.children(recursive=True)]

    sockets = [c for p in processes for c in p.net_connections("inet") if c.raddr]

    own = {c.laddr.port for c in sockets} | {
        c.laddr.port for p in processes for c in p.net_connections("inet")
    }
    far = {f"{c.raddr.ip}:{c.raddr.port}" for c in sockets if c.raddr.port not in own}
    assert far <= {centre.address}


def test_a_killed_starter_of_the_apps_comes_back(hospital):
    before = n_events(hospital.own, "connected")
    (starter,) = the_node(hospital.program).children()

    starter.kill()

    eventually(lambda: n_events(hospital.own, "connected") > before, "connected again")


def test_a_restarted_centre_finds_it_again(hospital, centre):
    os.killpg(centre.process.pid, signal.SIGKILL)
    centre.process.wait()
    eventually(
        says(hospital.own, "it is tried again by itself"), "the lost line is told"
    )

    start_superlink(centre)

    eventually(says(hospital.own, "connected since"), "connected again")


def test_a_killed_node_comes_back_and_leaves_nothing_running(hospital):
    node = the_node(hospital.program)
    below = node.children(recursive=True)
    before = n_events(hospital.own, "connected")

    node.kill()

    assert below
    eventually(lambda: not any(map(is_alive, below)), "what it had started is gone")
    # The centre lets it in again once the heartbeats of the killed one are overdue.
    again = lambda: n_events(hospital.own, "connected") > before  # noqa: E731
    eventually(again, "connected again", 180)


def test_another_server_with_the_address_is_not_believed(centre, manifest, tmp_path):
    own = join(centre.kit, "h2", manifest, tmp_path / "h2").hospital
    own.ca.write_bytes(pem(authority("somebody else")[1]))
    program = start_client(own)

    try:
        eventually(says(own, "is not the centre of this kit"), "the words")
    finally:
        end(program)

    assert n_events(own, "connected") == 0


def test_a_revoked_key_is_told_in_words(hospital, centre, control):
    control.UnregisterNode(UnregisterNodeRequest(node_id=centre.node_id))

    eventually(says(hospital.own, "hospital's key was revoked"), "the words")


def test_its_own_death_leaves_nothing_running(hospital):
    node = eventually(lambda: the_node(hospital.program), "a node runs")
    below = [node, *node.children(recursive=True)]

    hospital.program.kill()
    hospital.program.wait()

    eventually(lambda: not any(map(is_alive, below)), "all is gone")
    assert "not running" in standing(read_hospital(hospital.folder))


def is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
