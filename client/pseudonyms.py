"""Pseudonyms: names of patients and pictures that only the hospital can trace back.

A pseudonym is a keyed hash (HMAC-SHA-256, RFC 2104). Without the key nobody can try out
patient numbers until one fits; with it, one patient has one name in every import.
"""

import hmac
import json
import logging
import os
import re
import secrets
import stat
from pathlib import Path

from thyroid_fl.errors import ConfigError

logger = logging.getLogger(__name__)

N_DIGITS = 64
"""Hexadecimal digits of a key: 256 bits, the length of the hash."""


def key_path() -> Path:
    """Return where this user's key lies, by the XDG Base Directory Specification."""
    configured = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = configured if configured.is_absolute() else Path.home() / ".config"
    return folder / "thyroid-fl" / "pseudonym.key"


def site_key(path: Path) -> bytes:
    """Return the hospital's key of 32 bytes; where the file is absent, make it.

    Raises:
        ConfigError: others than its owner may read the file, it is no key, or it can
            be neither read nor made.
    """
    try:
        return _read_key(path) if path.exists() else _make_key(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read or make the key for pseudonyms: {error.strerror}; "
            "make its folder readable and writable for you alone"
        ) from error


def pseudonym(key: bytes, *what: str) -> str:
    """Return 16 hexadecimal digits that stand for these texts.

    Among n names two are alike with a probability of about n**2 / 2**65: 3e-8 for a
    million.

    >>> pseudonym(bytes(32), "patient", "12345")
    'da36544b8ec2e917'
    """
    message = json.dumps(what).encode()  # ("a", "bc") is not ("ab", "c")
    return hmac.digest(key, message, "sha256").hex()[:16]


def _read_key(path: Path) -> bytes:
    with path.open(errors="replace") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(2 * N_DIGITS).strip()
    if mode & 0o077:
        raise ConfigError(
            f"{path}: other users may read the key for pseudonyms (mode {mode:04o}); "
            f"run: chmod 600 {path}"
        )
    if not re.fullmatch(f"[0-9a-f]{{{N_DIGITS}}}", text):
        raise ConfigError(
            f"{path}: expected a key of {N_DIGITS} hexadecimal digits; put your backup "
            "there, or remove the file if no import has used it"
        )
    return bytes.fromhex(text)


def _make_key(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = secrets.token_hex(N_DIGITS // 2)
    exclusive = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, exclusive, 0o600), "w") as file:
        file.write(f"{text}\n")
    logger.warning(
        "%s: made a new key for pseudonyms; back it up, because with another key "
        "every patient gets another name",
        path,
    )
    return bytes.fromhex(text)
