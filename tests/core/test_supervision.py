"""What ends is started again; what is supervised ends with its supervisor."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from thyroid_fl.supervision import Service, supervise

SOON_S = 20.0


def wait_for(condition):
    """Return what the condition gives as soon as that is true."""
    end = time.monotonic() + SOON_S
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


def service(folder: Path, code: str) -> Service:
    return Service(
        name="worker",
        command=(sys.executable, "-c", code),
        environment=dict(os.environ),
        log=folder / "logs/worker.log",
    )


@pytest.fixture
def supervised():
    """Return a function that supervises in the background, until the test ends."""
    stop, threads = threading.Event(), []

    def run(*services, **given):
        thread = threading.Thread(target=supervise, args=(services,), kwargs={
            "stop": stop, **given
        })  # fmt: skip
        thread.start()
        threads.append(thread)

    yield run
    stop.set()
    for thread in threads:
        thread.join(SOON_S)
        assert not thread.is_alive()


def test_a_killed_program_is_started_again(supervised, tmp_path):
    worker = service(tmp_path, "import os, time; print(os.getpid(), flush=True)\n"
                               "time.sleep(99)")  # fmt: skip
    supervised(worker)
    pids = lambda: worker.log.read_text().split() if worker.log.exists() else []  # noqa: E731

    (first,) = wait_for(pids)
    os.kill(int(first), signal.SIGKILL)
    second = wait_for(lambda: pids()[1:])[0]

    assert psutil.pid_exists(int(second))


def test_an_end_is_explained_in_words(supervised, tmp_path, caplog):
    worker = service(tmp_path, "import sys; sys.exit('code: 2004')")

    with caplog.at_level(logging.WARNING):
        supervised(
            worker,
            explain=lambda one, tail: f"{one.name}: not admitted" * ("2004" in tail),
        )
        wait_for(lambda: "worker: not admitted" in caplog.text)

    assert "exit code 1" in caplog.text
    assert "again in 1 s" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_end_with_the_supervisor(number, tmp_path):
    log = tmp_path / "worker.log"
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from thyroid_fl.supervision import Service, supervise\n"
        "worker = 'import os, time; print(os.getpid(), flush=True); time.sleep(99)'"
        "\nsupervise([Service(name='w', command=(sys.executable, '-c', worker), "
        f"environment=dict(os.environ), log=Path({str(log)!r}))])"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: log.exists() and log.read_text())
    worker = int(log.read_text())

    supervisor.send_signal(number)

    wait_for(lambda: supervisor.poll() is not None)
    wait_for(lambda: not psutil.pid_exists(worker))
