"""The data summary in one process: each hospital of a manifest is a node of its own."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Message

from thyroid_fl.client.app import app as client_app
from thyroid_fl.client.site import open_archive
from thyroid_fl.client.summary import DEFAULT_MIN_CELL
from thyroid_fl.server.app import app as server_app
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import FOREVER_S
from thyroid_fl.simulation.cohort.pictures import open_cohort
from thyroid_fl.simulation.grid import run_in_process

Show = Callable[[int, int], None]


def summarise(
    data: str | Path,
    out: Path,
    *,
    min_cell: int = DEFAULT_MIN_CELL,
    scale: float = 0.2,
    progress: Show = lambda done, total: None,
    **settings: Any,
) -> None:
    """Ask the hospitals of a manifest what data they have; write tables and figure.

    Args:
        data: a manifest, or ``synthetic``: the 208-hospital cohort, written into
            ``out/cohort``.
        out: see `thyroid_fl.server.summary.summarise`.
        min_cell: the smallest count that a hospital tells.
        scale: size of the synthetic cohort; 1 is the paper's 10 023 patients.
        progress: called with pictures, and then hospitals, done and all.
        settings: fields of `Study`.

    Raises:
        ConfigError: a setting is unknown or out of range.
        ManifestError: the manifest or a picture cannot be used, or the split leaks.
        RoundError: no hospital could answer.
    """
    study = make_study(**settings)
    if str(data) == "synthetic":
        data = open_cohort(out / "cohort", scale=scale, progress=progress)
    study = dataclasses.replace(
        study, data=str(Path(data).resolve()), round_deadline_s=FOREVER_S
    )
    # Opened here first: a fault of the manifest is told in full, not by its kind.
    archive = open_archive(study, study.data, progress=progress)
    hospitals = sorted(archive.table["hospital"].unique())
    answered: list[Message] = []

    def count(reply: Message) -> None:
        answered.append(reply)
        progress(len(answered), len(hospitals))

    run_in_process(
        server_app,
        client_app,
        [{"hospital": name, "min-cell": min_cell} for name in hospitals],
        {"study": study.to_json(), "out": str(out), "ask": "summary"},
        count,
    )
