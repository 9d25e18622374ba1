"""What every reader returns: the rows of a manifest, and an account of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from PIL import Image


@dataclass(frozen=True, slots=True)
class Note:
    """Why some pictures were mended or left out."""

    reason: str
    image_ids: tuple[str, ...]
    unit: str = "picture"
    """What `image_ids` name, where it is no picture of the manifest; a ``file`` has the
    name that is its path in the source."""

    @classmethod
    def of(cls, reason: str, rows: pd.DataFrame) -> "Note":
        """Return the note on the pictures of these rows."""
        return cls(reason, tuple(rows["image_id"]))


@dataclass(frozen=True, slots=True)
class Import:
    """Pictures that a source offers, unchecked.

    `rows` are kept: columns of the manifest, indexed by the line of `table` (the
    source's own list) that they come from; their paths start at the source's folder.
    """

    rows: pd.DataFrame
    table: Path
    mended: tuple[Note, ...] = ()
    warned: tuple[Note, ...] = ()
    """Kept as they are; a person should look at them."""
    left_out: tuple[Note, ...] = ()
    """The import adds the picture files that neither rows nor notes on files name."""
    drawn: Mapping[str, Callable[[], Image.Image]] = field(default_factory=dict)
    """By path in `rows`: draws a picture, or a mask of mode "1", that is no file of the
    source. May raise `UNREADABLE`. The path ends in .png."""
    is_lenient: bool = False
    """Whether what cannot be used is left out instead of refused: of a published
    data set, or of what a scanner wrote, the user cannot mend it."""
