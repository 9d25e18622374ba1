"""The centre's memory for one round of DenseNet121, by number of hospitals.

Our round engine and Flower's `FedAvg.start` on the same in-process grid. The hospitals
train nothing; each reply has arrays of its own, as over a line. Every row is a process
of its own (``python benchmarks/federation_memory.py SIDE HOSPITALS``).
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import lru_cache

import numpy as np
import psutil
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from noop import evaluate
from rich.table import Table

from thyroid_fl.server.app import app as server_app
from thyroid_fl.settings import Study, make_study, study_from
from thyroid_fl.simulation.grid import run_in_process
from thyroid_fl.strategies.arrays import packed_record
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import views_of

SIDES = ("ours fp32/fp32", "ours bf16/int8", "stock Flower FedAvg")
MOST_BYTES = 16e9
"""A process that grows beyond this is ended."""

copying_app = ClientApp()
copying_app.evaluate()(evaluate)
stock_app = ServerApp()


@copying_app.train()
def train(message: Message, context: Context) -> Message:
    """Return a copy of the model, or in int8 some change of it."""
    arrays: ArrayRecord = message.content["arrays"]
    if "study" in context.run_config:
        study = study_from(str(context.run_config["study"]))
        if study.upload != "fp32":
            arrays = _change(study)
    copied = ArrayRecord({name: _copy(array) for name, array in arrays.items()})
    records = {"arrays": copied, "metrics": MetricRecord({"num-examples": 1.0})}
    if "request" in message.content:
        records["request"] = message.content["request"]
    return Message(RecordDict(records), reply_to=message)


def _copy(array: Array) -> Array:
    data = bytes(bytearray(array.data))  # bytes(data) would be the same object
    return Array(dtype=array.dtype, shape=array.shape, stype=array.stype, data=data)


@lru_cache(maxsize=1)
def _change(study: Study) -> ArrayRecord:
    rng = np.random.default_rng(1)
    model = views_of(build_model(study))
    changes = {
        name: rng.normal(0, 1e-3, a.shape).astype(np.float32)
        for name, a in model.items()
    }
    return packed_record(changes, study.upload)


@stock_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one round as Flower's own apps do."""
    study = study_from(str(context.run_config["like"]))
    arrays = ArrayRecord(build_model(study).state_dict())
    FedAvg().start(grid, arrays, num_rounds=1)


def compare_memory(numbers: list[int]) -> Table:
    """Return the peak memory of each side with so many hospitals."""
    table = Table(
        "side", "hospitals", "before, MB", "peak, MB", "the round takes, MB", "wall s"
    )
    for side in SIDES:
        for n in numbers:
            found = _in_own_process(side, n)
            if found is None:
                table.add_row(side, str(n), "", f"over {MOST_BYTES / 1e6:.0f}", "", "")
                break
            before, peak = found["before_mb"], found["peak_mb"]
            sizes = (before, peak, peak - before)
            seconds = f"{found['wall_s']:.1f}"
            table.add_row(side, str(n), *[f"{mb:.0f}" for mb in sizes], seconds)
    return table


def _in_own_process(side: str, n_hospitals: int) -> dict[str, float] | None:
    """Return what `measure` found in a new process; None if it grew too large."""
    running = subprocess.Popen(
        [sys.executable, __file__, side, str(n_hospitals)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    seen = psutil.Process(running.pid)
    while running.poll() is None:
        if seen.memory_info().rss > MOST_BYTES:
            running.kill()
            running.wait()
            return None
        time.sleep(0.05)
    told, _ = running.communicate()
    if running.returncode:
        raise SystemExit(f"{side} with {n_hospitals} hospitals failed")
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def measure(side: str, n_hospitals: int) -> dict[str, float]:
    """Return memory before and at its peak, and the seconds of one round."""
    download, _, upload = side.removeprefix("ours ").partition("/")
    is_ours = side.startswith("ours")
    study = make_study(
        preset="paper", image_px=64, rounds=1, warmup_rounds=0, select_by="last",
        min_hospitals=n_hospitals,
        **({"download": download, "upload": upload} if is_ours else {}),
    )  # fmt: skip
    build_model(study)  # torch and the model are there on both sides
    if upload == "int8":
        _change(study)
    key = "study" if is_ours else "like"
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        run_in_process(
            server_app if is_ours else stock_app,
            copying_app,
            [{}] * n_hospitals,
            {key: study.to_json(), "out": out, "test": False},
        )
    return {
        "before_mb": before / 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "wall_s": time.perf_counter() - started,
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
