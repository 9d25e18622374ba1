"""The hospital's audit log: one JSON line an event, each chained to the line before.

A line ends with ``"previous"``, the hash of the line before (zeros in the first), and
``"hash"``, the SHA-256 of the line's own text without its hash. So a line that is
changed, removed, added or moved breaks the chain at a place that can be named. What
the file alone cannot show: that its last lines were cut off, or that all of it was
written anew. `thyroid-client audit` prints the last hash to be noted elsewhere.

A crash may leave a last line that is torn. It stays in the file: the next `append`
ends it, adds an event ``torn line`` with its length and SHA-256, and goes on.
"""

import fcntl
import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from thyroid_fl.errors import AuditError

START = "0" * 64
"""``previous`` of the first line."""
TORN = "torn line"
_END = re.compile(rb'"previous": "([0-9a-f]{64})", "hash": "([0-9a-f]{64})"\}')
_END_BYTES = len(f'"previous": "{START}", "hash": "{START}"}}')
_HASH_BYTES = len(f', "hash": "{START}"}}')
_BLOCK = 1 << 16


def append(path: Path, event: Mapping[str, Any]) -> None:
    """Add an event to the log, and force it onto the disk.

    The time is added (UTC); numbers of numpy become plain ones, and a number that is
    not finite becomes text. Several processes may append to one log. Only the end of
    the file is read.

    Args:
        path: the log; made with mode 0600 where it is absent.
        event: what JSON can hold; ``time``, ``previous`` and ``hash`` are the log's.

    Raises:
        AuditError: the log's end is no end of an audit log.
        OSError: the log cannot be written.
    """
    reserved = {"time", "previous", "hash"} & set(event)
    if reserved:
        raise ValueError(f"an event has its own {', '.join(sorted(reserved))}")
    with _locked(path) as log:
        size = log.seek(0, os.SEEK_END)
        start = _start_of_torn(log, size)
        last = _hash_before(log, start, path)
        if start < size:
            torn = _read(log, start, size)
            if not torn.endswith(b"\n"):
                log.write(b"\n")
            torn = torn.rstrip(b"\n")
            if _is_sound(torn):  # only its newline is missing
                last = _END.fullmatch(torn[-_END_BYTES:])[2].decode()  # type: ignore[index]
            else:
                line, last = _line({"event": TORN} | _of_torn(torn), last)
                log.write(line)
        log.write(_line(event, last)[0])
        log.flush()
        os.fsync(log.fileno())


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the events of a log, oldest first, each with its ``line``, from 1.

    Raises:
        AuditError: a line was changed, removed, moved or torn; the first is named.
        OSError: the log cannot be read.
    """
    with path.open("rb") as log:
        fcntl.flock(log, fcntl.LOCK_SH)  # not between a write and its end
        lines = log.read().split(b"\n")
    if not lines[-1]:
        lines.pop()
    events: list[dict[str, Any]] = []
    last, torn = START, b""
    for number, line in enumerate(lines, start=1):
        if not _is_sound(line):
            if torn or not _is_noted(line, lines[number : number + 1]):
                raise AuditError(f"{path} line {number}: {_fault(number, lines)}")
            torn = line
            continue
        event = json.loads(line)
        if event["previous"] != last:
            raise AuditError(
                f"{path} line {number}: it does not follow the line before it; lines "
                "were removed, added or moved here. Keep the file, and tell who is "
                "responsible for data protection"
            )
        events.append(event | {"line": number})
        last, torn = event["hash"], b""
    return events


def described(arrays: Mapping[str, NDArray[Any]]) -> list[dict[str, Any]]:
    """Return what an event says of each array, in their order.

    That is name, shape, dtype, bytes, ``norm`` (L2 norm of the values as they are sent,
    so of the codes where they are whole numbers) and ``sha256`` (of its bytes in C
    order, first 16 hex digits).
    """
    return [_described(name, array) for name, array in arrays.items()]


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    content = np.ascontiguousarray(array).ravel()
    values = content.astype(np.float64)
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "bytes": int(array.nbytes),
        "norm": float(np.sqrt(values @ values)),
        "sha256": hashlib.sha256(content.view(np.uint8).data).hexdigest()[:16],
    }


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    is_new = not path.exists()
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "a+b") as log:
        if is_new:  # else a crash of the machine may lose the whole file
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        fcntl.flock(log, fcntl.LOCK_EX)
        yield log


def _line(event: Mapping[str, Any], previous: str) -> tuple[bytes, str]:
    """Return the event's line and its hash."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    whole = {"time": time} | _plain(event) | {"previous": previous}
    body = json.dumps(whole, allow_nan=False).encode()
    own = hashlib.sha256(body).hexdigest()
    return body[:-1] + f', "hash": "{own}"}}\n'.encode(), own


def _plain(value: Any) -> Any:
    """Return the value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _is_sound(line: bytes) -> bool:
    """Return whether the line's hash is that of its text."""
    end = _END.fullmatch(line[-_END_BYTES:])
    return bool(end) and (
        hashlib.sha256(line[:-_HASH_BYTES] + b"}").hexdigest().encode() == end[2]  # type: ignore[index]
    )


def _of_torn(torn: bytes) -> dict[str, Any]:
    return {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}


def _is_noted(torn: bytes, following: list[bytes]) -> bool:
    """Return whether the next line says that this one was torn."""
    if not following or not _is_sound(following[0]):
        return False
    note: dict[str, Any] = json.loads(following[0])
    return {"event": TORN, **_of_torn(torn)}.items() <= note.items()


def _fault(number: int, lines: list[bytes]) -> str:
    if number == len(lines) and not _END.fullmatch(lines[-1][-_END_BYTES:]):
        return (
            "the last line is torn: the program or the machine stopped while it was "
            "written. The next event will note this and go on"
        )
    return (
        "it was changed after it was written. Keep the file, and tell who is "
        "responsible for data protection"
    )


def _start_of_torn(log: BinaryIO, size: int) -> int:
    """Return where the torn line at the end starts; the size if there is none."""
    if size == 0 or (_END.fullmatch(_read(log, size - _END_BYTES - 1, size - 1)) and (
        _read(log, size - 1, size) == b"\n"
    )):  # fmt: skip
        return size
    end = size - 1  # a newline at the very end belongs to the torn line
    while end > 0:
        block = _read(log, end - _BLOCK, end)
        if (newline := block.rfind(b"\n")) >= 0:
            return end - len(block) + newline + 1
        end -= len(block)
    return 0


def _hash_before(log: BinaryIO, start: int, path: Path) -> str:
    """Return the hash of the line that ends at `start`."""
    if start == 0:
        return START
    end = _END.fullmatch(_read(log, start - _END_BYTES - 1, start - 1))
    if end is None:
        raise AuditError(
            f"{path}: the last lines are no lines of an audit log, so nothing can be "
            "added. Look at it with thyroid-client audit, then move it away"
        )
    return end[2].decode()


def _read(log: BinaryIO, start: int, end: int) -> bytes:
    start = max(0, start)
    log.seek(start)
    return log.read(end - start)
