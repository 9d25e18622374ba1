"""When the centre was last heard of, for `thyroid-client status`."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Contact:
    """The last answer of the centre to the question whether there is work."""

    time_s: float
    """Seconds since 1970."""
    is_working: bool
    """Whether there was: then it is asked again only after the work is done."""


def write_contact(path: Path, contact: Contact) -> None:
    """Replace the file at once, so that no reader sees half of it."""
    unfinished = path.with_suffix(".writing")
    unfinished.write_text(json.dumps(dataclasses.asdict(contact)), encoding="utf-8")
    os.replace(unfinished, path)  # noqa: PTH105 - the one atomic call


def silent_s(path: Path, now_s: float) -> float | None:
    """Return the seconds since the last contact, or None where there was none."""
    contact = read_contact(path)
    return None if contact is None else now_s - contact.time_s


def read_contact(path: Path) -> Contact | None:
    """Return the last contact, or None where there was none."""
    try:
        return Contact(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
