"""What rounding the messages costs in accuracy, and saves in bytes.

The synthetic cohort in one process, the federated arm of `thyroid-sim compare` with
each encoding of the messages, and without error feedback.
"""

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from federation_wire import stock_bytes
from rich.table import Table

from thyroid_fl.client.site import open_archive
from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.arms import Training, plan, predictions, train
from thyroid_fl.simulation.cohort.pictures import open_cohort
from thyroid_fl.statistics import compare_mean_aucs, mean_auc

JOBS = 2
"""Trainings at a time, each in a process of one thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """How the models travel."""

    download: str
    upload: str
    is_fed_back: bool = True
    """Whether what rounding cuts off is added to the next update, as in the product."""

    @property
    def name(self) -> str:
        """Return e.g. ``bf16/int8``: down/up."""
        bare = "" if self.is_fed_back else ", no feedback"
        return f"{self.download}/{self.upload}{bare}"


SETTINGS = (
    Setting(download="fp32", upload="fp32"),
    Setting(download="bf16", upload="bf16"),
    Setting(download="bf16", upload="int8"),
    Setting(download="bf16", upload="int8", is_fed_back=False),
)


def compare_encodings(
    out: Path, n_seeds: int, scale: float, **settings: object
) -> Table:
    """Train with each encoding and seed; return AUCs, differences and bytes.

    Args:
        out: keeps cohort and trainings; the same folder goes on after an interruption.
        n_seeds: trainings of each encoding.
        scale: of the synthetic cohort.
        settings: fields of `Study`.
    """
    data = str(open_cohort(out / "cohort", scale=scale))
    studies = [
        make_study(data=data, seed=seed, threads=1, **settings)
        for seed in range(1, n_seeds + 1)
    ]
    open_archive(studies[0], data)  # decodes the pictures, once
    todo = [(study, setting) for study in studies for setting in SETTINGS]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(JOBS, spawn) as pool:
        for submitted in [pool.submit(_train, *each, out) for each in todo]:
            submitted.result()
    return _table(out, studies)


def _train(study: Study, setting: Setting, out: Path) -> None:
    """Train one federated model and keep its predictions, if they are not there."""
    folder = _folder(out, study, setting)
    if (folder / "predictions.parquet").exists():
        return
    archive = open_archive(study, study.data)
    travelling = dataclasses.replace(
        study, download=setting.download, upload=setting.upload
    )
    training: Training = next(
        one
        for one in plan(
            travelling, archive, strategies=["fedavg"], n_singles=0, n_tuned=0
        )
        if one.arm == "federated"
    )
    forgets = mock.patch("thyroid_fl.client.app.load_state", return_value={})
    with nullcontext() if setting.is_fed_back else forgets:
        train(training, folder, lambda reply: None)
    table = predictions(training, folder, archive)
    table.to_parquet(folder / "predictions.partial")
    (folder / "predictions.partial").rename(folder / "predictions.parquet")


def _folder(out: Path, study: Study, setting: Setting) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in setting.name)
    return out / "encodings" / f"{name}-seed{study.seed}"


def _table(out: Path, studies: list[Study]) -> Table:
    """Return one row an encoding: external AUC, its difference to fp32, the bytes."""
    table = Table(
        "down/up", "AUC external (95 % CI)", "minus fp32/fp32 (95 % CI)",
        "MB a hospital and round", "of stock FedAvg's bytes",
    )  # fmt: skip
    scores = {
        one.name: pd.DataFrame(
            {study.seed: _external(_folder(out, study, one)) for study in studies}
        )
        for one in SETTINGS
    }
    first = scores[SETTINGS[0].name]
    labels = first.index.get_level_values("malignant").to_numpy()
    stock = stock_bytes(studies[0])
    for setting in SETTINGS:
        own = scores[setting.name].reindex(first.index)
        found = mean_auc([(labels, own.to_numpy(), None)])
        versus = "" if own is first else _difference(labels, own, first)
        n_bytes = np.mean([_bytes(_folder(out, s, setting), s) for s in studies])
        table.add_row(
            setting.name,
            f"{found.value:.4f} ({found.low:.3f} to {found.high:.3f})",
            versus,
            f"{n_bytes / 1e6:.3f}",
            f"{n_bytes / stock:.3f}",
        )
    table.add_row("stock Flower FedAvg", "", "", f"{stock / 1e6:.3f}", "1")
    return table


def _difference(labels: np.ndarray, own: pd.DataFrame, first: pd.DataFrame) -> str:
    if own.equals(first):
        return ""
    d = compare_mean_aucs([(labels, own.to_numpy(), first.to_numpy(), None)])
    return f"{d.difference:+.4f} ({d.low:+.4f} to {d.high:+.4f})"


def _external(folder: Path) -> pd.Series:
    """Return the score of each patient of the external hospitals."""
    cases = pd.read_parquet(folder / "predictions.parquet")
    patients = patient_scores(cases[cases["test_set"] == "external"])
    return patients.set_index(["patient_id", "malignant"])["score"].sort_index()


def _bytes(folder: Path, study: Study) -> float:
    """Return the records' bytes, both directions, a hospital and round.

    All that travels is counted: the validation before the first round, too.
    """
    traffic = pd.read_csv(folder / "traffic.csv")
    total = traffic[["sent_bytes", "received_bytes"]].to_numpy().sum()
    return float(total / traffic["node"].nunique() / study.rounds)
