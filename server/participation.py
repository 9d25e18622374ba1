"""Who took part in which round, and how many of each hospital's pictures it came to.

``participation.csv`` grows by one row a node and round. Counts: ``n_registered``
pictures in a hospital's manifest, ``n_readable`` of them, ``n_usable`` of these with
what the task needs, and ``n_used`` of these in training; missing where a node told
none. ``outcome`` is used, no training cases, or failed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from flwr.app import ConfigRecord, RecordDict

from thyroid_fl.files import write_whole
from thyroid_fl.strategies.replies import MOST_EXAMPLES, Tally

FILE = "participation.csv"
COUNTS = ("n_registered", "n_readable", "n_usable", "n_used")
COLUMNS = ["round", "node", "outcome", *COUNTS]


def add_round(
    out: Path, server_round: int, tally: Tally, failed: Mapping[int, str]
) -> None:
    """Add the rows of a round to the folder's file, in place of any from then on."""
    rows = pd.DataFrame(list(_rows(server_round, tally, failed)), columns=COLUMNS)
    path = out / FILE
    if path.exists():
        before = pd.read_csv(path)
        rows = pd.concat([before[before["round"] < server_round], rows])
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda unfinished: rows.to_csv(unfinished, index=False))


def _rows(
    server_round: int, tally: Tally, failed: Mapping[int, str]
) -> Iterator[dict[str, Any]]:
    used = set(tally.used)
    for node in sorted(tally.told.keys() | failed.keys()):
        outcome = "used" if node in used else "no training cases"
        yield {
            "round": server_round,
            "node": node,
            "outcome": "failed" if node in failed else outcome,
            **_counts(tally.told.get(node)),
        }


def _counts(told: RecordDict | None) -> dict[str, int]:
    """Return the counts that a node told, as far as they are counts."""
    record = told.get("counts") if told is not None else None
    if not isinstance(record, ConfigRecord):
        return {}
    known = {name: record.get(name.replace("_", "-")) for name in COUNTS}
    return {
        name: n
        for name, n in known.items()
        if isinstance(n, int) and 0 <= n <= MOST_EXAMPLES
    }
