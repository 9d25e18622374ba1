"""From the centre's kit to a hospital's folder, with a key that is made here."""

import base64
import hashlib
import json
import os
import pwd
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from thyroid_fl import __version__
from thyroid_fl.client.policy import read_policy
from thyroid_fl.client.supernode.folder import (
    Hospital,
    check_address,
    check_keys,
    read_hospital,
)
from thyroid_fl.errors import ConfigError
from thyroid_fl.files import create
from thyroid_fl.manifest import read_manifest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_UNIT = "thyroid-client.service"
_NOT_IN_A_UNIT = set('"\\$%\n')


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A new folder of a hospital."""

    hospital: Hospital
    public_key: Path
    """What the centre needs."""
    fingerprint: str
    """Of the key, as ssh-keygen shows it."""
    unit: Path
    """The systemd unit."""


def join(kit: Path, name: str, manifest: Path, folder: Path) -> Joined:
    """Make the folder of a hospital from the centre's kit; all of it or nothing.

    Args:
        kit: a folder with ca.crt, kit.toml and policy.toml.
        name: what the centre calls the hospital; letters, digits, ``-`` and ``_``.
        manifest: the hospital's; it is read as a check.
        folder: to be made. One with anything in it is never touched.

    Raises:
        ConfigError: the kit is incomplete or of another version, the name cannot be
            used, or the folder is already there.
        ManifestError: the manifest cannot be used.
    """
    address = _read_kit(kit)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: expected 1 to 63 letters (A to Z), digits, - and _"
        )
    folder, manifest = folder.absolute(), manifest.absolute()
    for path in (folder, manifest):
        if letters := _NOT_IN_A_UNIT & set(str(path)):
            raise ConfigError(f"{path}: systemd takes no {min(letters)!r} in a path")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder}: already there, and a key is never overwritten; choose another "
            "--site, or move it away"
        )
    read_manifest(manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".joining-") as scratch:
        new = Path(scratch) / "site"
        new.mkdir(mode=0o700)
        for file in ("ca.crt", "policy.toml"):
            shutil.copyfile(kit / file, new / file)
        for inside in ("state", "logs"):
            (new / inside).mkdir(mode=0o700)
        fingerprint = _write_key(new, name)
        _write_settings(new, name=name, manifest=manifest, address=address)
        _write_unit(new / _UNIT, name=name, manifest=manifest, folder=folder)
        new.rename(folder)
    return Joined(
        hospital=read_hospital(folder),
        public_key=folder / "hospital.key.pub",
        fingerprint=fingerprint,
        unit=folder / _UNIT,
    )


def _read_kit(kit: Path) -> str:
    """Return the centre's address; raise if the kit cannot be used."""
    for file in ("ca.crt", "kit.toml", "policy.toml"):
        if not (kit / file).is_file():
            raise ConfigError(f"{kit}: no kit of a centre ({file} is missing)")
    path = kit / "kit.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read it: {error}") from error
    # The version first: another one may have other keys.
    if values.get("version") != __version__:
        raise ConfigError(
            f"{path}: the kit is of thyroid-fl {values.get('version', 'unknown')}, but "
            f"{__version__} is installed here; install the centre's version, or ask "
            "the centre for a kit of this one"
        )
    check_keys(values, {"address": str, "version": str}, set(), path)
    check_address(values["address"], path)
    read_policy(kit / "policy.toml")
    return str(values["address"])


def _write_key(folder: Path, name: str) -> str:
    """Write a new key pair; return its fingerprint."""
    key = ec.generate_private_key(ec.SECP384R1())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path = folder / "hospital.key"
    create(path, secret)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name("hospital.key.pub").write_bytes(public + f" {name}\n".encode())
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _write_settings(folder: Path, *, name: str, manifest: Path, address: str) -> None:
    values = {"name": name, "manifest": str(manifest), "address": address}
    # What JSON writes of a text is TOML's, too.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in values.items()
    ]
    lines.append("# min_cell = 5  # the smallest count that the data summary may tell")
    (folder / "hospital.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_unit(path: Path, *, name: str, manifest: Path, folder: Path) -> None:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    text = templates.get_template(f"{_UNIT}.jinja").render(
        name=name,
        user=pwd.getpwuid(os.getuid()).pw_name,
        program=Path(sys.executable).with_name("thyroid-client"),
        folder=folder,
        pictures=manifest.parent,
    )
    path.write_text(text, encoding="utf-8")
