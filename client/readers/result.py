"""What every reader returns: the rows of a manifest, and an account of them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True, slots=True)
class Note:
    """Why some pictures were mended or left out."""

    reason: str
    image_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Import:
    """Pictures that a source offers, unchecked.

    `rows` are kept: columns of the manifest, indexed by the line of `table` (the
    source's own list) that they come from; their paths start at the source's folder.
    """

    rows: pd.DataFrame
    table: Path
    mended: tuple[Note, ...] = ()
    left_out: tuple[Note, ...] = ()
