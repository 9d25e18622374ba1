"""Keep a hospital connected: one supervised SuperNode, one process a folder."""

import fcntl
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from thyroid_fl.client.supernode.contact import silent_s
from thyroid_fl.client.supernode.environment import hardened
from thyroid_fl.client.supernode.folder import Hospital, check_ready
from thyroid_fl.client.supernode.words import explain
from thyroid_fl.errors import ConfigError
from thyroid_fl.supervision import Service, supervise


def run(hospital: Hospital, stop: threading.Event | None = None) -> None:
    """Keep the hospital connected until SIGTERM, SIGINT or ``stop``.

    Raises:
        ConfigError: the folder is not fit for it, or another process runs on it.
        ManifestError: the manifest cannot be used.
    """
    check_ready(hospital, datetime.now(UTC))
    module = "thyroid_fl.client.supernode.node"
    node = Service(
        name="the connection to the centre",
        command=(sys.executable, "-m", module, str(hospital.folder)),
        environment=hardened(os.environ, hospital.state),
        log=hospital.node_log,
    )

    def in_words(_: Service, tail: str) -> str:
        return explain(
            tail,
            name=hospital.name,
            address=hospital.address,
            silent_s=silent_s(hospital.contact, time.time()),
        )

    with _alone(_lock_file(hospital)):
        supervise([node], in_words, stop)


def running_since(hospital: Hospital) -> tuple[int, datetime] | None:
    """Return process and start of the program that runs on the folder, or None."""
    path = _lock_file(hospital)
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        written = json.loads(path.read_text(encoding="utf-8"))
        return written["process"], datetime.fromisoformat(written["since"])
    return None


def _lock_file(hospital: Hospital) -> Path:
    return hospital.state / "running.lock"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock; the kernel frees it however the process ends."""
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigError(
                f"{path.parent.parent}: a thyroid-client already runs on this folder "
                f"({lock.read().strip()}); end it first, or see thyroid-client status"
            ) from None
        since = datetime.now(UTC).isoformat(timespec="seconds")
        lock.truncate(0)
        lock.write(json.dumps({"process": os.getpid(), "since": since}))
        lock.flush()
        yield
