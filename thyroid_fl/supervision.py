"""Keep other programs running: started again when they end, ended with their parent."""

import ctypes
import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A program that ran for so long starts again after the first pause."""
GRACE_S = 10.0
"""From the request to end until a program is killed."""
LOOK_S = 0.2
TAIL_BYTES = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A program that is to run for good."""

    name: str
    """For the log."""
    command: tuple[str, ...]
    """The program and its arguments."""
    environment: Mapping[str, str]
    """Its whole environment."""
    log: Path
    """Its stdout and stderr are added to this file."""


@dataclass(slots=True)
class _Running:
    service: Service
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    pause_s: float = field(default=FIRST_PAUSE_S)


def supervise(
    services: Sequence[Service],
    explain: Callable[[Service, str], str] = lambda service, tail: "",
    stop: threading.Event | None = None,
) -> None:
    """Run the services until SIGTERM, SIGINT or ``stop``; start again what ends.

    A service that ends at once is started after 1, 2, 4, ... and at most 60 s.

    Args:
        services: in the order of their start.
        explain: service and the end of its log -> what happened and what to do, in
            words for the log; empty if it does not know.
        stop: ends all when it is set; signals are taken in the main thread only.
    """
    stop = stop or threading.Event()
    running = [_Running(service) for service in services]
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                before = signal.signal(number, lambda *_: stop.set())
                stack.callback(signal.signal, number, before)
        stack.callback(_end, running)
        while not stop.wait(LOOK_S):
            for one in running:
                _look_after(one, explain)


def _look_after(one: _Running, explain: Callable[[Service, str], str]) -> None:
    now = time.monotonic()
    if one.process is None:
        if now >= one.due:
            one.process, one.started = _start(one.service), now
            logger.info("%s started (process %d)", one.service.name, one.process.pid)
        return
    code = one.process.poll()
    if code is None:
        return
    one.process = None
    if now - one.started > STEADY_S:
        one.pause_s = FIRST_PAUSE_S
    one.due = now + one.pause_s
    words = explain(one.service, _tail(one.service.log)) or f"see {one.service.log}"
    logger.warning(
        "%s ended (exit code %d) and starts again in %.0f s: %s",
        one.service.name, code, one.pause_s, words,
    )  # fmt: skip
    one.pause_s = min(2 * one.pause_s, LONGEST_PAUSE_S)


def _start(service: Service) -> subprocess.Popen[bytes]:
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        return subprocess.Popen(
            service.command,
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        )


def _end_with_parent() -> None:
    """Have Linux end this process when its parent dies, even by SIGKILL."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")


def _end(running: Sequence[_Running]) -> None:
    """Ask all to end, the last started first; kill what does not."""
    processes = [one.process for one in reversed(running) if one.process]
    for process in processes:
        process.terminate()
    end = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
