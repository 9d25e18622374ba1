"""The tables of a comparison, from the folders of its trainings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thyroid_fl.client.site import Archive, open_archive
from thyroid_fl.evaluation import comparisons_table, results_table
from thyroid_fl.evaluation.further import further_tables
from thyroid_fl.manifest import read_manifest
from thyroid_fl.server.participation import FILE, TRAFFIC
from thyroid_fl.settings import Study
from thyroid_fl.simulation.arms import Training
from thyroid_fl.simulation.baseline import baseline_table, left_out_table
from thyroid_fl.simulation.grid import FIRST_NODE_ID
from thyroid_fl.simulation.workers import PREDICTIONS


def write_tables(trainings: Sequence[Training], out: Path) -> None:
    """Write the tables of a comparison: of its data, its trainings and its results.

    Args:
        trainings: all of them complete, in ``out/trainings/``.
        out: gets predictions.parquet, eight CSV files, and those of
            `further_tables`.
    """
    folder = out / "trainings"
    studies = {training.study.task: training.study for training in reversed(trainings)}
    scores = pd.concat(
        [pd.read_parquet(folder / t.folder / PREDICTIONS) for t in trainings],
        ignore_index=True,
    )
    histories = [
        training.describe(pd.read_csv(folder / training.folder / "history.csv"))
        for training in trainings
    ]
    scores.to_parquet(out / "predictions.parquet")
    pd.concat(histories).to_csv(out / "history.csv", index=False)
    federated = [training for training in trainings if training.arm == "federated"]
    for name in (FILE, TRAFFIC):
        told = [_by_hospital(training, folder, name) for training in federated]
        pd.concat(told).to_csv(out / name, index=False)
    of_data = _data_tables(list(reversed(studies.values())))
    for name, table in of_data.items():
        table.to_csv(out / f"{name}.csv", index=False)
    results_table(scores).to_csv(out / "results.csv", index=False)
    comparisons_table(scores).to_csv(out / "comparisons.csv", index=False)
    sizes = {
        str(task): dict(zip(table["hospital"], table["n_train"], strict=True))
        for task, table in of_data["hospitals"].groupby("task")
    }
    cases = read_manifest(trainings[0].study.data)
    for name, table in further_tables(scores, cases, sizes).items():
        table.to_csv(out / f"{name}.csv", index=False)


def _data_tables(studies: Sequence[Study]) -> dict[str, pd.DataFrame]:
    """Return hospitals, baseline and left_out, one study a task."""
    found: dict[str, list[pd.DataFrame]] = {}
    for study in studies:
        archive = open_archive(study, study.data)
        tables = {
            "hospitals": hospitals_table(archive),
            "baseline": baseline_table(read_manifest(study.data), archive),
            "left_out": left_out_table(archive),
        }
        for name, table in tables.items():
            found.setdefault(name, []).append(table.assign(task=study.task))
    return {name: pd.concat(tables) for name, tables in found.items()}


def _by_hospital(training: Training, folder: Path, file: str) -> pd.DataFrame:
    """Return a table of each round and hospital, by name, of a training."""
    table = pd.read_csv(folder / training.folder / file)
    names = dict(enumerate(training.hospitals, FIRST_NODE_ID))
    table["hospital"] = table.pop("node").map(names)
    return training.describe(table)


def hospitals_table(archive: Archive) -> pd.DataFrame:
    """Return one row per hospital: size, prevalence, vendor, role in the task."""
    table = archive.table
    patients = table.drop_duplicates("patient_id").groupby("hospital")
    counts = table.pivot_table(
        index="hospital", columns="split", values="image_id", aggfunc="count"
    ).reindex(columns=["train", "val", "test"])
    hospitals = pd.DataFrame(
        {
            "region": table.groupby("hospital")["region"].first(),
            "vendor": table.groupby("hospital")["vendor"].agg(_most_frequent),
            "n_patients": patients.size(),
            "n_images": table.groupby("hospital").size(),
            "n_malignant_patients": patients["malignant"].sum(),
        }
    )
    hospitals = hospitals.reindex(archive.counts.index)
    hospitals = hospitals.join(counts.add_prefix("n_")).join(archive.counts)
    numbers = hospitals.filter(regex="^n_").fillna(0).astype(int)
    hospitals[numbers.columns] = numbers
    roles = [hospitals["n_train"] > 0, hospitals["n_test"] > 0]
    hospitals["role"] = np.select(roles, ["trainer", "external test"], "none")
    return hospitals.sort_values("n_patients", ascending=False).reset_index()


def _most_frequent(values: pd.Series) -> Any:
    present = values.dropna()
    return present.mode().iloc[0] if len(present) else None
