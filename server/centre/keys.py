"""A hospital's public key, as it arrives at the centre in a file of one line."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from thyroid_fl.errors import ConfigError

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MOST_BYTES = 10_000
_HOW = "ask the hospital for the .pub file that thyroid-client init made"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A hospital's public key."""

    pem: bytes
    """As the SuperLink stores it."""
    fingerprint: str
    """``SHA256:...``, as ``ssh-keygen -l`` prints it; read it out on the phone."""


def read_public_key(path: Path) -> PublicKey:
    """Return the public key in a file: OpenSSH format, a NIST curve.

    Raises:
        ConfigError: the file cannot be read, holds a private key, or another kind of
            key; the message says what to ask the hospital for.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if b"PRIVATE KEY" in content:
        raise ConfigError(
            f"{path} is a private key, which must never leave its hospital: delete "
            "every copy of it here and in the mail, and have the hospital make a new "
            "pair with thyroid-client init"
        )
    try:
        key = load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no OpenSSH public key: {_HOW}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise ConfigError(
            f"{path} holds a public key of another kind than ECDSA on a NIST curve "
            f"(ecdsa-sha2-nistp384): {_HOW}"
        )
    blob = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return PublicKey(
        pem=key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        fingerprint="SHA256:" + base64.b64encode(digest).decode().rstrip("="),
    )
