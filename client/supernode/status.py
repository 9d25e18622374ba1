"""How a hospital's connection stands, in a few lines."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from thyroid_fl.client.audit import read_log
from thyroid_fl.client.audit_words import request_words
from thyroid_fl.client.policy import Policy, read_policy
from thyroid_fl.client.supernode.contact import read_contact, silent_s
from thyroid_fl.client.supernode.folder import Hospital
from thyroid_fl.client.supernode.running import running_since
from thyroid_fl.client.supernode.words import explain
from thyroid_fl.errors import AuditError, ConfigError
from thyroid_fl.supervision import TAIL_BYTES

LONG_S = 30.0
"""The centre is asked for work every 3 s; longer without an answer is a lost line."""


def status_lines(hospital: Hospital, now: datetime) -> list[str]:
    """Return whether the hospital runs and is connected, and what was asked last."""
    try:
        events = read_log(hospital.audit)
        log = f"{len(events)} events, whole"
    except FileNotFoundError:
        events, log = [], "no events yet"
    except AuditError as error:
        events, log = [], f"DAMAGED: {error}"
    requests = [e for e in events if e["event"] in ("answered", "refused", "failed")]
    return [
        f"hospital: {hospital.name} ({hospital.folder})",
        f"program: {_program(hospital)}",
        f"centre: {hospital.address}, {_connection(hospital, events, now)}",
        f"last request: {request_words(requests[-1]) if requests else 'none yet'}",
        f"policy: {_policy(hospital)}",
        f"manifest: {hospital.manifest}{_missing(hospital)}",
        f"audit log: {log}",
    ]


def in_a_line(policy: Policy) -> str:
    """Return a policy in one line."""
    return (
        f"{', '.join(policy.tasks) or 'no task'}; "
        f"{', '.join(policy.strategies) or 'no strategy'}; "
        f"at most {policy.most_rounds} rounds of {policy.most_local_epochs} epochs; "
        f"at least {policy.least_hospitals} hospitals; noise from "
        f"{policy.least_noise:g}; evaluation: {policy.evaluation}"
    )


def _program(hospital: Hospital) -> str:
    running = running_since(hospital)
    if running is None:
        return f"not running; start it with thyroid-client run --site {hospital.folder}"
    process, since = running
    return f"running since {since:%Y-%m-%d %H:%M} UTC (process {process})"


def _connection(hospital: Hospital, events: list[dict[str, Any]], now: datetime) -> str:
    of_node = [e for e in events if e["event"] in ("started", "connected", "stopped")]
    last: Mapping[str, Any] = of_node[-1] if of_node else {}
    contact = read_contact(hospital.contact)
    if running_since(hospital) is None:
        return "not connected"
    if last.get("event") == "connected":
        since = f"connected since {last['time'][:16].replace('T', ' ')} UTC"
        if contact is None:
            return since
        age_s = now.timestamp() - contact.time_s
        if contact.is_working:
            return f"{since}, working"
        if age_s > LONG_S:
            return f"connection lost {age_s:.0f} s ago; it is tried again by itself"
        return since
    return f"not connected: {_cause(hospital, now) or 'connecting'}"


def _cause(hospital: Hospital, now: datetime) -> str:
    try:
        with hospital.node_log.open("rb") as file:
            file.seek(max(0, hospital.node_log.stat().st_size - TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return explain(
        tail,
        name=hospital.name,
        address=hospital.address,
        silent_s=silent_s(hospital.contact, now.timestamp()),
    )


def _policy(hospital: Hospital) -> str:
    try:
        return in_a_line(read_policy(hospital.policy))
    except ConfigError as error:
        return f"CANNOT BE USED: {error}"


def _missing(hospital: Hospital) -> str:
    return "" if hospital.manifest.is_file() else " (MISSING)"
