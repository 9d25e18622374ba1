"""The three arms of a comparison, as one function over federations of different size.

Pooled is a federation of one virtual hospital that holds everything; single is a
federation of one hospital; all run the same rounds from the same start.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from flwr.app import Message
from torch import nn

from thyroid_fl.batches import IntArray
from thyroid_fl.client.app import app as client_app
from thyroid_fl.client.inference import predict
from thyroid_fl.client.site import ALL_HOSPITALS, Archive
from thyroid_fl.client.state import (
    layers_of,
    load_state,
    simulated_folder,
    study_folder,
)
from thyroid_fl.devices import choose_device, place, set_threads
from thyroid_fl.errors import ConfigError, ManifestError
from thyroid_fl.packing import Arrays
from thyroid_fl.server.app import app as server_app
from thyroid_fl.server.checkpoint import load_progress
from thyroid_fl.settings import Study
from thyroid_fl.simulation.grid import run_in_process
from thyroid_fl.strategies import STRATEGIES
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import load_arrays, read_weights

FOREVER_S = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One model to train: which hospitals take part, and with which settings."""

    arm: str
    """federated, pooled or single."""
    budget: str
    """single: matched (its own steps in the federation) or tuned (pooled's steps)."""
    trained_on: str
    """A hospital's name, or ``all``."""
    hospitals: tuple[str, ...]
    """The nodes of the federation; ``all`` is one node that holds everything."""
    study: Study

    @property
    def strategy(self) -> str:
        """The federated strategy; empty for an arm that averages nothing."""
        return self.study.strategy if self.arm == "federated" else ""

    @property
    def folder(self) -> str:
        """The training's folder, unique within a comparison."""
        parts = [self.arm, self.strategy, self.budget, self.trained_on]
        name = "-".join(part for part in parts if part)
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        return f"{self.study.task}/{safe}-seed{self.study.seed}-fold{self.study.fold}"

    def describe(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the table with the columns that name this training in front."""
        named = pd.DataFrame(
            {
                "task": self.study.task,
                "arm": self.arm,
                "strategy": self.strategy,
                "budget": self.budget,
                "trained_on": self.trained_on,
                "fold": self.study.fold,
                "seed": self.study.seed,
            },
            index=table.index,
        )
        return pd.concat([named, table], axis=1)

    @property
    def n_messages(self) -> int:
        """Requests to hospitals: a training a round; a validation too, and at start."""
        return len(self.hospitals) * (2 * self.study.rounds + 1)


def check_arms(studies: Sequence[Study], strategies: Sequence[str], seeds: int) -> None:
    """Raise a ConfigError if a study cannot be trained so; nothing is opened."""
    if not strategies or seeds < 1:
        raise ConfigError("at least one strategy and one seed are needed")
    for name in strategies:
        if name not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ConfigError(f"no strategy {name!r}; expected some of: {known}")
    for study in studies:
        for name in strategies:  # with settings that it cannot work with
            dataclasses.replace(study, strategy=name)
        build_model(study)  # what a task refuses is refused before anything is drawn


def plan(
    study: Study,
    archive: Archive,
    *,
    strategies: Sequence[str],
    n_singles: int,
    n_tuned: int,
) -> list[Training]:
    """Return the trainings of one seed and fold, about the longest first.

    Args:
        study: settings of the federated arm.
        archive: the cases, split.
        strategies: one federated training each.
        n_singles: how many hospitals, the largest first, also train alone at their
            own steps in the federation (matched).
        n_tuned: how many of them also get up to pooled's steps and keep the best
            round on their own validation (tuned).

    Raises:
        ConfigError: the split has nothing to train or to test with.
        ManifestError: no picture has what the task needs.
    """
    if not archive.counts["n_usable"].sum():
        needs = " and ".join(TASKS[study.task].needs)
        raise ManifestError(
            f"{study.data}: no picture can be used for {study.task}; fill the column "
            f"{needs}"
        )
    for side in ("train", "test"):
        if not len(archive.rows(side)):
            raise ConfigError(
                f"split is {study.split!r}, which has no picture to {side} with; "
                "choose another split"
            )
    n_pictures = (
        archive.table.loc[archive.table["split"] == "train", "hospital"]
        .value_counts()
        .sort_index()
        .sort_values(ascending=False, kind="stable")
    )
    # Hospitals run one after another here: a deadline on the clock would cut some off.
    study = dataclasses.replace(study, round_deadline_s=FOREVER_S)
    alone = dataclasses.replace(study, strategy="fedavg", min_hospitals=1)
    trainings = [
        Training(
            arm="federated",
            budget="",
            trained_on=ALL_HOSPITALS,
            hospitals=tuple(sorted(n_pictures.index)),
            study=dataclasses.replace(study, strategy=strategy),
        )
        for strategy in strategies
    ]
    trainings.append(
        Training(
            arm="pooled",
            budget="",
            trained_on=ALL_HOSPITALS,
            hospitals=(ALL_HOSPITALS,),
            study=alone,
        )
    )
    for budget, n in (("tuned", n_tuned), ("matched", n_singles)):
        for hospital in n_pictures.index[:n]:
            whole = int(n_pictures.sum() // n_pictures[hospital])
            times = whole if budget == "tuned" else 1
            own = dataclasses.replace(alone, local_epochs=study.local_epochs * times)
            validation = archive.table.iloc[archive.rows("val", hospital)]
            if not can_select(study, validation):
                own = dataclasses.replace(own, select_by="last")
            trainings.append(
                Training(
                    arm="single",
                    budget=budget,
                    trained_on=hospital,
                    hospitals=(hospital,),
                    study=own,
                )
            )
    return trainings


def can_select(study: Study, validation: pd.DataFrame) -> bool:
    """Return whether these validation cases can tell a round's worth."""
    labels = validation["malignant"].fillna(-1).to_numpy(dtype=np.int64)
    sums = TASKS[study.task].measure(labels, np.zeros(len(labels)))
    return all(n > 0 for name, n in sums.items() if name.endswith("-n"))


def train(
    training: Training, folder: Path, on_reply: Callable[[Message], None]
) -> None:
    """Run the ServerApp and the hospitals' ClientApps in this process.

    The folder gets checkpoints and ``model.safetensors``; a folder of the same
    training that was interrupted is continued.
    """
    run_in_process(
        server_app,
        client_app,
        [{"hospital": name} for name in training.hospitals],
        {"study": training.study.to_json(), "out": str(folder), "test": False},
        on_reply,
    )


def predictions(training: Training, folder: Path, archive: Archive) -> pd.DataFrame:
    """Return what the trained model says of each validation and test picture.

    Of hospitals that have no model (see `trained_models`) there are no rows.
    """
    held_out = archive.table["split"].isin(["val", "test"]).to_numpy().nonzero()[0]
    tables = [
        predict(model, archive, rows, training.study)
        for rows, model in trained_models(training, folder, archive, held_out)
    ]
    columns = ["split", "test_set", "image_id", "patient_id", "hospital", "vendor"]
    table = archive.table.iloc[held_out][columns].join(pd.concat(tables), how="inner")
    return training.describe(table.reset_index(drop=True))


def trained_models(
    training: Training, folder: Path, archive: Archive, rows: IntArray
) -> Iterator[tuple[IntArray, nn.Module]]:
    """Yield rows of the archive with the model that serves them, on its device.

    It is one model, whose layers change from one to the next: use it before you go on.
    With FedBN a hospital that did not train has no model: its rows are left out.
    """
    study = training.study
    set_threads(study.threads)
    model = build_model(dataclasses.replace(study, weights=""))
    state = read_weights(folder / "model.safetensors")
    model = place(model, choose_device(study.device))
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    for served, own in _own_layers(training, folder, archive, rows):
        load_arrays(model, arrays | own)
        yield served, model


def _own_layers(
    training: Training, folder: Path, archive: Archive, rows: IntArray
) -> Iterator[tuple[IntArray, Arrays]]:
    """Yield rows with the layers that their hospitals have of their own, if any."""
    progress = load_progress(folder, training.study)
    if training.study.strategy != "fedbn" or progress is None:
        yield rows, {}
        return
    hospitals = archive.table["hospital"].to_numpy()[rows]
    for name in training.hospitals:
        states = study_folder(simulated_folder(folder, name), progress.study_id)
        own = layers_of(load_state(states, progress.best_round))
        if own and len(here := rows[hospitals == name]):
            yield here, own
