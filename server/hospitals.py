"""Hospitals over Flower's Grid: wait for them, ask them, name those that failed."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import cast

from flwr.app import Message
from flwr.serverapp import Grid

from thyroid_fl.errors import RoundError
from thyroid_fl.settings import Study

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 3.0
"""Between two looks while nothing comes; Flower's own pause."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What a strategy sees of the Grid: the hospitals that are there at the start.

    Flower's sampling asks the Grid twice and waits for ever if a node has left since.
    """

    node_ids: list[int]

    def get_node_ids(self) -> list[int]:
        """Return the nodes that the bounded wait found."""
        return self.node_ids


def connected(grid: Grid, study: Study) -> Grid:
    """Wait for the quorum; return the hospitals that are connected then."""
    end = time.monotonic() + study.wait_s
    while len(nodes := sorted(grid.get_node_ids())) < study.min_hospitals:
        if time.monotonic() > end:
            raise RoundError(
                f"{len(nodes)} hospitals were connected after {study.wait_s:g} s, "
                f"min_hospitals is {study.min_hospitals}: ask the hospitals to start "
                "their clients, or raise wait_s, then start the study again"
            )
        logger.info("%d of %d hospitals connected", len(nodes), study.min_hospitals)
        time.sleep(min(LONGEST_PAUSE_S, study.wait_s))
    return cast(Grid, Connected(nodes))


def replies(
    grid: Grid, messages: Iterable[Message], deadline_s: float, failed: dict[int, str]
) -> Iterator[Message]:
    """Send the messages and yield the replies as they come, until the deadline.

    Replies are pulled one by one, since all that one pull returns is in memory at once.

    Args:
        grid: the hospitals.
        messages: one a hospital.
        deadline_s: for all replies together.
        failed: gets the nodes whose reply is an error or did not come. An error that
            the SuperLink made carries its own node id, so the message tells the node.
    """
    end = time.monotonic() + deadline_s
    waiting = _send(grid, messages, deadline_s, failed)
    del messages
    pause_s = FIRST_PAUSE_S
    while waiting and time.monotonic() < end:
        n_before = len(waiting)
        for message_id in list(waiting):
            if time.monotonic() > end:
                break
            for reply in grid.pull_messages([message_id]):
                node = waiting.pop(message_id)
                if reply.has_error():
                    failed[node] = reply.error.reason or f"error {reply.error.code}"
                    logger.warning("node %d failed: %s", node, failed[node])
                else:
                    yield reply
                del reply
        if len(waiting) == n_before:
            time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        else:
            pause_s = FIRST_PAUSE_S
    for node in waiting.values():
        failed[node] = f"no reply within {deadline_s:g} s"
        logger.warning("node %d failed: %s", node, failed[node])


def by_reason(failed: Mapping[int, str], empty: Sequence[int]) -> str:
    """Return which nodes failed and why, each reason once."""
    nodes: dict[str, list[int]] = {"no examples": list(empty)} if empty else {}
    for node, reason in failed.items():
        nodes.setdefault(reason, []).append(node)
    parts = []
    for reason, group in nodes.items():
        more = f" and {len(group) - 5} more" if len(group) > 5 else ""
        parts.append(f"{reason} (node {', '.join(map(str, group[:5]))}{more})")
    return "; ".join(parts) or "no other hospital was connected"


def _send(
    grid: Grid, messages: Iterable[Message], ttl_s: float, failed: dict[int, str]
) -> dict[str, int]:
    """Send the messages, in the order of the nodes; return message id -> node."""
    messages = sorted(messages, key=lambda message: message.metadata.dst_node_id)
    for message in messages:
        message.metadata.ttl = ttl_s  # a hospital need not answer later than that
    nodes = [message.metadata.dst_node_id for message in messages]
    # Flower gives no id for a message, or for all, that the SuperLink did not take.
    sent = zip_longest(nodes, grid.push_messages(messages))
    waiting = {message_id: node for node, message_id in sent if message_id}
    for node in set(nodes) - set(waiting.values()):
        failed[node] = "the message could not be sent"
    return waiting
