"""Who took part in which round, with how many pictures, and what went over the line.

``participation.csv`` grows by one row a node and round; ``hospital`` is its name where
it is known, and ``reason`` says why one failed. Counts: ``n_registered``
pictures in a hospital's manifest, ``n_readable`` of them, ``n_usable`` of these with
what the task needs, and ``n_used`` of these in training; missing where a node told
none. ``outcome`` is used, no training cases, or failed.

``traffic.csv`` grows by one row a request, of training as of validation: the bytes of
its records there and back, and the seconds from the step's start to the reply.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from flwr.app import ConfigRecord, RecordDict

from thyroid_fl.files import write_whole
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.strategies.replies import MOST_EXAMPLES, Tally

FILE = "participation.csv"
COUNTS = ("n_registered", "n_readable", "n_usable", "n_used")
COLUMNS = ["round", "node", "hospital", "outcome", "reason", *COUNTS]
TRAFFIC = "traffic.csv"


def add_round(
    out: Path,
    server_round: int,
    tally: Tally,
    failed: Mapping[int, str],
    names: Mapping[int, str],
) -> None:
    """Add the rows of a round to the folder's file, in place of any from then on."""
    found = list(_rows(server_round, tally, failed, names))
    rows = pd.DataFrame(found, columns=COLUMNS)
    path = out / FILE
    if path.exists():
        # A hospital may be called NA.
        before = pd.read_csv(path, keep_default_na=False, na_values=[""])
        rows = pd.concat([before[before["round"] < server_round], rows])
    out.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda unfinished: rows.to_csv(unfinished, index=False))


def add_trips(out: Path, hospitals: Hospitals) -> None:
    """Move the finished requests from the list to the folder's file."""
    names = hospitals.names()
    rows = [
        {
            "round": trip.server_round,
            "step": trip.step,
            "node": trip.node,
            "hospital": names.get(trip.node, ""),
            "outcome": trip.outcome,
            "sent_bytes": trip.sent_bytes,
            "received_bytes": trip.received_bytes,
            "seconds": trip.seconds,
        }
        for trip in hospitals.trips
    ]
    hospitals.trips.clear()
    out.mkdir(parents=True, exist_ok=True)
    path = out / TRAFFIC
    pd.DataFrame(rows).to_csv(path, mode="a", header=not path.exists(), index=False)


def _rows(
    server_round: int,
    tally: Tally,
    failed: Mapping[int, str],
    names: Mapping[int, str],
) -> Iterator[dict[str, Any]]:
    used = set(tally.used)
    for node in sorted(tally.told.keys() | failed.keys()):
        outcome = "used" if node in used else "no training cases"
        yield {
            "round": server_round,
            "node": node,
            "hospital": names.get(node, ""),
            "outcome": "failed" if node in failed else outcome,
            "reason": failed.get(node, ""),
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
