"""``thyroid-server start``: the SuperLink and its SuperExec, kept running."""

import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.centre.control import is_up
from thyroid_fl.server.centre.folder import SUPERLINK_HOST, Centre, check_secrets
from thyroid_fl.supervision import Service, supervise

LOOK_S = 0.3


def start_centre(centre: Centre, ready: Callable[[], None]) -> None:
    """Run the centre's services until SIGTERM or SIGINT; start again what ends.

    Args:
        centre: the centre.
        ready: is called once, from another thread, when the SuperLink answers.

    Raises:
        ConfigError: a key is missing or readable by others, or the port is taken.
    """
    check_secrets(centre)
    _check_free(centre)
    (centre.root / "superlink").mkdir(mode=0o700, exist_ok=True)
    stop = threading.Event()
    watcher = threading.Thread(target=_tell, args=(centre, ready, stop), daemon=True)
    watcher.start()
    try:
        supervise(services(centre), explain=_explain, stop=stop)
    finally:
        stop.set()
        watcher.join()


def services(centre: Centre) -> tuple[Service, ...]:
    """Return the two programs that are the centre.

    The SuperExec starts the ServerApps, and shows a secret to be allowed to: in
    Flower's default, whoever reaches the port can take a ServerApp's task instead.
    A ServerApp outlives the SuperLink, so that a restart of that costs no study.
    """
    root = centre.root
    logs, environment = root / "logs", _environment(centre)
    superlink = Service(
        name="superlink",
        command=(
            _program("flower-superlink"),
            "--host", SUPERLINK_HOST, "--port", str(centre.superlink_port),
            "--ssl-ca-certfile", str(centre.ca),
            "--ssl-certfile", str(root / "tls" / "server.crt"),
            "--ssl-keyfile", str(root / "tls" / "server.key"),
            "--enable-supernode-auth",
            "--database", str(root / "superlink" / "state.db"),
            "--isolation", "process",
            "--superexec-auth-secret-file", str(root / "superexec.secret"),
            "--disable-runtime-dependency-installation",
        ),
        environment=environment,
        log=logs / "superlink.log",
    )  # fmt: skip
    superexec = Service(
        name="superexec",
        command=(
            _program("flower-superexec"),
            "--runtime-api-address", centre.superlink,
            "--root-certificates", str(centre.ca),
            "--superexec-auth-secret-file", str(root / "superexec.secret"),
        ),
        environment=environment,
        log=logs / "superexec.log",
    )  # fmt: skip
    return superlink, superexec


def _environment(centre: Centre) -> dict[str, str]:
    """Return the services' environment: Flower's files here, and no call to anyone.

    The SuperExec looks for ``flower-serverapp`` on PATH.
    """
    path = os.pathsep.join([str(_programs()), os.environ.get("PATH", os.defpath)])
    return dict(os.environ) | {
        "FLWR_HOME": str(centre.root / "superlink" / "home"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": path,
    }


def _programs() -> Path:
    return Path(sys.executable).parent


def _program(name: str) -> str:
    path = _programs() / name
    if not path.exists():
        raise ConfigError(
            f"{path} is missing: install thyroid-fl again in the environment of "
            f"{sys.executable}"
        )
    return str(path)


def _check_free(centre: Centre) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((SUPERLINK_HOST, centre.superlink_port))
        except OSError as error:
            other = "this centre runs already" if is_up(centre) else "another program"
            raise ConfigError(
                f"port {centre.superlink_port} on {SUPERLINK_HOST} is taken ({other}): "
                "end what listens there, or change superlink_port in "
                f"{centre.root / 'centre.toml'} and in nginx's configuration"
            ) from error


def _tell(centre: Centre, ready: Callable[[], None], stop: threading.Event) -> None:
    while not stop.wait(LOOK_S):
        if is_up(centre):
            ready()
            return


def _explain(service: Service, tail: str) -> str:
    """Return what the end of a service's log means, in words."""
    if "address already in use" in tail:
        return "its port is taken by another program: end that program"
    if "No space left" in tail or "database or disk is full" in tail:
        return f"the disk is full: free space at {service.log.parent.parent}"
    return ""
