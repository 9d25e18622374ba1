"""A finished comparison in MLflow: a parent run with the results, one run per model.

A matrix in the comparison's folder is a run of its own beside it; one with a folder of
its own has a store there.
Everything stays in the folder: ``mlflow.db`` (SQLite) and ``mlartifacts``.
Per-image predictions are never logged: they may be those of real patients.
"""

import hashlib
import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from thyroid_fl.evaluation.further import FURTHER_TABLES
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, RUN_COLUMNS
from thyroid_fl.server.report.findings import (
    Run,
    each,
    main_rows,
    measures,
    read_run,
    summary_rows,
)
from thyroid_fl.server.report.matrix_findings import MatrixRun, read_matrix
from thyroid_fl.server.report.sections.studies import matrices
from thyroid_fl.server.report.words import model_name, opponent
from thyroid_fl.settings import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = (
    "report.html", "results.csv", "comparisons.csv", "history.csv", "hospitals.csv",
    "participation.csv", "baseline.csv", "left_out.csv", "traffic.csv",
    "checklist.csv", "heat_maps.csv", "study.json", "provenance.json", "figures",
    *(f"{name}.csv" for name in FURTHER_TABLES),
)  # fmt: skip
MATRIX_ARTIFACTS = (
    "report.html", "matrix.csv", "differences.csv", "table.csv", "sources.csv",
    "study.json", "provenance.json", "figures",
)  # fmt: skip
_PER_ROUND = (
    "train_loss", "loss", "auc", "dice", "iou", "n_hospitals", "learning_rate",
    "seconds",
)  # fmt: skip
_MOST_PER_BATCH = 1000  # MLflow refuses more metrics in one call


def log_to_mlflow(folder: Path) -> str:
    """Log the comparison in a folder, with the matrices in it.

    The experiment has the folder's name. Of results that are logged already only the
    report is logged again.

    Returns:
        The command that opens MLflow on it.

    Raises:
        ConfigError: the folder holds no finished comparison.
    """
    run = read_run(folder)
    store = _store(folder)
    fingerprint = _fingerprint(folder / "results.csv")
    logged = _logged(store, fingerprint)
    if logged:
        store.client.log_artifact(logged, str(folder / "report.html"))
    else:
        _log(*store, run, folder, fingerprint)
    for path, matrix in matrices(folder).items():
        _log_matrix(store, matrix, path)
    return _command(folder)


def log_matrix_to_mlflow(folder: Path) -> str:
    """Log the matrix in a folder of its own; as `log_to_mlflow`."""
    _log_matrix(_store(folder), read_matrix(folder), folder)
    return _command(folder)


class _Store(NamedTuple):
    client: "MlflowClient"
    experiment: str


def _uri(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def _command(folder: Path) -> str:
    command = f"mlflow ui --backend-store-uri {shlex.quote(_uri(folder))}"
    return f"MLFLOW_DISABLE_TELEMETRY=true {command}"


def _store(folder: Path) -> _Store:
    client = _client(_uri(folder))
    return _Store(client, _experiment(client, folder.resolve().name, folder))


def _fingerprint(table: Path) -> str:
    return hashlib.sha256(table.read_bytes()).hexdigest()


def _logged(store: _Store, fingerprint: str) -> str:
    """Return the id of the run of these results; empty where there is none."""
    found = store.client.search_runs(
        [store.experiment], f"tags.results_sha256 = '{fingerprint}'", max_results=1
    )
    return str(found[0].info.run_id) if found else ""


def _log_artifacts(client: "MlflowClient", run_id: str, paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            client.log_artifacts(run_id, str(path), path.name)
        elif path.exists():
            client.log_artifact(run_id, str(path))


def _log_matrix(store: _Store, run: MatrixRun, folder: Path) -> None:
    """Write one run with the cells of a matrix; nothing if it is there already."""
    fingerprint = _fingerprint(folder / "matrix.csv")
    if _logged(store, fingerprint):
        return
    client, name = store.client, f"matrix by {run.by}: {run.study.task}"
    run_id = client.create_run(store.experiment, run_name=name).info.run_id
    metrics = [
        metric
        for row in each(run.cells)
        for metric in _limits(
            f"{row.metric} per {row.unit}/{row.kind} {row.source}/{row.column}",
            row.value,
            row,
        )
    ]
    _log_batch(client, run_id, metrics, _settings(run.study))
    _log_artifacts(client, run_id, (folder / name for name in MATRIX_ARTIFACTS))
    client.set_tag(run_id, "results_sha256", fingerprint)
    client.set_terminated(run_id)


def _client(store: str) -> "MlflowClient":
    """Return a client of a store, made if need be; nothing is sent to anyone."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # read when mlflow is imported
    os.environ["DO_NOT_TRACK"] = "true"
    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    from mlflow import MlflowClient

    return MlflowClient(store)


def _experiment(client: "MlflowClient", name: str, folder: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    artifacts = (folder.resolve() / "mlartifacts").as_uri()
    return str(client.create_experiment(name, artifact_location=artifacts))


def _log(
    client: "MlflowClient", experiment: str, run: Run, folder: Path, fingerprint: str
) -> None:
    """Write the parent run and its children; tagged once all is written."""
    parent = client.create_run(experiment, run_name=run.name).info.run_id
    settings = [set(_settings(study).items()) for study in run.studies.values()]
    common = dict(set.intersection(*settings))
    _log_batch(client, parent, _final_metrics(run), common)
    _log_artifacts(client, parent, (folder / name for name in ARTIFACTS))
    for training, rounds in run.history.groupby(RUN_COLUMNS, sort=False):
        named = dict(zip(RUN_COLUMNS, map(str, training), strict=True))
        name = model_name(*(named[column] for column in MODEL_COLUMNS))
        params = _settings(run.studies[named["task"]]) | named
        child = client.create_run(
            experiment,
            run_name=f"{named['task']}: {name}, seed {named['seed']}, "
            f"fold {named['fold']}",
            tags={"mlflow.parentRunId": parent},
        ).info.run_id
        _log_batch(client, child, _round_metrics(rounds), params)
        client.set_terminated(child)
    client.set_tag(parent, "results_sha256", fingerprint)
    client.set_terminated(parent)


def _settings(study: Study) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(study).items()}


def _log_batch(
    client: "MlflowClient",
    run_id: str,
    metrics: list[tuple[str, float, int]],
    params: dict[str, str],
) -> None:
    """Log metrics (name, value, step) and parameters in as few calls as allowed."""
    from mlflow.entities import Metric, Param

    now_ms = int(time.time() * 1000)
    client.log_batch(run_id, params=[Param(*item) for item in params.items()])
    for start in range(0, len(metrics), _MOST_PER_BATCH):
        batch = metrics[start : start + _MOST_PER_BATCH]
        client.log_batch(
            run_id, [Metric(name, value, now_ms, step) for name, value, step in batch]
        )


def _final_metrics(run: Run) -> list[tuple[str, float, int]]:
    """Return value, low and high of what is known over all hospitals together."""
    metrics = []
    for row in each(measures(run.results)):
        metric = f"{row.metric} per {row.unit}/{row.test_set}/{_model(row)}"
        metrics += _limits(metric, row.value, row)
    for row in each(main_rows(run.comparisons)):
        name = f"{row.strategy} minus {opponent(row.comparison, row.trained_on)}"
        metrics += _limits(
            f"difference in {row.metric}/{row.test_set}/{name}", row.difference, row
        )
    return metrics + list(_further_metrics(run))


def _further_metrics(run: Run) -> Iterator[tuple[str, float, int]]:
    """Yield gap, worst hospitals, harm, operating points, calibration, subgroups."""
    rows = {name: summary_rows(table) for name, table in run.further.items()}
    for row in each(rows["gap"]):
        name = f"gap in {row.metric} per {row.unit}/{row.target}/{_model(row)}"
        yield from _limits(name, row.difference, row)
    for name in ("worst", "calibration"):
        for row in each(rows[name]):
            metric = f"{row.metric} per {row.unit}/{row.test_set}/{_model(row)}"
            yield from _limits(metric, row.value, row)
    verdicts = ["task", "strategy", "budget", "unit", "verdict"]
    for row in each(
        rows["harm"]
        .groupby(verdicts, as_index=False)
        .agg(n_hospitals=("hospital", "size"))
    ):
        models = f"{row.strategy} minus own {row.budget}"
        name = f"hospitals {row.verdict} per {row.unit}/{row.task}/{models}"
        yield name, float(row.n_hospitals), 0
    for row in each(rows["harm_summary"]):
        name = f"{row.hospital}/{row.strategy} minus own {row.budget}"
        metric = f"harm in {row.metric} per {row.unit}/{name}"
        yield from _limits(metric, row.difference, row)
    points = rows["operating_points"]
    keys = ["test_set", "unit", "metric", "basis", *MODEL_COLUMNS]
    limits = ["value", "low", "high"]
    for row in each(points.groupby(keys, as_index=False)[limits].mean()):
        metric = f"{row.metric} per {row.unit}/{row.test_set}/{row.basis}/{_model(row)}"
        yield from _limits(metric, row.value, row)
    for row in each(rows["subgroups"]):
        group = f"{row.column} {_in_letters(row.group)}"
        group += f" minus {_in_letters(row.against)}" if row.against else ""
        metric = f"{row.metric} per {row.unit}/{row.test_set}/{group}/{_model(row)}"
        yield from _limits(metric, row.value, row)


def _in_letters(group: str) -> str:
    return group.replace("<", "below").replace(">=", "from")


def _model(row: Any) -> str:
    return model_name(row.arm, row.strategy, row.budget, row.trained_on)


def _limits(name: str, value: float, row: Any) -> list[tuple[str, float, int]]:
    name = re.sub(r"[^\w ./:-]", "", name)  # MLflow takes no other characters
    numbers = {name: value, f"{name}/low": row.low, f"{name}/high": row.high}
    return [(key, float(number), 0) for key, number in numbers.items()]


def _round_metrics(rounds: pd.DataFrame) -> list[tuple[str, float, int]]:
    rounds = rounds.dropna(axis=1, how="all")  # columns of other tasks
    return [
        (name, float(value), int(step))
        for name in _PER_ROUND
        if name in rounds
        for step, value in zip(rounds["round"], rounds[name], strict=True)
    ]
