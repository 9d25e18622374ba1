"""What a plan of trainings costs, from a few steps on this machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thyroid_fl.batches import training_batches
from thyroid_fl.client.site import open_archive
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import choose_device, place, set_threads
from thyroid_fl.settings import Study
from thyroid_fl.simulation.arms import Training
from thyroid_fl.tasks import TASKS, build_model

WARM_UP_STEPS, TIMED_STEPS = 3, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """How long trainings take; messages, validation and evaluation not counted."""

    n_trainings: int
    n_pictures: int
    """Pictures that training steps see, over all trainings and epochs."""
    seconds: float
    """With so many trainings side by side as were asked for."""

    def __str__(self) -> str:
        """Say it in a line."""
        minutes = self.seconds / 60
        shown = (
            f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
        )
        return (
            f"{self.n_trainings} trainings, {self.n_pictures:,} pictures in all: about "
            f"{shown} on this machine, if nothing else runs"
        )


def estimate_cost(
    trainings: Sequence[Training], n_train: Sequence[int], jobs: int
) -> Cost:
    """Return the cost of trainings that all use the first one's model and settings.

    Args:
        trainings: of one task, not empty.
        n_train: training pictures of each.
        jobs: how many run at a time.
    """
    n_pictures = sum(
        n * training.study.local_epochs * training.study.rounds
        for n, training in zip(n_train, trainings, strict=True)
    )
    seconds = n_pictures * _seconds_per_picture(trainings[0].study) / jobs
    return Cost(n_trainings=len(trainings), n_pictures=n_pictures, seconds=seconds)


def _seconds_per_picture(study: Study) -> float:
    """Return the time of training steps, each on a full batch, by picture."""
    set_threads(study.threads)
    archive = open_archive(study, study.data)
    model = place(build_model(study), choose_device(study.device))
    rows = np.resize(archive.rows("train"), study.batch_size)
    seconds = 0.0
    for n_steps in (WARM_UP_STEPS, TIMED_STEPS):
        batches = list(
            training_batches(
                archive.cases,
                rows,
                batch_size=study.batch_size,
                epochs=n_steps,
                rotation_deg=study.rotation_deg,
                flips=study.flips,
                seed=np.random.SeedSequence(study.seed),
            )
        )
        optimizer = make_optimizer(model, study, study.learning_rate, 0.0)
        started = time.perf_counter()
        # It ends in a transfer from the device, so no work is still under way.
        local_update(model, TASKS[study.task], batches, optimizer, study)
        seconds = time.perf_counter() - started
    return seconds / (TIMED_STEPS * study.batch_size)
