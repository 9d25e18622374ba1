"""Files that are whole or as they were before, whatever happens."""

import os
from collections.abc import Callable
from pathlib import Path


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
