"""A hospital's folder: what lies where, and whether it is fit to connect.

hospital.toml    name, manifest, address of the centre, perhaps min_cell
ca.crt           whom to believe that he is the centre
hospital.key     who this hospital is; never leaves it
policy.toml      what this hospital takes part in
state/           what is kept between rounds, and Flower's own files
logs/            audit.jsonl (what left), supernode.log (for the technician)
"""

import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from thyroid_fl.client.policy import read_policy
from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import read_manifest

_KEYS: dict[str, type] = {"name": str, "manifest": str, "address": str, "min_cell": int}
_OPTIONAL = {"min_cell"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hospital:
    """One hospital's folder."""

    folder: Path
    """Absolute."""
    name: str
    """As the centre calls it."""
    manifest: Path
    """Absolute."""
    address: str
    """The centre's, host:port."""
    min_cell: int | None
    """The smallest count that the data summary may tell; None: the default."""

    @property
    def ca(self) -> Path:
        """The centre's CA certificate."""
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "hospital.key"

    @property
    def policy(self) -> Path:
        """The hospital's rules."""
        return self.folder / "policy.toml"

    @property
    def state(self) -> Path:
        """The folder of what is kept between rounds."""
        return self.folder / "state"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.folder / "logs" / "audit.jsonl"

    @property
    def node_log(self) -> Path:
        """What Flower and the hospital's app log."""
        return self.folder / "logs" / "supernode.log"

    @property
    def contact(self) -> Path:
        """When the centre was last heard of."""
        return self.state / "contact.json"


def read_hospital(folder: Path) -> Hospital:
    """Return the hospital of a folder that `thyroid-client init` made.

    Raises:
        ConfigError: there is no such folder, or its hospital.toml cannot be used.
    """
    folder = folder.absolute()
    path = folder / "hospital.toml"
    if not path.is_file():
        raise ConfigError(
            f"{folder}: no folder of a hospital (no hospital.toml); make one with "
            "thyroid-client init, or name it with --site"
        )
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read it: {error}") from error
    check_keys(values, _KEYS, _OPTIONAL, path)
    manifest, min_cell = Path(values["manifest"]), values.get("min_cell")
    if not manifest.is_absolute():
        raise ConfigError(f"{path}: manifest is {str(manifest)!r}; give the whole path")
    if min_cell is not None and min_cell < 1:
        raise ConfigError(f"{path}: min_cell is {min_cell}; expected at least 1")
    check_address(values["address"], path)
    return Hospital(
        folder=folder,
        name=values["name"],
        manifest=manifest,
        address=values["address"],
        min_cell=min_cell,
    )


def check_ready(hospital: Hospital, now: datetime) -> None:
    """Refuse a folder with which the hospital could not take part.

    Raises:
        ConfigError: a file is missing; the key may be read by others; the certificate
            is not valid at `now`; the policy has a fault.
        ManifestError: the manifest cannot be used.
    """
    for path in (hospital.ca, hospital.key, hospital.policy):
        if not path.is_file():
            raise ConfigError(f"{path}: missing; it came with thyroid-client init")
    for folder in (hospital.state, hospital.audit.parent):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: missing; make this folder again, empty")
    read_key(hospital.key)
    _check_certificate(hospital.ca, now)
    read_policy(hospital.policy)
    read_manifest(hospital.manifest)


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Return the hospital's private key.

    Raises:
        ConfigError: others may read the file, or it holds no usable key.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(
            f"{path}: mode is {mode:04o}: others may read the key; chmod 600 {path}"
        )
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path}: cannot read the key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: no elliptic-curve key; make one with init")
    return key


def check_keys(
    values: Mapping[str, Any], known: Mapping[str, type], optional: set[str], path: Path
) -> None:
    """Refuse a table with an unknown, a missing, or a wrong value.

    Raises:
        ConfigError: it names the file and the key.
    """
    listed = ", ".join(known)
    for name in values:
        if name not in known:
            raise ConfigError(f"{path}: unknown key {name!r}; known keys: {listed}")
    for name, expected in known.items():
        if name not in values and name not in optional:
            raise ConfigError(f"{path}: the key {name} is missing; expected {listed}")
        if name in values and type(values[name]) is not expected:
            raise ConfigError(
                f"{path}: {name} is {values[name]!r}; expected a value of type "
                f"{expected.__name__}"
            )


def check_address(address: str, path: Path) -> None:
    """Refuse what is no host:port.

    Raises:
        ConfigError: it names the file.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not (port.isdecimal() and 0 < int(port) < 1 << 16):
        raise ConfigError(
            f"{path}: address is {address!r}; expected host:port, such as "
            "centre.example.org:443"
        )


def _check_certificate(path: Path, now: datetime) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path}: no certificate: {error}") from error
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise ConfigError(
            f"{path}: valid from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, and today is "
            f"{now:%Y-%m-%d}; check the clock, or ask the centre for a new kit"
        )
