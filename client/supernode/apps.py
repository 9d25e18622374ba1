"""What starts the apps of a SuperNode, each in a process of its own.

``flower-superexec`` asks this process for work and shares a secret with it: in Flower's
usual mode any program on the machine that finds the port could take over the hospital's
part of a study.
"""

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from flwr.supernode.main import create_app
from flwr.supernode.nodestate import NodeStateFactory

from thyroid_fl.client.supernode.words import NO_APPS
from thyroid_fl.files import create

log = logging.getLogger(__name__)

_START_S = 30.0
_END_S = 10.0


@contextmanager
def runtime_api(states: NodeStateFactory, home: Path) -> Iterator[tuple[str, Path]]:
    """Serve the apps of this process on a free port of the loopback.

    Args:
        states: what the SuperNode and its apps share.
        home: where the secret's file is written, mode 0600.

    Yields:
        The address, host:port, and the file of the secret.

    Raises:
        RuntimeError: the server does not start.
    """
    secret = secrets.token_bytes(32)
    home.mkdir(parents=True, exist_ok=True)
    path = home / "superexec.secret"
    path.unlink(missing_ok=True)
    create(path, secret)
    listening = socket.create_server(("127.0.0.1", 0))
    app = create_app(state_factory=states, superexec_auth_secret=secret)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, args=[[listening]], daemon=True)
    thread.start()
    end = time.monotonic() + _START_S
    while not server.started:
        if time.monotonic() > end or not thread.is_alive():
            raise RuntimeError("Flower's Runtime API does not start")
        time.sleep(0.05)
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", path
    finally:
        server.should_exit = True
        thread.join(_END_S)


@contextmanager
def app_starter(address: str, secret: Path) -> Iterator[None]:
    """Have the apps started; without their starter this process ends, too.

    Args:
        address: of `runtime_api`.
        secret: its file.
    """
    starter = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("flower-superexec")),
            *("--insecure", "--runtime-api-address", address),  # on the loopback only
            *("--superexec-auth-secret-file", str(secret)),
            *("--parent-pid", str(os.getpid())),
        ]
    )
    is_ending = threading.Event()

    def watch() -> None:
        starter.wait()
        if not is_ending.is_set():
            log.error(NO_APPS)
            # It is supervised: all starts again. Not by _exit: unless it takes leave,
            # the centre would not let it in again for a minute.
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        is_ending.set()
        starter.terminate()
        try:
            starter.wait(_END_S)
        except subprocess.TimeoutExpired:
            starter.kill()
