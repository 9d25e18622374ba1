"""Attacks on a federation that runs, each refused, or said to be what it is.

| attack | shown by |
|---|---|
| an unregistered key | `test_hospital.test_an_unknown_key_is_told_in_words`; at the Fleet API itself `test_stranger_is_refused` |
| a server with another CA | `test_hospital.test_another_server_with_the_address_is_not_believed` |
| a bundle with code, another app | `test_hospital.test_a_bundle_with_code_is_refused_and_no_code_runs`, `test_another_app_than_the_installed_one_is_refused`; each way of hiding it `tests/client/supernode/test_bundle.py` |
| no signature, at every published path | `test_centre.test_nobody_is_served_without_a_signature` |
| plain HTTP | `test_plain_http_is_not_served`, `test_hospital_says_nothing_to_a_server_without_tls` |
| settings beyond the policy | `test_settings_beyond_the_policy_are_refused`; rounds beyond the study's own `tests/client/test_client_app.py` |
| an old reply, from the hospital itself | `test_old_reply_is_stale_and_not_in_the_model` |
| an old reply, pushed again | `test_replies_that_are_pushed_again_change_nothing` |
| an old request, expired | `test_expired_signature_is_refused` |
| another hospital's work | `test_hospital_cannot_fetch_anothers_work` |
| a copy of a hospital's key | `test_copied_key_is_refused_while_the_hospital_is_connected`, `test_copied_key_that_skips_the_login_gets_the_work` |
| a key after its revocation | `test_revoked_key_is_refused_for_good_and_the_others_go_on` |

What is *not* detected: a hospital that sends an old or invented model as its answer to
the present request, with a norm as it should be (`north` below); and a copy of a key in
the hands of somebody who speaks Flower's protocol himself. A node's signature is over
the time only: it holds for any request of the node for five minutes, and TLS alone
keeps others from reading it.
"""  # noqa: E501 - a table

import json
import os
import pickle
import shutil
import signal
import socketserver
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Error, Message
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.interceptors.http import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supernode import node_auth_http_interceptor as signing
from flwr.supernode.fleet_http_client import FleetHttpClient
from safetensors.numpy import load_file

from thyroid_fl.client.supernode.folder import read_key
from thyroid_fl.packing import unpack
from thyroid_fl.server.centre.registry import names_by_node
from thyroid_fl.settings import study_from
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import model_shapes

pytestmark = pytest.mark.slow

STUDY = """\
image_px = 64
split = "manifest"
rounds = 2
local_epochs = 1
device = "cpu"
threads = 1
min_hospitals = 2
wait_s = 30
round_deadline_s = 120
"""
GREEDY = (
    STUDY.replace("rounds = 2", "rounds = 50")
    .replace("local_epochs = 1", "local_epochs = 9")
    .replace("min_hospitals = 2", "min_hospitals = 1")
    + 'task = "segmentation"\n'
)
HABITS = {"east": "", "west": "stale", "north": "forged"}
"""The hospitals, and how they answer after the first round."""
ROGUE = """
# In a hospital's own processes: keeps what leaves, and answers as its habit is.
import os, pickle, sys
from pathlib import Path

folder, habit = Path(__file__).parent, os.environ["THYROID_TEST_HABIT"]
program = " ".join(sys.orig_argv)

def keep(name, thing):
    with (folder / name).open("ab") as file:
        file.write(pickle.dumps(thing))

if "supernode.node" in program:
    import httpx
    send = httpx.Client.send

    def kept(self, request, **more):
        keep("sent", (str(request.url), dict(request.headers), request.content))
        return send(self, request, **more)

    httpx.Client.send = kept

def corrupt():
    from flwr.app import Message
    from thyroid_fl.client import answering
    honest = answering.answering

    def rogue(handler):
        answer = honest(handler)

        def answered(message, context):
            reply = answer(message, context)
            if message.metadata.message_type != "train":
                return reply
            first = folder / "first"
            if habit and first.exists():
                content = pickle.loads(first.read_bytes())
                if habit == "forged":
                    content["request"] = message.content["request"]
                reply = Message(content, reply_to=message)
            else:
                first.write_bytes(pickle.dumps(reply.content))
            n = reply.content["metrics"]["num-examples"]
            keep("models", (n, reply.content["arrays"]["model"].data))
            return reply

        return answered

    answering.answering = rogue

class BeforeTheApp:
    def find_spec(self, name, path=None, target=None):
        if name == "thyroid_fl.client.app":
            corrupt()

if "flwr-clientapp" in program:
    sys.meta_path.insert(0, BeforeTheApp())
"""


@pytest.fixture(scope="module")
def federation(start_centre, tmp_path_factory):
    """A centre and three hospitals: one honest, two with habits."""
    folder = tmp_path_factory.mktemp("attacks")
    has_nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin") is not None
    with ExitStack() as stack:
        enter = stack.enter_context
        centre = enter(start_centre(folder / "all", STUDY, front=has_nginx))
        hospitals, traces = {}, {}
        for name, habit in HABITS.items():
            traces[name] = folder / f"trace-{name}"
            traces[name].mkdir()
            (traces[name] / "sitecustomize.py").write_text(ROGUE)
            paths = [str(traces[name]), os.environ.get("PYTHONPATH", "")]
            hospitals[name] = enter(
                centre.join(
                    name,
                    PYTHONPATH=os.pathsep.join(filter(None, paths)),
                    THYROID_TEST_HABIT=habit,
                )
            )
        yield SimpleNamespace(centre=centre, folder=folder, traces=traces, **hospitals)


@pytest.fixture(scope="module")
def node_of(federation):
    """Return a hospital's node, as Flower's messages name it."""

    def node(name):
        names = names_by_node(federation.centre.centre.hospitals)
        (number,) = (node for node, known in names.items() if known == name)
        return Node(node_id=number)

    return node


@pytest.fixture(scope="module")
def fleet(federation):
    """Return Flower's client for the Fleet API with somebody's key, as a block."""
    one = federation.centre

    def connected(key, *, with_tls=True):
        return FleetHttpClient.from_server_address(
            one.centre.address,
            not with_tls,
            (one.kit / "ca.crt").read_bytes() if with_tls else None,
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperNode"),
                signing.NodeAuthHttpInterceptor(key, key.public_key()),
            ],
        )

    return connected


@pytest.fixture(scope="module")
def again(federation):
    """Return a function that sends captured requests again, and gives the answers."""
    trust = ssl.create_default_context(cafile=str(federation.centre.kit / "ca.crt"))

    def send(requests):
        with httpx.Client(verify=trust, timeout=60) as client:
            return [
                client.post(url, headers=headers, content=content).status_code
                for url, headers, content in requests
            ]

    return send


@pytest.fixture(scope="module")
def replayed(federation, again, wait):
    """A study of two rounds, in whose second the replies of the first came again."""
    centre, run = federation.centre, federation.centre.centre.run("replayed")
    sent = federation.traces["east"] / "sent"
    n_earlier = len(replies_in(sent))  # of other studies
    with ThreadPoolExecutor() as pool:
        running = pool.submit(centre.call, "run", "--name", "replayed")
        wait(lambda: running.done() or (run / "participation.csv").exists())
        old = replies_in(sent)[n_earlier:]
        codes = again(old)
        done = running.result()
    assert done.returncode == 0, done.stdout + done.stderr
    return SimpleNamespace(run=run, old=old, codes=codes, said=done.stdout)


def pickled(path):
    """Return what was kept in a file so far."""
    things = []
    with path.open("rb") as file:
        while True:
            try:
                things.append(pickle.load(file))
            except (EOFError, pickle.UnpicklingError):
                return things


def replies_in(path):
    """Return the captured requests that bring replies to the centre."""
    return [one for one in pickled(path) if "/v1/fleet/push-" in one[0]]


def code_of(call, request):
    """Return with which status a call is refused; fail if it is not."""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        call(request)
    return refused.value.response.status_code


def copy_of(site, folder, **changes):
    """Return a copy of a hospital's folder as a thief has it, with other settings."""
    shutil.copytree(site, folder)
    for inside in ("state", "logs"):
        shutil.rmtree(folder / inside)
        (folder / inside).mkdir()
    settings = (folder / "hospital.toml").read_text().splitlines()
    for name, value in changes.items():
        settings = [
            f"{name} = {json.dumps(value)}" if line.startswith(f"{name} =") else line
            for line in settings
        ]
    (folder / "hospital.toml").write_text("\n".join(settings) + "\n")
    return folder


def the_node(hospital):
    """Return the process of a hospital's SuperNode."""
    return next(
        child
        for child in psutil.Process(hospital.process.pid).children(recursive=True)
        if "thyroid_fl.client.supernode.node" in child.cmdline()
    )


def test_plain_http_is_not_served(federation, fleet, node_of):
    key = read_key(federation.east.site / "hospital.key")
    url = f"http://{federation.centre.centre.address}/v1/fleet/pull-messages"

    try:  # nginx says what is wrong; the SuperLink hangs up
        code = httpx.post(url, content=b"").status_code
    except httpx.TransportError:
        code = 400
    with (
        fleet(key, with_tls=False) as client,
        pytest.raises(httpx.HTTPError),
    ):
        client.PullMessages(PullMessagesRequest(node=node_of("east")))

    assert code == 400


def test_hospital_says_nothing_to_a_server_without_tls(federation, wait, tmp_path):
    heard = []

    class Plain(socketserver.BaseRequestHandler):
        def handle(self):
            heard.append(self.request.recv(1 << 16))
            self.request.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Plain) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        site = copy_of(
            federation.east.site,
            tmp_path / "site",
            address=f"127.0.0.1:{server.server_address[1]}",
        )
        with federation.centre.start_program(
            "plain", "thyroid-client", "run", "--site", site
        ):
            wait(lambda: "does not speak TLS" in federation.centre.log_of("plain"))
        server.shutdown()

    assert heard
    hello = b"\x16\x03"  # the start of a TLS handshake
    assert {said[:2] for said in heard} == {hello}
    assert not any(b"fleet" in said for said in heard)


def test_stranger_is_refused(fleet, node_of):
    key = ec.generate_private_key(ec.SECP384R1())
    own = public_key_to_bytes(key.public_key())

    with fleet(key) as client:
        login = ActivateNodeRequest(public_key=own, heartbeat_interval=30)
        codes = [
            code_of(client.ActivateNode, login),
            code_of(client.PullMessages, PullMessagesRequest(node=node_of("east"))),
        ]

    assert all(400 <= code < 500 for code in codes), codes


def test_hospital_cannot_fetch_anothers_work(federation, fleet, node_of):
    key = read_key(federation.north.site / "hospital.key")

    with fleet(key) as client:
        request = PullMessagesRequest(node=node_of("east"))
        code = code_of(client.PullMessages, request)

    assert code == 401


def test_expired_signature_is_refused(federation, fleet, node_of, monkeypatch):
    """Whoever captured a request can use its signature for five minutes, not for six.

    Five minutes of Flower's, and five seconds for clocks that differ.
    """
    key = read_key(federation.east.site / "hospital.key")
    monkeypatch.setattr(signing, "now", lambda: now() - timedelta(minutes=5, seconds=6))

    with fleet(key) as client:
        request = PullMessagesRequest(node=node_of("east"))
        code = code_of(client.PullMessages, request)

    assert code == 401


def test_settings_beyond_the_policy_are_refused(federation):
    path = federation.folder / "greedy.toml"
    path.write_text(GREEDY)

    done = federation.centre.call("run", path, "--name", "greedy")

    assert done.returncode == 1, done.stdout + done.stderr
    limits = (
        "task is segmentation; this hospital allows classification",
        "rounds is 50; this hospital allows at most 2",
        "local_epochs is 9; this hospital allows at most 1",
        "min_hospitals is 1; this hospital asks for at least 2",
    )
    for hospital in (federation.east, federation.west, federation.north):
        (event,) = hospital.events("refused")
        for words in limits:
            assert words in done.stdout
            assert words in event["reason"]
        assert event["task"] == "segmentation"
        assert hospital.events("answered") == []
    assert "greedy: failed, round 0 of 50" in done.stdout
    assert not (federation.centre.centre.run("greedy") / "model.safetensors").exists()


def test_old_reply_is_stale_and_not_in_the_model(federation, replayed):
    """Two hospitals answer round 2 with their model of round 1.

    `west` sends its old reply as it was: it repeats the request of round 1, so it is
    named and not used. `north` writes the request of round 2 over it: that is its
    answer, and it is used. Nobody but `north` can know how a model was trained.
    """
    rounds = pd.read_csv(replayed.run / "participation.csv").set_index(
        ["round", "hospital"]
    )

    outcomes = {key: row["outcome"] for key, row in rounds.iterrows()}
    used = {(1, "east"), (1, "west"), (1, "north"), (2, "east"), (2, "north")}
    assert {key for key, outcome in outcomes.items() if outcome == "used"} == used
    assert outcomes[2, "west"] == "failed"
    reason = "stale: it answers another request than the one that was sent"
    assert rounds.loc[(2, "west"), "reason"].startswith(reason)
    assert f"west: {reason}" in replayed.said


def test_replies_that_are_pushed_again_change_nothing(federation, replayed, again):
    """The replies of a hospital, as they went over the line, come twice more.

    While the study runs Flower takes them for repetitions (200), and keeps nothing of
    them; after its end they are refused. The model is the mean of what the
    hospitals answered in round 2, once each.
    """
    after = again(replayed.old)

    assert any("push-messages" in url for url, _, _ in replayed.old)
    assert any("push-object" in url for url, _, _ in replayed.old)
    assert set(replayed.codes) == {200}
    assert set(after) == {403}
    study = study_from(str(federation.folder / "all/study.toml"))
    shapes = model_shapes(build_model(study))
    last = [pickled(federation.traces[n] / "models")[-1] for n in ("east", "north")]
    models = [unpack(content, "fp32", shapes) for _, content in last]
    weights = [n for n, _ in last]
    found = load_file(replayed.run / "checkpoint/model-0002.safetensors")
    assert len(pickled(federation.traces["east"] / "models")) == 2
    for name, array in found.items():
        mean = np.average([m[name] for m in models], axis=0, weights=weights)
        np.testing.assert_allclose(array, mean, rtol=1e-6, atol=1e-8)


def test_copied_key_is_refused_while_the_hospital_is_connected(
    federation, wait, tmp_path
):
    thief = copy_of(federation.east.site, tmp_path / "site")
    centre = federation.centre

    with centre.start_program("thief", "thyroid-client", "run", "--site", thief):
        wait(lambda: "is connected with a copy of the key" in centre.log_of("thief"))

    assert "connected since" in federation.east.status()
    assert len(federation.east.events("connected")) == 1


def test_copied_key_that_skips_the_login_gets_the_work(
    federation, fleet, node_of, wait
):
    """Not detected: a request is given to whoever asks first with the key.

    The hospital sees nothing, and its audit log has no entry for it: comparing that
    with the centre's figures is the only sign. The answer to a lost key is to revoke
    it, and that ends it, see below. (The hospital is halted here, so that it does not
    ask first by chance.)
    """
    key = read_key(federation.east.site / "hospital.key")
    centre, honest, n = federation.centre, the_node(federation.east), []
    n_before = len(federation.east.events("answered"))
    honest.send_signal(signal.SIGSTOP)

    try:
        with ThreadPoolExecutor() as pool, fleet(key) as client:
            running = pool.submit(centre.call, "run", "--ask", "summary")
            asked = PullMessagesRequest(node=node_of("east"))
            wait(
                lambda: (
                    running.done()
                    or n.extend(client.PullMessages(asked).messages_list)
                    or n
                )
            )
            reply = Message(Error(0, "not by east"), reply_to=message_from_proto(n[0]))
            reply.metadata.__dict__["_message_id"] = reply.object_id
            pushed = client.PushMessages(
                PushMessagesRequest(
                    node=node_of("east"),
                    messages_list=[message_to_proto(reply)],
                    message_object_trees=[get_object_tree(reply)],
                )
            )
            client.PushObject(
                PushObjectRequest(
                    node=node_of("east"),
                    run_id=reply.metadata.run_id,
                    session_id=pushed.session_id,
                    object_id=reply.object_id,
                    object_content=reply.deflate(),
                )
            )
            done = running.result()
    finally:
        honest.send_signal(signal.SIGCONT)

    assert "east: not by east" in done.stdout, done.stdout + done.stderr
    assert len(federation.east.events("answered")) == n_before


def test_revoked_key_is_refused_for_good_and_the_others_go_on(
    federation, fleet, node_of, wait
):
    key = read_key(federation.east.site / "hospital.key")
    centre, node = federation.centre, node_of("east")
    own = public_key_to_bytes(key.public_key())

    centre.done("revoke", "east")

    wait(lambda: "hospital's key was revoked" in federation.east.status())
    with fleet(key) as client:
        login = ActivateNodeRequest(public_key=own, heartbeat_interval=30)
        assert 400 <= code_of(client.ActivateNode, login) < 500
        assert code_of(client.PullMessages, PullMessagesRequest(node=node)) == 401
    admitted = centre.call("admit", "east", federation.east.site / "hospital.key.pub")
    assert admitted.returncode == 2
    assert "was revoked" in admitted.stderr
    n_connected = len(federation.east.events("connected"))
    asked = centre.call("run", "--ask", "summary", "--name", "after")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert len(federation.east.events("connected")) == n_connected
    for other in (federation.west, federation.north):
        assert other.events("answered")[-1]["asked"] == "query.summary"
