"""The comparison: federated, alone and pooled, over seeds and folds, in one folder.

``compare`` is what ``thyroid-sim compare`` and Jupyter call. It can be interrupted and
called again with the same settings: trained models are kept, a half-trained one goes on
from its last round.
"""

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from thyroid_fl.client.site import open_archive
from thyroid_fl.devices import choose_device
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.server.checkpoint import FREE_SETTINGS
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.conclusions import conclusions
from thyroid_fl.server.report.findings import read_run, summary_table
from thyroid_fl.server.tracking import log_to_mlflow
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.arms import Training, plan
from thyroid_fl.simulation.cohort.pictures import open_cohort
from thyroid_fl.simulation.progress import Progress
from thyroid_fl.simulation.provenance import manifest_hash, provenance
from thyroid_fl.simulation.tables import write_tables
from thyroid_fl.simulation.workers import train_all
from thyroid_fl.strategies import STRATEGIES
from thyroid_fl.tasks import TASKS, build_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYNTHETIC = "synthetic"


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
        progress: show progress on stderr.
        settings: fields of `Study`.

    Raises:
        ConfigError: a setting is unknown or out of range, or ``out`` holds another
            comparison.
        ManifestError: the manifest or a picture cannot be used, or a split leaks.
    """
    tasks = list(TASKS) if task == "all" else [task]
    chosen = [make_study(task=name, **settings) for name in tasks]
    _check(strategies, seeds, folds, singles, tuned)
    for each in chosen:
        for name in strategies:  # with settings that it cannot work with
            dataclasses.replace(each, strategy=name)
        build_model(each)  # what a task refuses is refused before anything is drawn
    out = Path(out)
    if str(data) != SYNTHETIC and not Path(data).is_file():
        raise ConfigError(
            f"{data}: no such manifest; `thyroid-client import` makes one, or use "
            "'synthetic'"
        )
    chosen, jobs = _side_by_side(chosen, jobs)
    started = time.time()
    with Progress(enabled=progress) as shown:
        manifest, about_cohort = _manifest(data, out, scale, shown)
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
        settled = {each.task: json.loads(each.to_json()) for each in chosen}
        contents = {"study.json": settled}
        contents |= {"comparison.json": claimed}
        _refuse_other(out, contents)
        plans = _plans(studies, strategies, singles, tuned, shown)
        # Only now: data that cannot be used leave no folder.
        out.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write_json(out / name, content)
        train_all(plans, out / "trainings", jobs, shown)
        shown.step("evaluating")
        write_tables(plans, out)
        facts = provenance(manifest, started) | claimed | about_cohort
        _write_json(out / "provenance.json", facts)
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


def _check(
    strategies: Sequence[str], seeds: int, folds: int, singles: int, tuned: int
) -> None:
    for name in strategies:
        if name not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ConfigError(f"no strategy {name!r}; expected some of: {known}")
    if not strategies or seeds < 1:
        raise ConfigError("at least one strategy and one seed are needed")
    if folds == 1 or folds < 0 or singles < 0 or not 0 <= tuned <= singles:
        raise ConfigError(
            f"folds is {folds} (0, or at least 2), singles {singles}, tuned {tuned} "
            "(at most singles)"
        )


def _manifest(
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


def _refuse_other(out: Path, contents: dict[str, dict[str, Any]]) -> None:
    """Raise if the folder holds trained rounds of a comparison with other settings."""
    if not any(out.glob("trainings/*/*/checkpoint/checkpoint.json")):
        return
    for name, content in contents.items():
        path = out / name
        before = json.loads(path.read_text()) if path.exists() else content
        differing = _differing(before, content)
        if differing:
            raise ConfigError(
                f"{out} holds a comparison with other settings ({', '.join(differing)})"
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
        _refuse_faults(study, archive.left_out)
        plans += plan(
            study, archive, strategies=strategies, n_singles=singles, n_tuned=tuned
        )
    return plans


def _refuse_faults(study: Study, left_out: pd.DataFrame) -> None:
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


def _side_by_side(studies: list[Study], jobs: int) -> tuple[list[Study], int]:
    """Return the studies with their threads, and how many trainings run at a time."""
    n_cores, study = len(os.sched_getaffinity(0)), studies[0]
    if not jobs:
        on_cpu = choose_device(study.device).type == "cpu"
        jobs = n_cores // (study.threads or 1) if on_cpu else 1
    threads = study.threads or max(1, n_cores // max(1, jobs))
    threaded = [dataclasses.replace(each, threads=threads) for each in studies]
    return threaded, max(1, jobs)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2, sort_keys=True))
    partial.replace(path)
