"""Trainings side by side: one process each, so that all cores are busy.

One training uses several cores badly: its hospitals take turns, and their batches are
small. So two processes of one thread each finish earlier than one with two threads.
"""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Thread

from flwr.app import Message

from thyroid_fl.client.site import open_archive
from thyroid_fl.simulation.arms import Training, predictions, train
from thyroid_fl.simulation.progress import Progress

PREDICTIONS = "predictions.parquet"

_n_replies: "Synchronized[int] | None" = None  # of a worker: shared with its parent


def train_all(
    trainings: Sequence[Training], out: Path, jobs: int, shown: Progress
) -> None:
    """Train and predict what is not done yet, in ``out/<training>/``.

    Args:
        trainings: the longest first, so that none is left over at the end.
        out: folder of the trainings' folders.
        jobs: how many at a time; 1 is this process.
        shown: told of every hospital's reply.

    Raises:
        ThyroidFLError: as a training raises; those under way are finished first.
    """
    shown.plan(sum(training.n_messages for training in trainings))
    todo = [t for t in trainings if not (out / t.folder / PREDICTIONS).exists()]
    shown.skip(sum(t.n_messages for t in trainings if t not in todo))
    if jobs == 1 or len(todo) < 2:
        for training in todo:
            shown.step(training.folder)
            _complete(training, out, lambda reply: shown.replies(1))
        return
    spawn = multiprocessing.get_context("spawn")  # a fork of torch's threads can hang
    counter = spawn.Value("q", 0)
    pool = ProcessPoolExecutor(jobs, spawn, initializer=_start, initargs=(counter,))
    try:
        waiting = {pool.submit(_complete, t, out, _count): t for t in todo}
        seen = 0
        while waiting:
            done, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
            shown.replies(counter.value - seen)
            seen = counter.value
            for future in done:
                future.result()
                shown.step(f"trained {waiting.pop(future).folder}")
    finally:
        pool.shutdown(cancel_futures=True)


def _complete(
    training: Training, out: Path, on_reply: Callable[[Message], None]
) -> None:
    """Train and write the predictions, which say that the training is complete."""
    folder = out / training.folder
    train(training, folder, on_reply)
    archive = open_archive(training.study, training.study.data)
    table = predictions(training, folder, archive)
    table.to_parquet(folder / f"{PREDICTIONS}.partial")
    (folder / f"{PREDICTIONS}.partial").replace(folder / PREDICTIONS)


def _start(counter: "Synchronized[int]") -> None:
    """Share the counter with the parent, and end when the parent does.

    A parent that was killed leaves its workers waiting for ever: each holds the pipe
    that it waits at open itself.
    """
    global _n_replies
    _n_replies = counter
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _count(reply: Message) -> None:
    del reply
    if _n_replies is not None:
        with _n_replies.get_lock():
            _n_replies.value += 1
