"""Studies at the centre: start, stop, go on, and how far they are.

``runs/NAME/run.json`` keeps what was asked and Flower's run ids; the ServerApp writes
checkpoint and model beside it.
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flwr.supercore.control import ControlHttpClient

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import alone, write_text
from thyroid_fl.server.centre.bundle import build_bundle
from thyroid_fl.server.centre.control import (
    FlowerRun,
    control,
    runs,
    start_run,
    stop_run,
)
from thyroid_fl.server.centre.folder import PATIENCE_S, Centre
from thyroid_fl.settings import Study, make_study, read_settings

Ask = Literal["training", "summary"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What ``run.json`` keeps of a study."""

    name: str
    study: Study
    ask: Ask
    run_ids: tuple[int, ...]
    """Flower's, in the order of their start; the last one counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a study is."""

    record: Record
    state: str
    """``running``, ``finished``, ``failed``, ``stopped``, ``unknown``, or Flower's
    ``pending`` and ``starting``."""
    why: str
    """Of one that failed, as far as Flower knows; else empty."""
    last_round: int
    """0: none is done."""
    best_round: int
    """0: none is known."""


def read_study(path: Path) -> Study:
    """Return the study of a file that hospitals with data of their own can answer.

    Raises:
        ConfigError: the file cannot be read, or a setting is wrong, or the split is one
            over all hospitals, which nobody here can make.
    """
    study = make_study(**read_settings(path))
    if study.split not in ("patient", "manifest"):
        raise ConfigError(
            f"{path}: split is {study.split!r}, for which one needs all hospitals' "
            "pictures in one place; each hospital splits its own: use 'patient' (7:2:1 "
            "of its patients), or 'manifest' (its manifest's column split; a hospital "
            "with test in all rows is external)"
        )
    return study


def start_study(centre: Centre, study: Study, name: str, ask: Ask) -> Record:
    """Start a study under a name; return its record.

    Where the name exists with the same study, it goes on after its last round.

    Raises:
        ConfigError: the name is not safe, exists with another study, or runs already;
            or the SuperLink does not run.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', and begin "
            "with a letter or digit"
        )
    with alone(centre.lock, PATIENCE_S):
        if _path(centre, name).exists():
            record = read_record(centre, name)
            if (record.study, record.ask) != (study, ask):
                raise ConfigError(
                    f"{name} exists with another study ({_differing(record, study)}): "
                    f"choose another --name, or go on with the old one: "
                    f"thyroid-server resume {name}"
                )
            return _start(centre, record)
        return _start(centre, Record(name=name, study=study, ask=ask, run_ids=()))


def resume_study(centre: Centre, name: str) -> Record:
    """Start a study again, which goes on after its last round; return its record.

    Raises:
        ConfigError: there is no such study, it runs, or the SuperLink does not.
    """
    with alone(centre.lock, PATIENCE_S):
        return _start(centre, read_record(centre, name))


def stop_study(centre: Centre, name: str) -> Record:
    """Stop a study; its rounds are kept; return its record.

    Raises:
        ConfigError: there is no such study, it does not run, or the SuperLink does not.
    """
    record = read_record(centre, name)
    with control(centre) as client:
        if not (run := _last(record, runs(client))) or run.status == "finished":
            raise ConfigError(f"{name} does not run: nothing to stop")
        stop_run(client, record.run_ids[-1])
    return record


def standings(centre: Centre) -> tuple[Standing, ...]:
    """Return how far each study is, by name; states are unknown without a SuperLink.

    Raises:
        ConfigError: a ``run.json`` is damaged.
    """
    names = sorted(path.parent.name for path in centre.root.glob("runs/*/run.json"))
    records = [read_record(centre, name) for name in names]
    try:
        with control(centre) as client:
            known = runs(client)
    except ConfigError:
        known = {}
    return tuple(_standing(centre, one, known) for one in records)


def standing_of(centre: Centre, client: ControlHttpClient, record: Record) -> Standing:
    """Return how far one study is."""
    return _standing(centre, record, runs(client))


def read_record(centre: Centre, name: str) -> Record:
    """Return what is kept of a study.

    Raises:
        ConfigError: there is no such study, or its ``run.json`` is damaged.
    """
    path = _path(centre, name) if _NAME.fullmatch(name) else None
    if path is None or not path.exists():
        names = sorted(p.parent.name for p in centre.root.glob("runs/*/run.json"))
        raise ConfigError(
            f"no study {name!r}; there are: {', '.join(names) or '(none)'}"
        )
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            name=name,
            study=Study(**kept["study"]),
            ask=kept["ask"],
            run_ids=tuple(map(int, kept["run_ids"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: damaged ({error})") from error


def _start(centre: Centre, record: Record) -> Record:
    """Start the study in the folder of its name, which is made for the first run."""
    out = centre.run(record.name)
    with control(centre) as client:
        run = _last(record, runs(client))
        if run and run.status != "finished":
            raise ConfigError(
                f"{record.name} runs already: see thyroid-server status, or stop it "
                f"first: thyroid-server stop {record.name} (that a ServerApp was "
                "killed is noticed after a minute)"
            )
        is_new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        try:
            config = {
                "study": record.study.to_json(),
                "out": str(out),
                "hospitals": str(centre.hospitals),
                "ask": record.ask,
            }
            run_id = start_run(client, build_bundle(), config)
        except BaseException:
            if is_new:
                shutil.rmtree(out)
            raise
        started = replace(record, run_ids=(*record.run_ids, run_id))
        _write(centre, started)
    return started


def _write(centre: Centre, record: Record) -> None:
    kept = {
        "study": json.loads(record.study.to_json()),
        "ask": record.ask,
        "run_ids": list(map(str, record.run_ids)),  # larger than JSON readers can hold
    }
    write_text(_path(centre, record.name), json.dumps(kept, indent=1) + "\n")


def _path(centre: Centre, name: str) -> Path:
    return centre.run(name) / "run.json"


def _last(record: Record, known: Mapping[int, FlowerRun]) -> FlowerRun | None:
    return known.get(record.run_ids[-1]) if record.run_ids else None


def _standing(
    centre: Centre, record: Record, known: Mapping[int, FlowerRun]
) -> Standing:
    run = _last(record, known)
    state = "unknown"
    if run is not None:
        state = run.status if run.status != "finished" else run.outcome
        state = {"completed": "finished"}.get(state, state)
    progress = _progress(centre.run(record.name))
    return Standing(
        record=record,
        state=state,
        why=run.details if run is not None and state == "failed" else "",
        last_round=progress.get("last_round", 0),
        best_round=progress.get("best_round", 0),
    )


def _progress(out: Path) -> dict[str, Any]:
    """Return what the checkpoint says; it is replaced whole, so that it can be read."""
    path = out / "checkpoint" / "checkpoint.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _differing(record: Record, study: Study) -> str:
    old, new = json.loads(record.study.to_json()), json.loads(study.to_json())
    names: Sequence[str] = [name for name in new if old[name] != new[name]]
    return ", ".join(names) or f"ask is {record.ask}"
