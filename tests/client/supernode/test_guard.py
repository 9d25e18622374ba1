"""The check of bundles inside Flower's own SuperNode: for every message, on one path.

Flower's real state and its real function that takes a message; only the line to the
centre is played, by functions that return what a centre could send.
"""

import hashlib
import importlib
import io
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace

import httpx
import pytest
from flwr.app import Message, RecordDict
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
)
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.nodestate import NodeStateFactory

from thyroid_fl.client.audit import read_log
from thyroid_fl.client.supernode.contact import read_contact
from thyroid_fl.client.supernode.flower import guard, stay_at_the_centre

NODE_ID = 7
PROJECT = """
[project]
name = "thyroid-fl"
version = "0.1.0"
[tool.flwr.app]
publisher = "thyroidfl"
[tool.flwr.app.components]
serverapp = "thyroid_fl.server.app:app"
clientapp = "thyroid_fl.client.app:app"
[tool.flwr.app.config]
study = ""
"""


def bundle(**more):
    buffer = io.BytesIO()
    digest = hashlib.sha256(PROJECT.encode()).hexdigest()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("pyproject.toml", PROJECT)
        made.writestr(".info/CONTENT", f"pyproject.toml,{digest},8\n")
        for name, text in more.items():
            made.writestr(f"{name}.py", text)
    return buffer.getvalue()


THIN, FAT = bundle(), bundle(evil="import os\n")


def run_of(run_id, content, **changes):
    run = Run.create_empty(run_id)
    run.fab_id, run.fab_version = "thyroidfl/thyroid-fl", "0.1.0"
    run.fab_hash = hashlib.sha256(content).hexdigest()
    for name, value in changes.items():
        setattr(run, name, value)
    return run


@pytest.fixture
def node(hospital):
    """Yield a SuperNode's inside: `take(run, content)` returns (task made, error)."""
    # A module of its own, so that what the guard replaces stays here.
    spec = importlib.util.find_spec("flwr.supernode.start_client_internal")
    flower = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flower)
    sent = SimpleNamespace(run=None, content=b"", message=None, n_fetched=0)

    def receive():
        return sent.message, get_object_tree(sent.message)

    def get_fab(fab_hash, run_id):
        sent.n_fetched += 1
        return Fab(fab_hash, sent.content, {"valid_license": "", "hospital": ""})

    @contextmanager
    def connect(**_):
        def pull(run_id, object_id):
            return objects[object_id]

        yield NODE_ID, receive, None, lambda _: sent.run, get_fab, pull, None, done

    objects = {}

    def done(run_id, object_id):
        pass

    flower._init_connection = connect
    guard(flower, hospital)
    state = NodeStateFactory(ObjectStoreFactory()).state()
    state.set_node_id(NODE_ID)
    store = ObjectStoreFactory().store()

    def take(run, content, run_id=None):
        sent.run, sent.content = run, content
        sent.message = message_of(run_id or run.run_id)
        for object_id, one in get_all_nested_objects(sent.message).items():
            objects[object_id] = one.deflate()
        with flower._init_connection() as connection:
            _, receive, _, get_run, get_fab, pull, _, confirm = connection
            flower._pull_and_store_message(
                state=state,
                object_store=store,
                node_config={},
                receive=receive,
                get_run=get_run,
                get_fab=get_fab,
                pull_object=pull,
                confirm_message_received=confirm,
                trusted_entities={"hospital": ""},
            )
        replies = state.get_messages_legacy(is_reply=True)
        error = replies[0].error.reason if replies else None
        state.delete_messages(message_ids=[r.metadata.message_id for r in replies])
        return state.get_run(run.run_id) is not None, error

    return SimpleNamespace(take=take, sent=sent, state=state)


def message_of(run_id):
    message = Message(RecordDict(), dst_node_id=NODE_ID, message_type="train")
    message.metadata.__dict__["_run_id"] = run_id
    message.metadata.__dict__["_src_node_id"] = 1
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


@pytest.fixture(autouse=True)
def _sender(monkeypatch):
    """Say who makes messages: Flower's own processes do it at their start."""
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def test_a_bundle_of_settings_is_taken(node, hospital):
    taken, error = node.take(run_of(1, THIN), THIN)

    assert (taken, error) == (True, None)
    assert [e["event"] for e in read_log(hospital.audit)] == ["connected"]
    assert read_contact(hospital.contact).is_working


def test_code_is_refused_with_words_and_audited(node, hospital):
    taken, error = node.take(run_of(1, FAT), FAT)

    assert not taken
    assert error.startswith("the bundle holds 'evil.py'")
    assert read_log(hospital.audit)[-1]["reason"] == error
    assert node.state.get_fab(run_of(1, FAT).fab_hash) is None


def test_every_message_of_a_refused_run_is_refused(node):
    answers = [node.take(run_of(1, FAT), FAT) for _ in range(3)]

    assert [taken for taken, _ in answers] == [False] * 3
    assert len({error for _, error in answers}) == 1


def test_a_known_run_keeps_the_bundle_that_was_accepted(node):
    node.take(run_of(1, THIN), THIN)

    node.take(run_of(1, FAT), FAT)  # the centre changes its mind about run 1

    assert node.sent.n_fetched == 1
    assert node.state.get_fab(node.state.get_run(1).fab_hash).content == THIN


def test_another_bundle_than_the_run_names_is_refused(node):
    taken, error = node.take(run_of(1, THIN), FAT)

    assert not taken
    assert "another one than its run names" in error


REFUSED_RUNS = {
    "agent": ({"primary_task_type": "flwr-agentapp"}, "led by 'flwr-agentapp'"),
    "folder upwards": ({"fab_version": "0.1.0/../../x"}, "another app or version"),
    "other app": ({"fab_id": "x/y"}, "another app or version"),
}


@pytest.mark.parametrize("kind", REFUSED_RUNS)
def test_a_run_that_would_lead_elsewhere_is_refused(node, kind):
    changes, words = REFUSED_RUNS[kind]

    taken, error = node.take(run_of(1, THIN, **changes), THIN)

    assert not taken
    assert words in error


def test_a_run_under_another_number_is_refused(node):
    taken, error = node.take(run_of(2, THIN), THIN, run_id=1)

    assert not taken
    assert "another run" in error


def test_a_redirect_of_the_centre_is_not_followed():
    asked = []

    class Anywhere(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{port}/inside")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Client(FleetHttpClient):
        pass

    stay_at_the_centre(Client)
    with HTTPServer(("127.0.0.1", 0), Anywhere) as server:
        port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        with (
            Client.from_server_address(
                f"127.0.0.1:{port}", True, None, interceptors=[]
            ) as client,
            pytest.raises(httpx.HTTPStatusError, match="Redirect response"),
        ):
            client.PullMessages(PullMessagesRequest())
        server.shutdown()

    assert len(asked) == 1
