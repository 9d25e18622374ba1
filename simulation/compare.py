"""The comparison: federated, alone and pooled, over seeds and folds, in one folder.

``compare`` is what ``thyroid-sim compare`` and Jupyter call. It can be interrupted and
called again with the same settings: trained models are kept, a half-trained one goes on
from its last round.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from thyroid_fl.client.site import open_archive
from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.conclusions import conclusions
from thyroid_fl.server.report.findings import read_run, summary_table
from thyroid_fl.server.tracking import log_to_mlflow
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.arms import Training, check_arms, plan
from thyroid_fl.simulation.heat_maps import write_heat_maps
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
from thyroid_fl.simulation.tables import write_tables
from thyroid_fl.simulation.workers import train_all
from thyroid_fl.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The folder of a finished comparison, and its tables.

    Attributes:
        folder: report.html, figures, CSV files, MLflow store.
        tables: of each task one row per model: how good it is on internal and external
            test cases, with intervals.
        results: every estimate (results.csv).
        comparisons: federated minus single and minus pooled (comparisons.csv).
        conclusions: what each task's tables show and do not show, in sentences.
        mlflow_command: the command that opens the runs in MLflow.
    """

    folder: Path
    tables: dict[str, pd.DataFrame]
    results: pd.DataFrame
    comparisons: pd.DataFrame
    conclusions: dict[str, list[str]]
    mlflow_command: str

    @property
    def table(self) -> pd.DataFrame:
        """The table of the only task, or of the first."""
        return next(iter(self.tables.values()))

    def plot(self, task: str = "") -> "Figure":
        """Return the figure of the differences with their intervals.

        Args:
            task: one of several; else the first.
        """
        from thyroid_fl.server.report.figures import difference_figure

        task = task or next(iter(self.tables))
        rows = self.comparisons[self.comparisons["task"] == task]
        return difference_figure(rows).figure

    def _repr_html_(self) -> str:
        tables = [
            (f"<h3>{task}</h3>" if len(self.tables) > 1 else "")
            + table.to_html(index=False)
            for task, table in self.tables.items()
        ]
        report = self.folder / "report.html"
        return f"{''.join(tables)}<p>Report: <code>{report}</code></p>"


def compare(
    *,
    data: str | Path = SYNTHETIC,
    task: str = "classification",
    out: str | Path = "runs/comparison",
    strategies: Sequence[str] = ("fedavg",),
    seeds: int = 1,
    folds: int = 0,
    singles: int = 8,
    tuned: int = 1,
    scale: float = 0.2,
    jobs: int = 0,
    heat_maps: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> Comparison:
    """Train the three arms and say how they differ, with intervals.

    Args:
        data: a manifest, or ``synthetic``: the 208-hospital cohort.
        task: a name in `thyroid_fl.tasks.TASKS`, or ``all``: one after the other, each
            with its preset's defaults, on hospitals whose data allow it.
        out: folder of all outputs; the same folder continues an interrupted run.
        strategies: federated strategies to train.
        seeds: number of trainings with different seeds, 1, 2, ...
        folds: folds of a cross-validation (the dataset's official ones where its
            manifest has them), or 0 for a single split.
        singles: how many hospitals, the largest first, also train alone.
        tuned: how many of them also get up to pooled's number of steps.
        scale: size of the synthetic cohort; 1 is the paper's 10 023 patients.
        jobs: trainings at a time, each in a process of its own; 0: one a core on the
            CPU, one in all on a GPU. A script that calls this needs Python's
            ``if __name__ == "__main__":`` guard.
        heat_maps: how many test pictures the report shows, with the heat of the
            classifier; of itself 4 of synthetic pictures, and none of others: who gets
            the report then sees pictures of patients.
        progress: show progress on stderr.
        settings: fields of `Study`.

    Raises:
        ConfigError: a setting is unknown or out of range, or ``out`` holds another
            comparison.
        ManifestError: the manifest or a picture cannot be used, or a split leaks.
    """
    if heat_maps is not None and heat_maps < 0:
        raise ConfigError(f"heat_maps is {heat_maps}; expected a number of pictures")
    tasks = list(TASKS) if task == "all" else [task]
    chosen = [make_study(task=name, **settings) for name in tasks]
    check_arms(chosen, strategies, seeds)
    _check(folds, singles, tuned)
    out = Path(out)
    refuse_missing(data)
    chosen, jobs = side_by_side(chosen, jobs)
    started = time.time()
    with Progress(enabled=progress) as shown:
        manifest, about_cohort = open_data(data, out, scale, shown)
        chosen = [dataclasses.replace(each, data=str(manifest)) for each in chosen]
        studies = [
            dataclasses.replace(study, seed=seed, fold=fold, n_folds=folds)
            for study in chosen
            for fold in (range(1, folds + 1) if folds else [0])
            for seed in range(1, seeds + 1)
        ]
        claimed = {"strategies": list(strategies), "seeds": seeds, "folds": folds}
        claimed |= {"singles": singles, "tuned": tuned}
        claimed |= {"manifest_sha256": manifest_hash(manifest)}
        contents = identity(out, chosen, "comparison.json", claimed)
        plans = _plans(studies, strategies, singles, tuned, shown)
        # Only now: data that cannot be used leave no folder.
        write_contents(out, contents)
        train_all(plans, out / "trainings", jobs, shown)
        shown.step("evaluating")
        write_tables(plans, out)
        shown.step("looking where the classifiers look")
        n_shown = 4 * (str(data) == SYNTHETIC) if heat_maps is None else heat_maps
        write_heat_maps(plans, out, n_shown)
        facts = provenance(manifest, started) | claimed | about_cohort
        write_json(out / "provenance.json", facts)
        shown.step("writing the report")
        write_report(out)
        shown.step("logging to MLflow")
        mlflow_command = log_to_mlflow(out)
    return open_comparison(out, mlflow_command)


def open_comparison(folder: str | Path, mlflow_command: str = "") -> Comparison:
    """Return a finished comparison from its folder.

    Raises:
        ConfigError: the folder holds no finished comparison.
    """
    run = read_run(Path(folder))
    return Comparison(
        folder=Path(folder),
        tables={
            part.study.task: summary_table(part.results, part.comparisons)
            for part in run.by_task()
        },
        results=run.results,
        comparisons=run.comparisons,
        conclusions={part.study.task: conclusions(part) for part in run.by_task()},
        mlflow_command=mlflow_command,
    )


def _check(folds: int, singles: int, tuned: int) -> None:
    if folds == 1 or folds < 0 or singles < 0 or not 0 <= tuned <= singles:
        raise ConfigError(
            f"folds is {folds} (0, or at least 2), singles {singles}, tuned {tuned} "
            "(at most singles)"
        )


def _plans(
    studies: Sequence[Study],
    strategies: Sequence[str],
    singles: int,
    tuned: int,
    shown: Progress,
) -> list[Training]:
    """Return all trainings of all seeds and folds; the data are opened on the way."""
    plans = []
    for study in studies:
        archive = open_archive(
            study, study.data, progress=shown.counter("preparing pictures")
        )
        refuse_faults(study, archive.left_out)
        plans += plan(
            study, archive, strategies=strategies, n_singles=singles, n_tuned=tuned
        )
    return plans
