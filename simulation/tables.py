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
from thyroid_fl.server.participation import FILE
from thyroid_fl.simulation.arms import Training
from thyroid_fl.simulation.grid import FIRST_NODE_ID
from thyroid_fl.simulation.workers import PREDICTIONS


def write_tables(trainings: Sequence[Training], out: Path) -> None:
    """Write predictions, history, participation, hospitals, and all that is judged.

    Args:
        trainings: all of them complete, in ``out/trainings/``.
        out: gets predictions.parquet, five CSV files, and those of `further_tables`.
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
    taken_part = [_participation(training, folder) for training in federated]
    pd.concat(taken_part).to_csv(out / "participation.csv", index=False)
    hospitals = {
        task: hospitals_table(open_archive(study, study.data)).assign(task=task)
        for task, study in reversed(studies.items())
    }
    pd.concat(hospitals.values()).to_csv(out / "hospitals.csv", index=False)
    results_table(scores).to_csv(out / "results.csv", index=False)
    comparisons_table(scores).to_csv(out / "comparisons.csv", index=False)
    sizes = {
        task: dict(zip(table["hospital"], table["n_train"], strict=True))
        for task, table in hospitals.items()
    }
    cases = read_manifest(trainings[0].study.data)
    for name, table in further_tables(scores, cases, sizes).items():
        table.to_csv(out / f"{name}.csv", index=False)


def _participation(training: Training, folder: Path) -> pd.DataFrame:
    """Return what each hospital, by name, gave to each round of a training."""
    table = pd.read_csv(folder / training.folder / FILE)
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
