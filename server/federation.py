"""A federation's folder as the report reads it: what is there, and what it says."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError, safe_open

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.participation import COUNTS
from thyroid_fl.server.participation import FILE as PARTICIPATION
from thyroid_fl.server.site_results import SITE_FILE, TEST_FILE
from thyroid_fl.settings import Study

TRAFFIC = "traffic.csv"
HISTORY = "history.csv"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Federation:
    """What a folder holds of a federation; None or empty where a file is absent."""

    name: str
    study: Study
    version: str
    """Of thyroid-fl, that wrote the model; empty while there is none."""
    model_sha256: str
    """In hexadecimal; empty while there is no model."""
    last_round: int
    best_round: int
    history: pd.DataFrame
    """One row a round, from round 0."""
    participation: pd.DataFrame | None
    """One row a node and round; with the columns hospital and reason."""
    traffic: pd.DataFrame | None
    """One row a node and round: hospital, sent_bytes and received_bytes."""
    sites: pd.DataFrame | None
    """``site_results.csv``."""
    tests: pd.DataFrame | None
    """``test_results.csv``."""


def read_federation(folder: Path) -> Federation:
    """Return what the folder of a federation holds, finished or not.

    Raises:
        ConfigError: it holds none, or a file cannot be read.
    """
    path = folder / "checkpoint" / "checkpoint.json"
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        study = Study.from_json(json.dumps(saved["study"]))
        history = _table(folder / HISTORY)
        return Federation(
            name=folder.resolve().name,
            study=study,
            version=_version(folder / "model.safetensors"),
            model_sha256=_sha256(folder / "model.safetensors"),
            last_round=int(saved["last_round"]),
            best_round=int(saved["best_round"]),
            history=pd.DataFrame(saved["history"]) if history is None else history,
            participation=_named(_table(folder / PARTICIPATION)),
            traffic=_named(_table(folder / TRAFFIC)),
            sites=_table(folder / SITE_FILE),
            tests=_table(folder / TEST_FILE),
        )
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} holds no federation ({path.name} is absent): name the folder "
            "of a study that was run, with one round or more"
        ) from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{folder}: cannot read the federation: {error}") from error


def is_ranking(federation: Federation) -> bool:
    """Return whether the test is one of scores, not of means such as Dice."""
    tables = [each for each in (federation.sites, federation.tests) if each is not None]
    return any((table["metric"] == "auc").any() for table in tables)


def mebibytes(n_bytes: float) -> str:
    """Return a number of bytes in words.

    >>> mebibytes(3 * 2**20), mebibytes(5000)
    ('3.0 MiB', '0.0 MiB')
    """
    return f"{n_bytes / 2**20:,.1f} MiB"


def rounds_words(rounds: "pd.Series[int]") -> str:
    """Return rounds as runs.

    >>> rounds_words(pd.Series([5, 1, 7]))
    '1, 5, 7'
    """
    numbers = rounds.drop_duplicates().sort_values()
    runs = numbers.groupby((numbers.diff() != 1).cumsum()).agg(["min", "max"])
    return ", ".join(
        str(first) if first == last else f"{first}\u2013{last}"
        for first, last in runs.to_numpy().tolist()
    )


def taken_part(federation: Federation) -> pd.DataFrame:
    """Return one row a hospital: rounds by outcome, its counts, and its bytes.

    Columns hospital, used, no_cases, failed, those of `COUNTS` (the last that it told),
    sent_bytes and received_bytes; NaN where not known.
    """
    rows = federation.participation
    assert rows is not None, "who took part is known"
    outcomes = pd.crosstab(rows["hospital"], rows["outcome"])
    names = {"used": "used", "no training cases": "no_cases", "failed": "failed"}
    outcomes = outcomes.reindex(columns=list(names), fill_value=0).rename(columns=names)
    counts = rows.sort_values("round").groupby("hospital")[list(COUNTS)].last()
    table = outcomes.join(counts)
    columns = ["sent_bytes", "received_bytes"]
    if federation.traffic is not None:
        table = table.join(federation.traffic.groupby("hospital")[columns].sum())
    return table.reindex(columns=[*names.values(), *COUNTS, *columns]).reset_index()


def _table(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    # A hospital may be called NA or 007.
    names = dict.fromkeys(("node", "hospital", "hospitals", "reason"), "str")
    return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def _named(table: pd.DataFrame | None) -> pd.DataFrame | None:
    """Return the table with a hospital and a reason in each row, if only in name."""
    if table is None:
        return None
    absent = pd.Series(pd.NA, table.index, dtype="str")
    hospital = table.get("hospital", absent).astype("str")
    reason = table.get("reason", absent).astype("str")
    return table.assign(hospital=hospital.fillna(table["node"]), reason=reason)


def _version(path: Path) -> str:
    if not path.exists():
        return ""
    try:
        with safe_open(path, "np") as model:
            described = model.metadata() or {}
    except SafetensorError as error:
        raise ConfigError(f"{path}: cannot read the model: {error}") from error
    return str(described.get("thyroid_fl", ""))


def _sha256(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as model:
        return hashlib.file_digest(model, "sha256").hexdigest()
