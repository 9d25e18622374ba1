"""Generalisation matrices: a model of each source, tested on every source.

``matrix`` is what ``thyroid-sim matrix`` and Jupyter call. It can be interrupted and
called again with the same settings, as the comparison.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from thyroid_fl.client.site import open_archive
from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.matrix import cells_table, differences_table, paper_table
from thyroid_fl.server.report.matrix import write_matrix_report
from thyroid_fl.server.report.matrix_findings import read_matrix
from thyroid_fl.server.tracking import log_matrix_to_mlflow
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.arms import Training
from thyroid_fl.simulation.cost import Cost, estimate_cost
from thyroid_fl.simulation.design import write_design
from thyroid_fl.simulation.matrix_design import (
    design_sides,
    source_cases,
    sources_of,
    trainings_of,
)
from thyroid_fl.simulation.progress import Progress
from thyroid_fl.simulation.provenance import manifest_hash, provenance
from thyroid_fl.simulation.run_folder import (
    SYNTHETIC,
    identity,
    open_data,
    refuse_faults,
    refuse_missing,
    side_by_side,
    write_contents,
    write_json,
)
from thyroid_fl.simulation.workers import PREDICTIONS, train_all
from thyroid_fl.tasks import build_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPLITS = ("patient", "hospital", "manifest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The folder of a finished matrix, and its tables.

    Attributes:
        folder: report.html, figures, CSV files.
        table: in the shape of Tables 3-5 of Xu et al. 2023.
        cells: every cell, with interval, n and spread over the seeds (matrix.csv).
        differences: paired, in every column (differences.csv).
        headlines: what it shows and does not show, a sentence each.
        mlflow_command: the command that opens the matrix in MLflow.
    """

    folder: Path
    table: pd.DataFrame
    cells: pd.DataFrame
    differences: pd.DataFrame
    headlines: list[str]
    mlflow_command: str

    def plot(self) -> "Figure":
        """Return the matrix as a heat map."""
        from thyroid_fl.server.report.matrix_figure import matrix_figure

        return matrix_figure(self.cells).figure

    def _repr_html_(self) -> str:
        report = self.folder / "report.html"
        said = "".join(f"<li>{line}</li>" for line in self.headlines)
        table = self.table.to_html(index=False)
        return f"{table}<ul>{said}</ul><p>Report: <code>{report}</code></p>"


def matrix(
    *,
    by: str,
    data: str | Path = SYNTHETIC,
    task: str = "classification",
    out: str | Path = "runs/matrix",
    sources: int = 0,
    seeds: int = 3,
    scale: float = 0.2,
    jobs: int = 0,
    progress: bool = True,
    on_cost: Callable[[Cost], None] = print,
    **settings: Any,
) -> Matrix:
    """Train on each source, on all others, on all; test on each, with intervals.

    Args:
        by: hospital (the 8 largest), vendor (the 5 largest, and the others together)
            or region.
        data: a manifest, or ``synthetic``: the 208-hospital cohort.
        task: a name in `thyroid_fl.tasks.TASKS`.
        out: folder of all outputs; the same folder continues an interrupted run.
        sources: how many sources, the largest first; 0: as above.
        seeds: number of trainings of each model with different seeds, 1, 2, ...; more
            of them later go on in the same folder.
        scale: size of the synthetic cohort; 1 is the paper's 10 023 patients.
        jobs: trainings at a time, as in `compare`.
        progress: show progress on stderr.
        on_cost: called before the first training with what all will cost.
        settings: fields of `Study`. The split is ``patient`` unless it is given;
            ``hospital`` tests on hospitals that trained nothing.

    Raises:
        ConfigError: a setting is unknown or out of range, ``out`` holds another run,
            or there are fewer than two sources to train and test.
        ManifestError: the manifest or a picture cannot be used, or a split leaks.
    """
    study = make_study(task=task, **({"split": "patient"} | settings))
    _check(study, by, sources, seeds)
    build_model(study)  # what a task refuses is refused before anything is drawn
    out = Path(out)
    refuse_missing(data)
    (study,), jobs = side_by_side([study], jobs)
    started = time.time()
    with Progress(enabled=progress) as shown:
        manifest, about_cohort = open_data(data, out, scale, shown)
        study = dataclasses.replace(study, data=str(manifest))
        # Not the number of seeds: more of them go on in the same folder.
        claimed = {"by": by, "sources": sources}
        claimed |= {"manifest_sha256": manifest_hash(manifest)}
        contents = identity(out, [study], "matrix.json", claimed)
        archive = open_archive(
            study, manifest, progress=shown.counter("preparing pictures")
        )
        refuse_faults(study, archive.left_out)
        cases = source_cases(archive.table, by, sources)
        sides = design_sides(cases, study.split_seed)
        split = write_design(cases, sides, out)
        trainings = [
            training
            for seed in range(1, seeds + 1)
            for training in trainings_of(
                dataclasses.replace(study, split=split, seed=seed), cases, sides
            )
        ]
        write_contents(out, contents)
        _sizes(cases).to_csv(out / "sources.csv", index=False)
        n_train = [int((side == "train").sum()) for side in sides.values()]
        of_each = [n_train[training.study.fold - 1] for training in trainings]
        cost = estimate_cost(trainings, of_each, jobs)
        on_cost(cost)
        train_all(trainings, out / "trainings", jobs, shown)
        shown.step("evaluating")
        _write_tables(trainings, out)
        facts = provenance(manifest, started) | claimed | about_cohort
        facts |= {"estimated_cost": str(cost)}
        write_json(out / "provenance.json", facts)
        shown.step("writing the report")
        write_matrix_report(out)
        shown.step("logging to MLflow")
        mlflow_command = log_matrix_to_mlflow(out)
    return open_matrix(out, mlflow_command)


def open_matrix(folder: str | Path, mlflow_command: str = "") -> Matrix:
    """Return a finished matrix from its folder.

    Raises:
        ConfigError: the folder holds no finished matrix.
    """
    run = read_matrix(Path(folder))
    return Matrix(
        folder=Path(folder),
        table=paper_table(run.cells),
        cells=run.cells,
        differences=run.differences,
        headlines=run.headlines,
        mlflow_command=mlflow_command,
    )


def _check(study: Study, by: str, sources: int, seeds: int) -> None:
    if seeds < 1 or sources < 0 or sources == 1:
        raise ConfigError(
            f"seeds is {seeds} (at least 1), sources {sources} (0, or at least 2)"
        )
    if study.split not in SPLITS or (by, study.split) == ("hospital", "hospital"):
        allowed = [s for s in SPLITS if (by, s) != ("hospital", "hospital")]
        raise ConfigError(
            f"split is {study.split!r}; a matrix by {by} holds each source out by "
            f"itself and takes one of: {', '.join(allowed)}"
        )


def _sizes(cases: pd.DataFrame) -> pd.DataFrame:
    """Return patients, malignant ones and images by source and side."""
    sizes = pd.DataFrame({"source": sources_of(cases)}).set_index("source")
    patients = cases.groupby(["hospital", "split", "patient_id"])["malignant"].max()
    for side in ("train", "val", "test"):
        of_side = cases["hospital"][cases["split"] == side]
        counts = {
            "patients": patients[:, side].groupby("hospital").size(),
            "malignant": patients[:, side].groupby("hospital").sum(),
            "images": of_side.value_counts(),
        }
        for name, counted in counts.items():
            sizes[f"n_{side}_{name}"] = counted
    return sizes.fillna(0).astype(int).reset_index()


def _write_tables(trainings: list[Training], out: Path) -> None:
    """Write predictions.parquet, matrix.csv, differences.csv and table.csv."""
    folder = out / "trainings"
    predictions = pd.concat(
        [pd.read_parquet(folder / t.folder / PREDICTIONS) for t in trainings],
        ignore_index=True,
    )
    predictions.to_parquet(out / "predictions.parquet")
    cells = cells_table(predictions)
    cells.to_csv(out / "matrix.csv", index=False)
    differences_table(predictions).to_csv(out / "differences.csv", index=False)
    paper_table(cells).to_csv(out / "table.csv", index=False)
