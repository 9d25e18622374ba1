"""One request to one hospital: what it weighed, and in words what became of it."""

import math
import re
from dataclasses import dataclass

from flwr.app import Error, RecordDict
from flwr.common.constant import ErrorCode

LONGEST_REASON = 500
"""Characters of a hospital's words that are kept."""
WORDS = {
    ErrorCode.NODE_UNAVAILABLE: "it went offline: its machine, its line or "
    "thyroid-client has stopped; it takes part again as soon as it is back",
    ErrorCode.CLIENT_APP_CRASHED: "its training process was killed or ran out of "
    "memory: look at the hospital's log and at its free memory",
    ErrorCode.LOAD_CLIENT_APP_EXCEPTION: "its thyroid-fl cannot be loaded: install it "
    "again there",
    ErrorCode.INVALID_FAB: "it refused the bundle: start studies with thyroid-server "
    "run only",
    ErrorCode.MESSAGE_UNAVAILABLE: "the request expired before it was answered",
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE: "its answer came too late",
}
"""What Flower's error codes mean, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trip:
    """One request to one hospital, and what became of it."""

    node: int
    step: str
    """Flower's message type: train, evaluate, ..."""
    server_round: int
    sent_bytes: int
    """Size of the message's records."""
    received_bytes: int = 0
    seconds: float = math.nan
    """From the sending of all requests of the step to this reply."""
    outcome: str = ""
    """``answered``, or why there is nothing to use."""


def words_of(error: Error) -> str:
    """Return what an error reply means; a hospital's own words without Flower's."""
    reason = error.reason or f"error {error.code}"
    told = re.fullmatch(r"<class '[\w.]+'>:<'(.*)'>", reason, flags=re.DOTALL)
    reason = " ".join(((told and told[1]) or reason).split())[:LONGEST_REASON]
    if error.code == ErrorCode.INVALID_FAB:  # its reason is the hospital's
        return f"{WORDS[error.code]} ({reason})"
    return WORDS.get(error.code, reason)


def n_bytes(content: RecordDict) -> int:
    """Return the size of a message's records."""
    return sum(record.count_bytes() for record in content.values())
