"""A real centre through its command line: hospitals, studies, who is refused.

The hospitals here are Flower's own SuperNodes; thyroid-client has tests of its own.
"""

import json
import shutil
import signal
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from thyroid_fl.server.centre.registry import names_by_node, read_registry

pytestmark = pytest.mark.slow

PATIENT = """\
image_px = 64
rounds = 1
min_hospitals = 9
split = "patient"
wait_s = 600
threads = 1
device = "cpu"
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Return a function that makes a pair of keys; gives the private one's path."""
    folder = tmp_path_factory.mktemp("keys")

    def make(name: str) -> Path:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "",
             "-f", folder / name],
            check=True,
        )  # fmt: skip
        return folder / name

    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed on this machine")
    return make


@pytest.fixture(scope="module")
def waiting(centre):
    """The path of a study that waits for more hospitals than there are."""
    path = centre.folder.parent / "waiting.toml"
    path.write_text(PATIENT)
    return path


def supernode(centre, port, name, key, manifest):
    """Return Flower's own client, as a block."""
    return centre.start_program(
        name, "flower-supernode",
        "--superlink", centre.centre.address,
        "--root-certificates", centre.kit / "ca.crt",
        "--auth-supernode-private-key", key,
        "--host", "127.0.0.1", "--port", port,
        "--node-config", f'manifest="{manifest}" hospital="{name}"',
        FLWR_HOME=str(manifest.parent / "flwr"),
    )  # fmt: skip


def test_hospitals_are_admitted_shown_and_revoked(centre, keys):
    key = keys("east")

    admitted = centre.done("admit", "east", f"{key}.pub")

    fingerprint = read_registry(centre.centre.hospitals)[0].fingerprint
    assert fingerprint in admitted
    row = next(r for r in centre.done("hospitals").splitlines() if "east" in r)
    assert "never connected" in row
    assert fingerprint in row
    again = centre.call("admit", "west", f"{key}.pub")
    assert again.returncode == 2
    assert "already admitted, as east" in again.stderr
    private = centre.call("admit", "west", key)
    assert private.returncode == 2
    assert "private key" in private.stderr

    centre.done("revoke", "east")

    row = next(r for r in centre.done("hospitals").splitlines() if "east" in r)
    assert "revoked" in row
    assert centre.call("revoke", "east").returncode == 2


def test_revoked_hospital_comes_back_with_a_new_key_as_a_new_node(centre, keys):
    old, new = keys("back"), keys("back-again")
    centre.done("admit", "back", f"{old}.pub")
    centre.done("revoke", "back")

    refused = centre.call("admit", "back", f"{old}.pub")
    centre.done("admit", "back", f"{new}.pub")

    assert refused.returncode == 2
    assert "was revoked" in refused.stderr
    names = names_by_node(centre.centre.hospitals)
    assert len([node for node, name in names.items() if name == "back"]) == 2
    centre.done("revoke", "back")


def test_study_without_hospitals_fails_and_says_why(centre):
    done = centre.call("run", "--name", "lonely")

    why = "0 hospitals were connected after 3 s, min_hospitals is 2"
    assert done.returncode == 1, done.stderr
    assert f"lonely: failed, round 0 of 1: {why}" in done.stdout
    assert "thyroid-server resume lonely" in done.stdout
    assert "Traceback" not in done.stdout
    assert f"RoundError: {why}" in centre.done("logs", "lonely")
    assert f"lonely: failed, round 0 of 1: {why}" in centre.done("status")


def test_study_is_stopped_and_resumed(centre, waiting):
    centre.done("run", waiting, "--no-follow")
    centre.wait_for_status("waiting: running")

    twice = centre.call("resume", "waiting", "--no-follow")
    assert twice.returncode == 2
    assert "runs already" in twice.stderr
    centre.done("stop", "waiting")
    assert "waiting: stopped" in centre.done("status")
    assert centre.call("stop", "waiting").returncode == 2
    other = centre.call("run", "--name", "waiting", "--no-follow")
    assert other.returncode == 2
    assert "exists with another study" in other.stderr

    centre.done("resume", "waiting", "--no-follow")

    centre.wait_for_status("waiting: running")
    centre.done("stop", "waiting")
    kept = json.loads((centre.centre.run("waiting") / "run.json").read_text())
    assert len(set(kept["run_ids"])) == 2


def test_following_ends_with_ctrl_c_and_the_study_goes_on(centre, waiting, wait):
    command = ("thyroid-server", "run", waiting, "--name", "watched")
    with centre.start_program(
        "watched", *command, "--centre", centre.folder, PYTHONUNBUFFERED="1"
    ) as window:
        wait(lambda: "of 9 hospitals connected" in centre.log_of("watched"))

        window.send_signal(signal.SIGINT)

        assert window.wait(30) == 0
    assert "watched goes on without this window" in centre.log_of("watched")
    assert "watched: running" in centre.done("status")
    centre.done("stop", "watched")


def test_study_survives_a_killed_superlink(centre, waiting, wait):
    centre.done("run", waiting, "--name", "survivor", "--no-follow")
    centre.wait_for_status("survivor: running")
    wait(lambda: "of 9 hospitals connected" in centre.done("logs", "survivor"))
    superlink = next(
        child
        for child in psutil.Process(centre.process.pid).children()
        if "flower-superlink" in " ".join(child.cmdline())
    )

    superlink.kill()

    wait(lambda: not superlink.is_running())
    centre.wait_for_status("the centre runs")
    before = centre.done("logs", "survivor").count("connected")
    wait(lambda: centre.done("logs", "survivor").count("connected") > before)
    assert "survivor: running" in centre.done("status")
    centre.done("stop", "survivor")


def test_two_hospitals_train_and_tell_summaries(
    centre, keys, port_of, make_hospital, tmp_path
):
    with ExitStack() as stack:
        for name in ("north", "south"):
            key, manifest = keys(name), make_hospital(tmp_path / name, name)
            centre.done("admit", name, f"{key}.pub")
            stack.enter_context(supernode(centre, port_of(), name, key, manifest))
        for name in ("north", "south"):
            centre.wait_for_hospital(name, "online")

        trained = centre.call("run", "--name", "first")
        asked = centre.call("run", "--ask", "summary")

    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "first: finished, round 1 of 1" in trained.stdout
    assert (centre.centre.run("first") / "model.safetensors").stat().st_size > 1000
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert any(centre.centre.run("study-summary").rglob("*.csv"))


def test_nobody_is_served_without_a_signature(centre):
    """Every path of the SuperLink, as its own description lists them."""
    if centre.centre.is_direct:
        pytest.skip("nginx is not installed on this machine")
    trusted = ssl.create_default_context(cafile=str(centre.kit / "ca.crt"))
    protobuf = {"content-type": "application/protobuf"}
    with httpx.Client(verify=trusted, headers=protobuf) as client:
        inside = f"https://{centre.centre.superlink}"
        paths = set(client.get(f"{inside}/openapi.json").json()["paths"])
        paths |= {"/", "/docs", "/redoc", "/openapi.json", "/health", "/v1/fleet"}
        outside = f"https://{centre.centre.address}"
        said = {
            (method, path): client.request(method, outside + path).status_code
            for path in paths
            for method in ("GET", "POST")
        }

    fleet = {key: code for key, code in said.items() if key[1].startswith("/v1/fleet/")}
    published = {key: code for key, code in fleet.items() if key[0] == "POST"}
    assert len(published) > 5
    assert set(published.values()) <= {401, 412}, published
    assert {code for key, code in said.items() if key not in published} == {403}
    assert {"/v1/control/start-run", "/v1/runtime/acquire-task"} <= paths
