"""Files that are whole or as they were before, whatever happens; one writer a time."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from thyroid_fl.errors import ConfigError

LOOK_S = 0.2


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, onto the disk, and put it in place in one step.

    Args:
        path: the file; it is as before until it is complete.
        write: writes the path that it is given.
    """
    unfinished = path.with_name(path.name + ".tmp")
    write(unfinished)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_text(path: Path, content: str, mode: int = 0o644) -> None:
    """Put a text in place in one step, with these permissions from its first byte."""

    def write(unfinished: Path) -> None:
        unfinished.unlink(missing_ok=True)
        create(unfinished, content.encode(), mode)

    write_whole(path, write)


def create(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a new file that never had other permissions than these.

    Raises:
        FileExistsError: it is there already.
    """
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, new, mode), "wb") as file:
        file.write(content)


@contextmanager
def alone(lock: Path, wait_s: float) -> Iterator[None]:
    """Keep other processes out of a block; the system lets go when a process dies.

    Args:
        lock: a file for this alone; it stays.
        wait_s: how long to wait for another process to leave its block.

    Raises:
        ConfigError: it did not leave.
    """
    end = time.monotonic() + wait_s
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ConfigError(
                        f"{lock.parent}: another process works here and did not end "
                        f"within {wait_s:g} s: end it, then try again"
                    ) from None
                time.sleep(LOOK_S)
        yield
