"""A centre's folder: where everything lies, and what ``centre.toml`` says.

::

    FOLDER/
        centre.toml          address that hospitals use, port of the SuperLink
        study.toml           the study that the centre was made for
        ca/  tls/            certificates and their keys (0600)
        superexec.secret     opens the Runtime API to the centre's own SuperExec (0600)
        nginx/  systemd/     for the machine's administrator
        kit/                 for every hospital; no secret in it
        hospitals.json       who was admitted
        superlink/           Flower's database and working files
        logs/                of the services
        runs/NAME/           the studies
"""

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from thyroid_fl.errors import ConfigError

PATIENCE_S = 60.0
"""How long a command waits for another one that changes the centre."""
SUPERLINK_HOST = "127.0.0.1"
"""The SuperLink's Control and Runtime APIs have no login: it is never published."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_KEYS = ("address", "superlink_port")


@dataclass(frozen=True, kw_only=True, slots=True)
class Centre:
    """A centre: its folder and its addresses."""

    root: Path
    """Its folder, absolute."""
    address: str
    """``HOST:PORT`` that hospitals connect to."""
    superlink_port: int
    """Of the SuperLink, on 127.0.0.1."""

    @property
    def superlink(self) -> str:
        """Return the SuperLink's ``HOST:PORT``."""
        return f"{SUPERLINK_HOST}:{self.superlink_port}"

    @property
    def is_direct(self) -> bool:
        """Return whether hospitals connect to the SuperLink itself, without nginx."""
        host, port = split_address(self.address)
        return port == self.superlink_port and is_local(host)

    @property
    def ca(self) -> Path:
        """Return the path of the CA's certificate."""
        return self.root / "ca" / "ca.crt"

    @property
    def secrets(self) -> tuple[Path, ...]:
        """Return the files that only the centre's own user may read."""
        names = ("ca/ca.key", "tls/server.key", "superexec.secret")
        return tuple(self.root / name for name in names)

    @property
    def hospitals(self) -> Path:
        """Return the path of the registry of hospitals."""
        return self.root / "hospitals.json"

    @property
    def lock(self) -> Path:
        """Return the file that a command holds while it changes the centre."""
        return self.root / ".lock"

    def run(self, name: str) -> Path:
        """Return the folder of a study."""
        return self.root / "runs" / name


def open_centre(folder: Path) -> Centre:
    """Return the centre in a folder.

    Raises:
        ConfigError: the folder is no centre's, or its ``centre.toml`` is damaged.
    """
    path = folder / "centre.toml"
    if not path.is_file():
        raise ConfigError(
            f"{folder} is not the folder of a centre (it has no centre.toml): name it "
            "with --centre FOLDER, or make one with thyroid-server provision"
        )
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    if sorted(settings) != sorted(_KEYS):
        raise ConfigError(f"{path}: expected exactly the keys {', '.join(_KEYS)}")
    address, port = settings["address"], settings["superlink_port"]
    if not isinstance(address, str) or not isinstance(port, int):
        raise ConfigError(f"{path}: address is a text and superlink_port a number")
    split_address(address)
    check_port(port)
    return Centre(root=folder.resolve(), address=address, superlink_port=port)


def check_secrets(centre: Centre) -> None:
    """Refuse a centre whose keys are missing or may be read by others.

    Raises:
        ConfigError: which file, and what to do.
    """
    for path in centre.secrets:
        if not path.is_file():
            raise ConfigError(
                f"{path} is missing: restore it from your backup, or provision a new "
                "centre (hospitals then need the new kit)"
            )
        if path.stat().st_mode & 0o077:
            raise ConfigError(
                f"{path} can be read by others on this machine: chmod 600 {path}, and "
                "consider whether somebody has copied it"
            )


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host stands in brackets.

    Raises:
        ConfigError: it is not of that form.

    >>> split_address("fl.example.org:443")
    ('fl.example.org', 443)
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit():
        raise ConfigError(
            f"address {address!r}: expected HOST:PORT, such as fl.example.org:443"
        )
    check_port(int(port))
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    check_host(host)
    return host, int(port)


def check_host(host: str) -> None:
    """Refuse what is neither a host's name nor an IP address."""
    if not (_NAME.fullmatch(host) or _ip(host)) or len(host) > 253:
        raise ConfigError(f"{host!r} is neither a host's name nor an IP address")


def check_port(port: int) -> None:
    """Refuse what is no port's number."""
    if not 1 <= port <= 65535:
        raise ConfigError(f"port is {port}; expected 1 to 65535")


def is_local(host: str) -> bool:
    """Return whether a host is this machine's loopback, by its spelling."""
    found = _ip(host)
    return host == "localhost" or (found is not None and found.is_loopback)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
