"""Admit and revoke hospitals, and say how each one is."""

import datetime
from dataclasses import dataclass, replace
from pathlib import Path

from thyroid_fl.files import alone
from thyroid_fl.server.centre.control import (
    Node,
    control,
    nodes,
    register,
    unregister,
)
from thyroid_fl.server.centre.folder import PATIENCE_S, Centre
from thyroid_fl.server.centre.keys import read_public_key
from thyroid_fl.server.centre.registry import (
    Admission,
    current,
    read_registry,
    refuse_admission,
    write_registry,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hospital:
    """An admission and how its hospital is now."""

    admission: Admission
    state: str
    """``never connected``, ``online``, ``offline``, ``revoked``, or ``unknown`` to the
    SuperLink (its database was replaced)."""
    last_seen: str
    """ISO 8601; empty where it was never seen; of one that is online, since when."""


def admit(centre: Centre, name: str, key_file: Path) -> Admission:
    """Let a hospital with this public key take part; return its admission.

    Raises:
        ConfigError: the name or the key is refused, or the SuperLink does not run.
    """
    key = read_public_key(key_file)
    with alone(centre.lock, PATIENCE_S):
        before = read_registry(centre.hospitals)
        refuse_admission(before, name, key)
        with control(centre) as client:
            admission = Admission(
                name=name,
                node_id=register(client, name, key.pem),
                fingerprint=key.fingerprint,
                admitted=_now(),
            )
            try:
                write_registry(centre.hospitals, (*before, admission))
            except OSError:
                unregister(client, admission.node_id)  # no node without a name
                raise
    return admission


def revoke(centre: Centre, name: str) -> Admission:
    """Shut a hospital out at once; return its admission.

    Raises:
        ConfigError: no such hospital is admitted, or the SuperLink does not run.
    """
    with alone(centre.lock, PATIENCE_S):
        before = read_registry(centre.hospitals)
        found = current(before, name)
        with control(centre) as client:
            node = nodes(client).get(found.node_id)
            if node is not None and node.status != "unregistered":
                unregister(client, found.node_id)
        revoked = replace(found, revoked=_now())
        after = [revoked if one is found else one for one in before]
        write_registry(centre.hospitals, after)
    return revoked


def hospitals(centre: Centre) -> tuple[Hospital, ...]:
    """Return all admissions with how their hospitals are now.

    Raises:
        ConfigError: the registry is damaged, or the SuperLink does not run.
    """
    admissions = read_registry(centre.hospitals)
    with control(centre) as client:
        known = nodes(client)
    return tuple(_hospital(one, known.get(one.node_id)) for one in admissions)


def _hospital(admission: Admission, node: Node | None) -> Hospital:
    if admission.revoked:
        state = "revoked"
    elif node is None:
        state = "unknown"
    else:
        state = {"registered": "never connected"}.get(node.status, node.status)
    seen = ""
    if node is not None:
        seen = node.online_since if state == "online" else node.offline_since
    return Hospital(admission=admission, state=state, last_seen=seen)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
