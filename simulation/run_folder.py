"""The folder of a run: its data, what was claimed of it, and who may go on in it."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from thyroid_fl.devices import choose_device
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.server.checkpoint import FREE_SETTINGS
from thyroid_fl.settings import Study
from thyroid_fl.simulation.cohort.pictures import open_cohort
from thyroid_fl.simulation.progress import Progress

SYNTHETIC = "synthetic"


def refuse_missing(data: str | Path) -> None:
    """Raise a ConfigError if there is no such manifest."""
    if str(data) != SYNTHETIC and not Path(data).is_file():
        raise ConfigError(
            f"{data}: no such manifest; `thyroid-client import` makes one, or use "
            "'synthetic'"
        )


def open_data(
    data: str | Path, out: Path, scale: float, shown: Progress
) -> tuple[Path, dict[str, Any]]:
    """Return the manifest, the synthetic cohort's written first, and its facts."""
    if str(data) != SYNTHETIC:
        return Path(data).resolve(), {"cohort": None, "bayes_auc": None}
    manifest = open_cohort(
        out.resolve() / "cohort",
        scale=scale,
        progress=shown.counter("drawing pictures"),
    )
    return manifest, json.loads((manifest.parent / "cohort.json").read_text())


def identity(
    out: Path, studies: Sequence[Study], name: str, claimed: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return what says which run a folder holds: JSON contents by file name.

    Args:
        out: the run's folder.
        studies: one a task, before a design changes their split.
        name: of the file that holds what is ``claimed`` of this kind of run.
        claimed: what is no setting of a study.

    Raises:
        ConfigError: the folder holds trained rounds of a run with other settings.
    """
    settings = {study.task: json.loads(study.to_json()) for study in studies}
    contents = {"study.json": settings, name: claimed}
    if any(out.glob("trainings/*/*/checkpoint/checkpoint.json")):
        _refuse_other(out, contents)
    return contents


def write_contents(out: Path, contents: dict[str, dict[str, Any]]) -> None:
    """Write JSON contents by file name into a folder, made if need be."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_json(out / name, content)


def _refuse_other(out: Path, contents: dict[str, dict[str, Any]]) -> None:
    for name, content in contents.items():
        path = out / name
        before = json.loads(path.read_text()) if path.exists() else content
        differing = _differing(before, content)
        if differing:
            raise ConfigError(
                f"{out} holds a run with other settings ({', '.join(differing)})"
                ": choose another --out, or remove the folder"
            )


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return the settings that differ, those within a task's among them."""
    found: set[str] = set()
    for name, value in now.items():
        known = before.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            found |= set(_differing(known, value))
        elif known != value and name not in FREE_SETTINGS:
            found.add(name)
    return sorted(found)


def refuse_faults(study: Study, left_out: pd.DataFrame) -> None:
    """Raise if a file cannot be used: what is compared must not lose it in silence.

    In a federation a hospital leaves it out and counts it.
    """
    faults = left_out.loc[left_out["is_fault"].astype(bool), "reason"]
    if len(faults):
        listed = "".join(f"\n  {reason}" for reason in faults.head(10))
        more = f"\n  and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise ManifestError(
            f"{study.data}: {len(faults)} files cannot be used; mend or remove them, "
            f"`thyroid-client check` names each with its line:{listed}{more}"
        )


def side_by_side(studies: list[Study], jobs: int) -> tuple[list[Study], int]:
    """Return the studies with their threads, and how many trainings run at a time."""
    n_cores, study = len(os.sched_getaffinity(0)), studies[0]
    if not jobs:
        on_cpu = choose_device(study.device).type == "cpu"
        jobs = n_cores // (study.threads or 1) if on_cpu else 1
    threads = study.threads or max(1, n_cores // max(1, jobs))
    threaded = [dataclasses.replace(each, threads=threads) for each in studies]
    return threaded, max(1, jobs)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON in one step."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True))
    partial.replace(path)
