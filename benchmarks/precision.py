"""Does bfloat16 pay? CPU milliseconds of a training step, fp32 beside bf16, one thread.

Run: ``python benchmarks/precision.py``.
"""

import time

import torch
from rich.console import Console
from rich.table import Table

from thyroid_fl.batches import Batch
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import place
from thyroid_fl.settings import Study, make_study
from thyroid_fl.tasks import TASKS, build_model

STEPS = 15


def step_ms(study: Study) -> float:
    """Return the median CPU time of a step, in ms."""
    model = place(build_model(study), torch.device("cpu"))
    optimizer = make_optimizer(model, study, 1e-4, 0.0)
    pictures = torch.rand(study.batch_size, 1, study.image_px, study.image_px)
    batch = Batch(
        images=pictures, malignant=torch.arange(study.batch_size, dtype=torch.long) % 2
    )
    times = []
    for _ in range(STEPS):
        started = time.process_time()
        local_update(model, TASKS[study.task], [batch], optimizer, study)
        times.append(time.process_time() - started)
    return 1000 * sorted(times)[STEPS // 2]


def main() -> None:
    torch.set_num_threads(1)
    table = Table("preset", "norm", "pixels", "batch", "fp32 ms", "bf16 ms", "ratio")
    sizes = [("small", 64, 8), ("small", 64, 16), ("small", 96, 16), ("paper", 64, 16)]
    for preset, px, batch_size in sizes:
        for norm in ("batch", "group", "weight"):
            study = {"preset": preset, "norm": norm, "image_px": px}
            study |= {"batch_size": batch_size}
            fp32, bf16 = (
                step_ms(make_study(precision=precision, **study))
                for precision in ("fp32", "bf16")
            )
            table.add_row(
                preset, norm, str(px), str(batch_size), f"{fp32:.1f}", f"{bf16:.1f}",
                f"{bf16 / fp32:.2f}",
            )  # fmt: skip
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
