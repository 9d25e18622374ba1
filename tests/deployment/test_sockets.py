"""A hospital talks to the centre and to nobody else, through a whole study.

Two ways of looking, at every process from its first instruction on:
    strace: what the kernel is asked for, so also by libraries that are not Python's.
        Debian's package strace; where it is absent only the second way is left.
    an audit hook of Python (sys.addaudithook) in each Python process, which also shows
        names that are looked up.

Both were seen to report a connection elsewhere (`test_both_ways_see_a_call_home`).
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from thyroid_fl.client.cli import main

STUDY = """\
image_px = 64
split = "manifest"
rounds = 1
local_epochs = 1
device = "cpu"
threads = 1
min_hospitals = 2
wait_s = 30
round_deadline_s = 180
"""
CALLS = "connect,sendto,sendmsg,sendmmsg"
STRACE = ("strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}")
"""sendto, sendmsg: a datagram needs no connect."""
CALL = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(.*?\{sa_family=(AF_\w+)(.*)")
PLACE = re.compile(
    r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"'
)
LOCAL = {"AF_UNIX", "AF_NETLINK", "AF_UNSPEC"}
"""Within the machine: nscd (who is this user?), the kernel (which addresses has this
machine?), and the undoing of a connect."""
HOOK = """
import os, sys

file = os.open(os.environ["THYROID_TEST_SOCKETS"], os.O_WRONLY | os.O_APPEND)

def told(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = arguments[1]
        if isinstance(where, tuple):
            os.write(file, f"{where[0]}:{where[1]}\\n".encode())
    elif event == "socket.getaddrinfo":
        os.write(file, f"{arguments[0]}:{arguments[1]}\\n".encode())
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        os.write(file, f"{arguments[0]}:53\\n".encode())

sys.addaudithook(told)
"""
CALL_HOME = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.2", 9))
"""


def is_traceable():
    """Return whether strace is there and this machine lets it look."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run([*STRACE, "true"], capture_output=True).returncode == 0


def traced(file):
    """Return the command that notes what a program asks the kernel for, if any can."""
    return (*STRACE, "-o", file) if is_traceable() else ()


def hooked(folder):
    """Return the environment in which each Python process tells of its sockets."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    (folder / "told").touch()
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "THYROID_TEST_SOCKETS": str(folder / "told"),
    }


def seen_by_strace(file):
    """Return the places that were connected or sent to; fail on an unknown kind."""
    places = set()
    for line in file.read_text(errors="replace").splitlines():
        if (call := CALL.search(line)) and call[2] not in LOCAL:
            place = PLACE.search(call[3])
            assert place, line
            places.add(f"{place[2]}:{place[1]}")
    return places


def seen_by_hook(folder):
    return set((folder / "told").read_text().split())


class Listening(threading.Thread):
    """Notes on which ports a program and all that it starts listens."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.root, self.places = psutil.Process(process.pid), set()
        self.is_over = threading.Event()

    def run(self):
        while not self.is_over.is_set():
            self.look()
            time.sleep(0.5)

    def look(self):
        try:
            for one in [self.root, *self.root.children(recursive=True)]:
                for socket in one.net_connections("inet"):
                    if socket.status == psutil.CONN_LISTEN:
                        self.places.add(f"{socket.laddr.ip}:{socket.laddr.port}")
        except psutil.Error:  # it ended meanwhile
            pass


@pytest.fixture(scope="module")
def study(start_centre, tmp_path_factory):
    """A study of two hospitals from start to end, and all that was seen."""
    folder = tmp_path_factory.mktemp("sockets")
    seen = SimpleNamespace(folder=folder, done=None)
    with start_centre(
        folder / "all", STUDY, front=False, before=traced(folder / "centre.strace")
    ) as centre:
        seen.address = centre.centre.address
        west = hooked(folder / "west")
        with (
            centre.join("east", *traced(folder / "east.strace")) as east,
            centre.join("west", **west) as west,
        ):
            listening = [Listening(one.process) for one in (east, west)]
            for one in listening:
                one.start()
            seen.done = centre.call("run", "--name", "watched")
            for one in listening:
                one.is_over.set()
                one.join()
            seen.answered = [e["asked"] for e in east.events("answered")]
            names = (east.name, west.name)
            seen.own = dict(zip(names, (o.places for o in listening), strict=True))
    assert seen.done.returncode == 0, seen.done.stdout + seen.done.stderr
    return seen


def skip_without_strace():
    if not is_traceable():
        pytest.skip("strace is not installed on this machine, or may not look")


@pytest.mark.slow
def test_study_had_all_that_a_hospital_does(study):
    assert set(study.answered) == {"train", "evaluate", "evaluate.test"}


@pytest.mark.slow
def test_hospital_connects_to_the_centre_only(study):
    skip_without_strace()

    places = seen_by_strace(study.folder / "east.strace")

    own = study.own["east"]
    assert study.address in places
    assert places - {study.address} == own  # its apps ask its SuperNode for work
    assert len(own) == 1
    assert next(iter(own)).startswith("127.0.0.1:")


@pytest.mark.slow
def test_hospital_looks_up_no_name_and_connects_to_the_centre_only(study):
    places = seen_by_hook(study.folder / "west")

    assert study.address in places
    assert places - {study.address} == study.own["west"]


@pytest.mark.slow
def test_centre_connects_to_nobody(study):
    skip_without_strace()

    places = seen_by_strace(study.folder / "centre.strace")

    assert places == {study.address}  # its programs ask its own SuperLink


def test_both_ways_see_a_call_home(tmp_path):
    environment = os.environ | hooked(tmp_path / "hook")
    command = [sys.executable, "-c", CALL_HOME]

    subprocess.run([*traced(tmp_path / "strace"), *command], env=environment)

    far = {"192.0.2.1:9", "192.0.2.2:9"}
    assert seen_by_hook(tmp_path / "hook") == far
    if is_traceable():
        assert seen_by_strace(tmp_path / "strace") == far


@pytest.fixture(scope="module")
def events():
    """A list of this process's audit events of sockets, while it is not None."""
    watched = SimpleNamespace(events=None)

    def note(event, arguments):
        if watched.events is not None and event.startswith("socket."):
            watched.events.append(event)

    sys.addaudithook(note)  # for the life of the process
    return watched


def test_import_and_check_open_no_socket(events, make_hospital, tmp_path):
    manifest = make_hospital(tmp_path / "data", "H1")
    events.events = []

    checked = CliRunner().invoke(main, ["check", str(manifest)])
    imported = CliRunner().invoke(
        main, ["import", "folder", str(manifest.parent), str(tmp_path / "new")]
    )

    seen, events.events = events.events, None
    assert checked.exit_code in (0, 1), checked.output
    assert imported.exit_code == 0, imported.output
    assert seen == []
