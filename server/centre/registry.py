"""``hospitals.json``: which hospital is which node, revoked ones included.

Flower knows nodes by a number only, and gives a hospital a new number with a new key.
"""

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_text
from thyroid_fl.server.centre.keys import PublicKey

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """One admission of a hospital: its name, its key, its node."""

    name: str
    """The hospital's."""
    node_id: int
    """Flower's, from 1 to 2**64."""
    fingerprint: str
    """Of the key, as ``ssh-keygen -l`` prints it."""
    admitted: str
    """When: ISO 8601, UTC."""
    revoked: str = ""
    """When: ISO 8601, UTC; empty: it still holds."""


def read_registry(path: Path) -> tuple[Admission, ...]:
    """Return all admissions in the order in which they were made; no file, none.

    Raises:
        ConfigError: the file is damaged.
    """
    if not path.exists():
        return ()
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["admissions"]
        return tuple(_admission(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: damaged ({error}): restore it from your backup; admit and revoke "
            "replace it in one step and never leave half of it"
        ) from error


def write_registry(path: Path, admissions: Iterable[Admission]) -> None:
    """Replace the file in one step.

    A node's number is written as text: as a number, most JSON readers round it.
    """
    rows = [
        dataclasses.asdict(one) | {"node_id": str(one.node_id)} for one in admissions
    ]
    write_text(path, json.dumps({"admissions": rows}, indent=1) + "\n")


def names_by_node(path: Path) -> dict[int, str]:
    """Return the hospitals' names by Flower's node id, revoked ones included.

    Raises:
        ConfigError: the file is damaged.
    """
    return {one.node_id: one.name for one in read_registry(path)}


def refuse_admission(
    admissions: Iterable[Admission], name: str, key: PublicKey
) -> None:
    """Refuse a name that is not safe or in use, and a key that was used before.

    Raises:
        ConfigError: why it is refused, and what to do.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', and begin "
            "with a letter or digit"
        )
    for one in admissions:
        if one.fingerprint == key.fingerprint:
            what = "was revoked" if one.revoked else "is already admitted"
            raise ConfigError(
                f"the key {key.fingerprint} {what}, as {one.name}: have the hospital "
                "make a new pair with thyroid-client init"
            )
        if one.name.casefold() == name.casefold() and (
            not one.revoked or one.name != name
        ):
            raise ConfigError(
                f"a hospital {one.name} is already admitted: choose another name, or "
                f"thyroid-server revoke {one.name} first if it is to get a new key"
            )


def current(admissions: Iterable[Admission], name: str) -> Admission:
    """Return a hospital's admission that holds.

    Raises:
        ConfigError: there is none; the message lists the names.
    """
    admissions = tuple(admissions)
    for one in admissions:
        if one.name == name and not one.revoked:
            return one
    if any(one.name == name for one in admissions):
        raise ConfigError(f"hospital {name} is revoked already")
    names = ", ".join(one.name for one in admissions if not one.revoked)
    raise ConfigError(f"no hospital {name!r}; admitted: {names or '(none)'}")


def _admission(row: dict[str, Any]) -> Admission:
    return Admission(**row | {"node_id": int(row["node_id"])})
