"""Trainings in processes of their own give what they give in this one."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from thyroid_fl.client.site import open_archive
from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import plan
from thyroid_fl.simulation.progress import Progress
from thyroid_fl.simulation.workers import PREDICTIONS, train_all


@pytest.fixture
def trainings(small_manifest):
    """Plan federated and pooled: two trainings of one round."""

    def planned(**settings):
        study = make_study(
            data=str(small_manifest), split="patient", image_px=32, rounds=1,
            local_epochs=1, threads=1, select_by="last", **settings,
        )  # fmt: skip
        archive = open_archive(study, study.data)
        return plan(study, archive, strategies=["fedavg"], n_singles=0, n_tuned=0)

    return planned


def test_side_by_side_equals_one_after_the_other(trainings, tmp_path, capsys):
    for jobs in (1, 2):
        with Progress(enabled=True) as shown:
            train_all(trainings(), tmp_path / str(jobs), jobs, shown)
        # 5 hospitals and pooled: validated at the start, trained, validated
        assert " 18/18" in capsys.readouterr().err

    for training in trainings():
        one, two = (tmp_path / str(jobs) / training.folder for jobs in (1, 2))
        first, second = (load_file(path / "model.safetensors") for path in (one, two))
        assert all(np.array_equal(first[name], second[name]) for name in first)
        pd.testing.assert_frame_equal(
            pd.read_parquet(one / PREDICTIONS), pd.read_parquet(two / PREDICTIONS)
        )


def test_what_goes_wrong_in_a_process_comes_out_as_it_is(trainings, tmp_path):
    wrong = trainings(weights=str(tmp_path / "absent.safetensors"))

    with (
        Progress(enabled=False) as shown,
        pytest.raises(ConfigError, match=r"absent\.safetensors: cannot be read"),
    ):
        train_all(wrong, tmp_path, 2, shown)

    assert not list(tmp_path.rglob(PREDICTIONS))


def test_what_is_complete_is_not_trained_again(trainings, tmp_path):
    with Progress(enabled=False) as shown:
        train_all(trainings(), tmp_path, 1, shown)
        written = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
        next(tmp_path.rglob(PREDICTIONS)).unlink()

        train_all(trainings(), tmp_path, 2, shown)

    assert len(list(tmp_path.rglob(PREDICTIONS))) == 2
    assert {p: p.stat().st_mtime_ns for p in written} == written


ORPHAN = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from thyroid_fl.simulation import workers

if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    start = {"initializer": workers._start, "initargs": (spawn.Value("q", 0),)}
    with ProcessPoolExecutor(1, spawn, **start) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 300)
"""


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(ORPHAN)
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True
    )
    worker = int(parent.stdout.readline())
    assert is_running(worker)

    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()  # the worker may hold the other end open

    end = time.monotonic() + 30
    while is_running(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(worker)
