"""Hospitals over Flower's Grid: wait for them, ask them, name those that failed."""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import cast

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from thyroid_fl.errors import RoundError
from thyroid_fl.requests import RECORD, Request
from thyroid_fl.server.trips import Trip, n_bytes, words_of
from thyroid_fl.settings import Study

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 3.0
"""Between two looks while nothing comes; Flower's own pause."""
LATE_S = 600.0
"""How long after a deadline a reply is still recognised."""
LATE = (
    "late: its reply came after the deadline and was not used; raise round_deadline_s"
)


@dataclass(slots=True)
class Hospitals:
    """The hospitals of a federation as the round engine asks them."""

    grid: Grid
    study: Study
    names: Callable[[], Mapping[int, str]] = dict
    """Gives the hospitals' names by node, as far as they are known."""
    unanswered: dict[str, Trip] = field(default_factory=dict)
    """By message id: requests whose deadline has passed."""
    trips: list[Trip] = field(default_factory=list)
    """All requests so far; whoever writes them down empties the list."""

    def name(self, node: int) -> str:
        """Return a node's hospital, or its number where the name is not known."""
        return self.names().get(node) or f"node {node}"


@dataclass(frozen=True, slots=True)
class Connected:
    """What a strategy sees of the Grid: the hospitals that are to be asked.

    Flower's sampling asks the Grid twice and waits for ever if a node has left since.
    """

    node_ids: list[int]

    def get_node_ids(self) -> list[int]:
        """Return the nodes that the bounded wait found."""
        return self.node_ids


def connected(hospitals: Hospitals, share: float = 1.0, draw: int = 0) -> Grid:
    """Wait for the quorum; return the hospitals that are connected then.

    Args:
        hospitals: those of the study, which says how many have to be there.
        share: of them, drawn at random, and never fewer than the quorum.
        draw: number of the drawing: the same gives the same hospitals.

    Raises:
        RoundError: the quorum is not there within the study's ``wait_s``.
    """
    study, grid = hospitals.study, hospitals.grid
    end = time.monotonic() + study.wait_s
    while len(nodes := sorted(grid.get_node_ids())) < study.min_hospitals:
        if time.monotonic() > end:
            there = ", ".join(map(hospitals.name, nodes)) or "none"
            raise RoundError(
                f"{len(nodes)} hospitals were connected after {study.wait_s:g} s, "
                f"min_hospitals is {study.min_hospitals} (connected: {there}): ask the "
                "others to start their clients, or raise wait_s, then start the study "
                "again"
            )
        logger.info("%d of %d hospitals connected", len(nodes), study.min_hospitals)
        time.sleep(min(LONGEST_PAUSE_S, study.wait_s))
    if share < 1:
        n = min(len(nodes), max(study.min_hospitals, round(share * len(nodes))))
        rng = np.random.default_rng([study.seed, draw])
        nodes = sorted(rng.choice(nodes, n, replace=False).tolist())
    return cast(Grid, Connected(nodes))


def replies(
    hospitals: Hospitals,
    messages: Iterable[Message],
    request: Request,
    failed: dict[int, str],
) -> Iterator[Message]:
    """Send the messages and yield the replies as they come, until the deadline.

    Replies are pulled one by one, since all that one pull returns is in memory at once.

    Args:
        hospitals: those of the study, whose ``round_deadline_s`` is for all replies
            together.
        messages: one a hospital.
        request: what they are asked as; a reply that repeats another one is stale.
        failed: gets the nodes whose reply is an error or stale or did not come. An
            error that the SuperLink made carries its own node id, so the message tells
            the node.
    """
    _collect_late(hospitals)
    deadline_s, started = hospitals.study.round_deadline_s, time.monotonic()
    end = started + deadline_s
    waiting = _send(hospitals, messages, request, failed)
    del messages
    pause_s = FIRST_PAUSE_S
    while waiting and time.monotonic() < end:
        n_before = len(waiting)
        for message_id in list(waiting):
            if time.monotonic() > end:
                break
            for reply in hospitals.grid.pull_messages([message_id]):
                sent = waiting.pop(message_id)
                fault = _fault(reply, request)
                _note(hospitals, sent, reply, fault, time.monotonic() - started)
                if fault:
                    failed[sent.node] = fault
                else:
                    del reply.content[RECORD]
                    yield reply
                del reply
        if len(waiting) == n_before:
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            pause_s = FIRST_PAUSE_S
    for message_id, sent in waiting.items():
        failed[sent.node] = f"no reply within {deadline_s:g} s"
        _note(hospitals, sent, None, failed[sent.node], deadline_s)
        hospitals.unanswered[message_id] = sent


def by_reason(
    hospitals: Hospitals, failed: Mapping[int, str], empty: Sequence[int]
) -> str:
    """Return which hospitals failed and why, each reason once."""
    nodes: dict[str, list[int]] = {"no examples": list(empty)} if empty else {}
    for node, reason in failed.items():
        nodes.setdefault(reason, []).append(node)
    parts = []
    for reason, group in nodes.items():
        more = f" and {len(group) - 5} more" if len(group) > 5 else ""
        named = ", ".join(map(hospitals.name, group[:5]))
        parts.append(f"{reason} ({named}{more})")
    return "; ".join(parts) or "no other hospital was connected"


def _send(
    hospitals: Hospitals,
    messages: Iterable[Message],
    request: Request,
    failed: dict[int, str],
) -> dict[str, Trip]:
    """Send the messages, in the order of the nodes; return message id -> trip."""
    messages = sorted(messages, key=lambda message: message.metadata.dst_node_id)
    sent: list[Trip] = []
    for message in messages:
        # Hospitals that are somewhat late are heard, so that they can be named.
        message.metadata.ttl = hospitals.study.round_deadline_s + LATE_S
        message.content[RECORD] = request.record()
        sent.append(
            Trip(
                node=message.metadata.dst_node_id,
                step=message.metadata.message_type,
                server_round=request.server_round,
                sent_bytes=n_bytes(message.content),
            )
        )
    # Flower gives no id for a message, or for all, that the SuperLink did not take.
    pairs = zip_longest(sent, hospitals.grid.push_messages(messages))
    waiting = {message_id: trip for trip, message_id in pairs if message_id}
    for trip in sent:
        if trip not in waiting.values():
            failed[trip.node] = "the message could not be sent"
            _note(hospitals, trip, None, failed[trip.node], 0.0)
    return waiting


def _fault(reply: Message, request: Request) -> str:
    """Return why a reply cannot be used; empty if it can."""
    if reply.has_error():
        return words_of(reply.error)
    if reply.content.get(RECORD) != request.record():
        return (
            "stale: it answers another request than the one that was sent; it was not "
            "used"
        )
    return ""


def _note(
    hospitals: Hospitals, sent: Trip, reply: Message | None, fault: str, seconds: float
) -> None:
    """Add a finished trip to the list, and log a fault."""
    is_answer = reply is not None and not reply.has_error()
    hospitals.trips.append(
        dataclasses.replace(
            sent,
            outcome=fault or "answered",
            received_bytes=n_bytes(reply.content) if reply and is_answer else 0,
            seconds=round(seconds, 3),
        )
    )
    if fault:
        logger.warning(
            "round %d, %s: %s: %s",
            sent.server_round,
            sent.step,
            hospitals.name(sent.node),
            fault,
        )


def _collect_late(hospitals: Hospitals) -> None:
    """Recognise replies to requests whose deadline has passed: named, and not used."""
    for message_id, sent in list(hospitals.unanswered.items()):
        for reply in hospitals.grid.pull_messages([message_id]):
            del hospitals.unanswered[message_id]
            if not reply.has_error():
                _note(hospitals, sent, reply, LATE, math.nan)
