"""A real centre for the tests: the command line, a SuperLink, nginx, on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image

from thyroid_fl.client.audit import read_log
from thyroid_fl.manifest import write_manifest
from thyroid_fl.server.centre.folder import Centre, open_centre
from thyroid_fl.supervision import _end_with_parent

PROGRAMS = Path(sys.executable).parent
SOON_S = 180.0
QUICK_STUDY = """\
image_px = 64
split = "manifest"
rounds = 1
local_epochs = 1
device = "cpu"
threads = 1
min_hospitals = 2
wait_s = 3
round_deadline_s = 120
"""
"""Two hospitals, one round, seconds of training; little patience."""


@dataclass(frozen=True, kw_only=True)
class RunningCentre:
    """A centre that runs, and how to speak to it."""

    centre: Centre
    process: subprocess.Popen[bytes]
    """``thyroid-server start``."""

    @property
    def folder(self) -> Path:
        return self.centre.root

    @property
    def kit(self) -> Path:
        return self.centre.root / "kit"

    def call(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run ``thyroid-server`` on this centre to its end."""
        return subprocess.run(
            [
                PROGRAMS / "thyroid-server",
                *map(str, arguments),
                "--centre",
                self.folder,
            ],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment(),
        )

    def done(self, *arguments: object) -> str:
        """Run a command that must succeed; return what it prints."""
        finished = self.call(*arguments)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def start_program(
        self, name: str, *command: object, **variables: str
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run another program in a block; it writes to ``NAME.log`` by the centre's."""
        return process(self.folder.parent / f"{name}.log", *command, **variables)

    def log_of(self, name: str) -> str:
        """Return what a program has written so far."""
        return (self.folder.parent / f"{name}.log").read_text(errors="replace")

    def wait_for_status(self, words: str) -> str:
        """Wait until ``thyroid-server status`` says the words; return all it says."""
        return wait_for(
            lambda: words in (said := self.call("status").stdout) and said,
            lambda: f"{words!r} is not in:\n{self.call('status').stdout}",
        )

    def join(
        self, name: str, *before: object, **variables: str
    ) -> AbstractContextManager["RunningHospital"]:
        """Make a hospital, admit it and connect it, in a block, with thyroid-client.

        Args:
            name: the hospital's.
            before: a program in front of thyroid-client's.
            variables: more of its environment.
        """
        return running_hospital(self, name, *before, **variables)

    def wait_for_hospital(self, name: str, state: str) -> None:
        """Wait until a hospital is in a state: online, offline, ..."""

        def is_there() -> bool:
            rows = self.done("hospitals").splitlines()
            return any(f"{' '.join(row.split())} ".startswith(f"{name} {state} ")
                       for row in rows)  # fmt: skip

        wait_for(is_there, lambda: f"{name} not {state}: {self.done('hospitals')}")


@dataclass(frozen=True, kw_only=True)
class RunningHospital:
    """A hospital whose thyroid-client runs."""

    name: str
    site: Path
    """Its folder, of `thyroid-client init`."""
    process: subprocess.Popen[bytes]
    """``thyroid-client run``, or the program in front of it."""

    def events(self, kind: str) -> list[dict[str, object]]:
        """Return the events of a kind in its audit log."""
        log = self.site / "logs" / "audit.jsonl"
        found = read_log(log) if log.exists() else []
        return [event for event in found if event["event"] == kind]

    def status(self) -> str:
        """Return what ``thyroid-client status`` says."""
        return subprocess.run(
            [PROGRAMS / "thyroid-client", "status", "--site", self.site],
            capture_output=True, text=True, timeout=60, env=environment(),
        ).stdout  # fmt: skip


@contextmanager
def running_hospital(
    centre: RunningCentre, name: str, *before: object, **variables: str
) -> Iterator[RunningHospital]:
    """Make a hospital, admit it and connect it; see `RunningCentre.join`."""
    manifest = make_hospital(centre.folder.parent / f"data-{name}", name)
    site, client = centre.folder.parent / f"site-{name}", PROGRAMS / "thyroid-client"
    subprocess.run(
        [client, "init", centre.kit, "--name", name, "--manifest", manifest,
         "--site", site],
        check=True, timeout=120, env=environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    centre.done("admit", name, site / "hospital.key.pub")
    with centre.start_program(
        name, *before, client, "run", "--site", site, **variables
    ) as program:
        hospital = RunningHospital(name=name, site=site, process=program)
        wait_for(lambda: hospital.events("connected"), lambda: centre.log_of(name))
        yield hospital


def wait_for(
    condition: Callable[[], object],
    words: Callable[[], str] = lambda: "",
    patience_s: float = SOON_S,
) -> object:
    """Return what the condition gives as soon as that is true; fail after a while."""
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, f"it did not happen: {words()}"
        time.sleep(0.3)
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    """Return the environment for a process of the federation."""
    path = os.pathsep.join([str(PROGRAMS), os.environ["PATH"]])
    return dict(os.environ) | {
        "PATH": path,
        "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


@contextmanager
def process(
    log: Path, *command: object, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block, with all that it has started."""
    with log.open("ab") as file:
        running = subprocess.Popen(
            [str(part) for part in command],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment() | variables,
            preexec_fn=_child,
        )
    family = psutil.Process(running.pid)
    try:
        yield running
    finally:
        try:
            children = family.children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
        try:
            running.wait(30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        _, left = psutil.wait_procs(children, timeout=10)
        for child in left:
            child.kill()


def _child() -> None:
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored after a shell's &
    _end_with_parent()


def make_hospital(folder: Path, name: str) -> Path:
    """Write 24 patients with a picture each; return the manifest."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(len(name))
    rows: list[dict[str, object]] = []
    for number in range(24):
        shade = 90 + 50 * (number % 2)
        pixels = rng.normal(shade, 40, (40, 50)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
        rows.append(
            {
                "image_id": str(number),
                "patient_id": f"{name}-{number}",
                "hospital": name,
                "image": f"images/{number}.png",
                "malignant": number % 2,
                "split": "train" if number < 16 else "val",
            }
        )
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")
    return folder / "manifest.csv"


def nginx() -> str | None:
    """Return the path of nginx; None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


@contextmanager
def running_centre(
    folder: Path, study: str, *, front: bool, before: tuple[object, ...] = ()
) -> Iterator[RunningCentre]:
    """Provision a centre and run it, with nginx in front of it if asked for.

    Args:
        folder: for all of it.
        study: its study.toml.
        front: whether nginx is in front of it.
        before: a program in front of ``thyroid-server``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.toml").write_text(study)
    port = free_port()
    address = f"127.0.0.1:{free_port() if front else port}"
    subprocess.run(
        [PROGRAMS / "thyroid-server", "provision", folder / "study.toml",
         folder / "centre", "--address", address, "--superlink-port", str(port)],
        check=True, timeout=120, env=environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    centre, log = open_centre(folder / "centre"), folder / "start.log"
    with ExitStack() as stack:
        server = PROGRAMS / "thyroid-server"
        started = stack.enter_context(
            process(log, *before, server, "start", "--centre", centre.root)
        )
        if front:
            conf = centre.root / "nginx"
            stack.enter_context(
                process(folder / "nginx.log", nginx(), "-p", conf,
                        "-c", conf / "nginx.conf", "-e", "logs/error.log")
            )  # fmt: skip
        wait_for(lambda: "the centre is ready" in log.read_text(), log.read_text)
        yield RunningCentre(centre=centre, process=started)


@pytest.fixture(scope="module", name="make_hospital")
def make_hospital_() -> Callable[[Path, str], Path]:
    """Return `make_hospital`."""
    return make_hospital


@pytest.fixture(scope="module")
def start_centre():
    """Return `running_centre`."""
    return running_centre


@pytest.fixture(scope="module")
def wait():
    """Return `wait_for`."""
    return wait_for


@pytest.fixture(scope="module")
def port_of():
    """Return `free_port`."""
    return free_port


@pytest.fixture(scope="module")
def centre(tmp_path_factory) -> Iterator[RunningCentre]:
    """One centre for a module's tests; behind nginx where that is installed."""
    folder = tmp_path_factory.mktemp("federation")
    with running_centre(folder, QUICK_STUDY, front=nginx() is not None) as running:
        yield running
