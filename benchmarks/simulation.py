"""What the federation costs over a bare PyTorch loop, and beside Flower's Ray runtime.

(a) 208 hospitals of full cohort size, one local epoch, training only: the in-process
    federation (ServerApp, ClientApp, messages, averaging, checkpoint) against a plain
    loop over the same batches that loads the global weights and averages.
(b) The same round engine and messages under Ray: with a no-op ClientApp, and with real
    training of the small preset.
(c) (a) on CUDA where there is one.

Both sides run in turns in this process; the table shows the least of the turns.
Run: ``python benchmarks/simulation.py [--quick] [--no-ray]``.
"""

import argparse
import dataclasses
import itertools
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch
from flwr.clientapp import ClientApp
from noop import noop_app
from PIL import Image
from ray_runtime import run_under_ray
from rich.console import Console
from rich.table import Table

from thyroid_fl.batches import training_batches
from thyroid_fl.client.app import app as client_app
from thyroid_fl.client.app import round_seed
from thyroid_fl.client.site import open_site
from thyroid_fl.client.training import make_optimizer
from thyroid_fl.devices import autocast, choose_device, place, set_threads
from thyroid_fl.manifest import write_manifest
from thyroid_fl.server.app import app as server_app
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.grid import run_in_process
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import arrays_of, load_arrays

TURNS = 2
PICTURES_A_HOSPITAL = 89  # 18 477 training pictures in 208 hospitals


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measured(run: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    done = threading.Event()
    peak = [0]

    def watch() -> None:
        process = psutil.Process()
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        done.set()
        watcher.join()
    return Cost(
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        peak_mb=peak[0] / 2**20,
    )


def write_hospitals(folder: Path, n_hospitals: int) -> Path:
    """Write hospitals of noise pictures, 64 px, all for training."""
    rng = np.random.default_rng(1)
    (folder / "images").mkdir(parents=True)
    rows = []
    for h in range(n_hospitals):
        for k in range(PICTURES_A_HOSPITAL):
            name = f"images/{h}-{k}.png"
            pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name, compress_level=0)
            rows.append(
                {
                    "image_id": f"{h}-{k}",
                    "patient_id": f"{h}-{k}",
                    "hospital": f"H{h:03d}",
                    "image": name,
                    "malignant": int(rng.integers(2)),
                    "split": "train",
                }
            )
    write_manifest(pd.DataFrame(rows), folder / "manifest.parquet")
    return folder / "manifest.parquet"


def hospital_names(manifest: Path) -> list[str]:
    return sorted(pd.read_parquet(manifest, columns=["hospital"])["hospital"].unique())


def bare_loop(study: Study, hospitals: list[str]) -> None:
    """One round as plain PyTorch: no Flower, no messages, no checks, no files."""
    device = choose_device(study.device)
    set_threads(study.threads)
    model = place(build_model(study), device)
    task = TASKS[study.task]
    start = arrays_of(model)
    total = {name: np.zeros(a.shape) for name, a in start.items()}
    n = 0
    for name in hospitals:
        site = open_site(study, {"hospital": name})
        load_arrays(model, start)
        optimizer = make_optimizer(model, study, study.learning_rate, 0.0)
        model.train()
        for batch in training_batches(
            site.cases,
            site.train,
            batch_size=study.batch_size,
            epochs=1,
            rotation_deg=study.rotation_deg,
            flips=study.flips,
            seed=round_seed(study.seed, 1, name),
        ):
            optimizer.zero_grad(set_to_none=True)
            with autocast(study, device):
                outputs = model(batch.images)
            task.loss(outputs.float(), batch).backward()
            optimizer.step()
        for key, array in arrays_of(model).items():
            total[key] += len(site.train) * array
        n += len(site.train)
    load_arrays(model, {k: (v / n).astype(np.float32) for k, v in total.items()})


def federation(
    study: Study, hospitals: list[str], client: ClientApp = client_app
) -> float:
    """Run the real thing; return the seconds that its rounds took, start-up not."""
    with tempfile.TemporaryDirectory() as out:
        run_in_process(
            server_app,
            client,
            [{"hospital": name} for name in hospitals],
            {"study": study.to_json(), "out": out},
        )
        return float(pd.read_csv(Path(out) / "history.csv")["seconds"].sum())


def compare_in_process(
    model: str, study: Study, n_hospitals: int, turns: int, table: Table
) -> float:
    """Add the two rows of a model to the table; return the overhead."""
    hospitals = hospital_names(Path(study.data))[:n_hospitals]
    sides = {"bare loop": bare_loop, "in-process federation": federation}
    open_site(study, {"hospital": hospitals[0]})  # decode the pictures beforehand
    costs: dict[str, list[Cost]] = {side: [] for side in sides}
    for _ in range(turns):
        for side, run in sides.items():
            costs[side].append(measured(lambda run=run: run(study, hospitals)))
    for side, taken in costs.items():
        wall, cpu = min(c.wall_s for c in taken), min(c.cpu_s for c in taken)
        table.add_row(
            model, side, str(n_hospitals), f"{wall:.1f}", f"{cpu:.1f}",
            f"{taken[-1].peak_mb:.0f}",
        )  # fmt: skip
    best = {side: min(c.wall_s for c in taken) for side, taken in costs.items()}
    return best["in-process federation"] / best["bare loop"]


def compare_with_ray(study: Study, hospitals: list[str], table: Table) -> list[str]:
    """Add the rows of both runtimes to the table; return the lines to print."""
    lines = []
    for what, client in (("no-op", noop_app), ("small preset", client_app)):
        here = federation(study, hospitals, client)
        with tempfile.TemporaryDirectory() as out:
            noop = client is noop_app
            ray = run_under_ray(study, len(hospitals), Path(out), noop=noop)
        for side, wall in (("in-process", here), ("Ray", ray)):
            table.add_row(what, side, str(len(hospitals)), f"{wall:.2f}", "", "")
        lines.append(f"Ray takes {ray / here:.1f} times as long, {what}")
    return lines


def memory_over_rounds(study: Study, hospitals: list[str]) -> str:
    """Return the process's memory at the end of each of ten no-op rounds."""
    sizes: list[float] = []
    n_replies = itertools.count(1)

    def watch(reply: object) -> None:
        del reply
        if next(n_replies) % (2 * len(hospitals)) == 0:
            sizes.append(psutil.Process().memory_info().rss / 2**20)

    with tempfile.TemporaryDirectory() as out:
        run_in_process(
            server_app,
            noop_app,
            [{"hospital": name} for name in hospitals],
            {"study": dataclasses.replace(study, rounds=10).to_json(), "out": out},
            watch,
        )
    return "MB after each round, no-op: " + " ".join(f"{size:.0f}" for size in sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most 10 minutes")
    parser.add_argument("--no-ray", action="store_true", help="part (a) and (c) only")
    options = parser.parse_args()
    table = Table("model", "side", "hospitals", "wall s", "CPU s", "peak MB")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        n_hospitals = 208
        data = str(write_hospitals(Path(folder) / "cohort", n_hospitals))
        common = {"data": data, "split": "manifest", "rounds": 1, "select_by": "last",
                  "local_epochs": 1, "batch_size": 16}  # fmt: skip
        small = make_study(**common)
        paper = make_study(preset="paper", image_px=64, **common)
        n_paper = 48 if options.quick else n_hospitals
        for model, study, n in [("small", small, 208), ("DenseNet121", paper, n_paper)]:
            ratio = compare_in_process(model, study, n, TURNS, table)
            lines.append(f"overhead {ratio:.2f} {model}, {n} hospitals")
        lines.append(memory_over_rounds(small, hospital_names(Path(data))))
        if not options.no_ray:
            # Ray's nodes are numbered: as many as there are hospitals in the manifest.
            n = 32 if options.quick else n_hospitals
            few = write_hospitals(Path(folder) / "ray", n)
            study = dataclasses.replace(small, data=str(few), rounds=3, threads=1)
            lines += compare_with_ray(study, hospital_names(few), table)
    console = Console(width=100)
    console.print(table)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    console.print(
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} "
        f"cores, {device}, torch {torch.__version__}"
    )
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
