"""What a federation takes at the centre and on the line, beside stock Flower FedAvg.

memory: the centre's memory over one round of DenseNet121 with 26 to 208 in-process
    hospitals whose replies are 29 MB each.
wire: ten hospitals with DenseNet121 over TLS, each a process of its own: bytes a round
    and hospital on the SuperLink's port, seconds, memory of each program.
encodings: the synthetic cohort's external AUC with models rounded on the way.

Run: ``python benchmarks/federation.py [memory] [wire] [encodings] [--quick]
[--nodes 10] [--seeds 3] [--out FOLDER]``; a folder goes on with an interrupted
training of the encodings.
"""

import argparse
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

from counting import Memory
from federation_encodings import compare_encodings
from federation_memory import compare_memory
from federation_wire import (
    BrokenOffError,
    Round,
    federation,
    mean_mb,
    run_ours,
    run_stock,
    stock_bytes,
)
from rich.console import Console
from rich.table import Table

from thyroid_fl.settings import make_study

PARTS = ("memory", "wire", "encodings")
TARGET = 0.4
"""Of stock FedAvg's bytes, both directions together."""


def compare_on_the_wire(n_hospitals: int) -> tuple[Table, Table, str]:
    """Return the tables of bytes and of memory, and the verdict on the bytes."""
    study = make_study(
        preset="paper", image_px=64, split="manifest", rounds=2, warmup_rounds=0,
        batch_size=8, threads=1, device="cpu", min_hospitals=n_hospitals,
        download="bf16", upload="int8",
    )  # fmt: skip
    # In memory where that can be: on a slow disk stock's run ends, as its array-wise
    # objects lock the SuperLink's SQLite for more than Flower's 5 s of patience.
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="federation-", dir=shared))
    sides: dict[str, tuple[list[Round], float, Memory]] = {}
    with federation(folder / "run", study, n_hospitals) as made:
        for download, upload in (("bf16", "int8"), ("fp32", "fp32")):
            with made.memory.watching():
                travelling = dataclasses.replace(
                    study, download=download, upload=upload
                )
                rounds, records = run_ours(made, travelling, f"{download}-{upload}")
            sides[f"ours {download}/{upload}"] = rounds, records, made.memory.taken()
        with made.memory.watching():
            try:
                rounds, broken = run_stock(made, study), ""
            except BrokenOffError as error:
                rounds, broken = [], f"; stock's run broke off ({error})"
        sides["stock Flower FedAvg"] = rounds, stock_bytes(study), made.memory.taken()
    shutil.rmtree(folder)
    wire, memory, verdict = _wire_tables(sides, n_hospitals)
    return wire, memory, verdict + broken


def _wire_tables(
    sides: dict[str, tuple[list[Round], float, Memory]], n_hospitals: int
) -> tuple[Table, Table, str]:
    rounds, records, _ = sides["stock Flower FedAvg"]
    # Without its rounds the records stand for stock: less than went over the line.
    stock = sum(mean_mb(rounds, n_hospitals)) if rounds else records / 1e6
    wire = Table(
        "side", "MB down", "MB up", "MB both", "of stock", "records alone, MB",
        "s a round",
        title=f"{n_hospitals} hospitals, a hospital and round",
    )  # fmt: skip
    memory = Table("side", "program", "peak RSS, MB", "of it not shared, MB")
    for side, (rounds, records, taken) in sides.items():
        down, up = mean_mb(rounds, n_hospitals)
        wire.add_row(
            side, f"{down:.2f}", f"{up:.2f}", f"{down + up:.2f}",
            f"{(down + up) / stock:.3f}", f"{records / 1e6:.2f}",
            ", ".join(f"{one.seconds:.0f}" for one in rounds),
        )  # fmt: skip
        for program, peak in sorted(taken.peak_mb.items()):
            memory.add_row(side, program, f"{peak:.0f}", f"{taken.own_mb[program]:.0f}")
        memory.add_row(side, "all together", "", f"{taken.all_mb:.0f}")
    ratio = sum(mean_mb(sides["ours bf16/int8"][0], n_hospitals)) / stock
    verdict = "met" if ratio <= TARGET else "NOT met"
    return wire, memory, f"bf16/int8 takes {ratio:.3f} of stock's bytes: {verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}; all")
    parser.add_argument("--quick", action="store_true", help="at most 10 minutes")
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/federation-benchmark"))
    options = parser.parse_args()
    chosen = options.parts or PARTS
    if set(chosen) - set(PARTS):
        parser.error(f"expected some of {', '.join(PARTS)}")
    console = Console(width=130)
    if "memory" in chosen:
        console.print(compare_memory([26, 52] if options.quick else [26, 52, 104, 208]))
    if "wire" in chosen:
        wire, memory, verdict = compare_on_the_wire(
            2 if options.quick else options.nodes
        )
        console.print(wire, memory)
        print(verdict)
    if "encodings" in chosen:
        small = {"rounds": 3, "local_epochs": 1}
        table = compare_encodings(
            options.out / "quick" if options.quick else options.out,
            1 if options.quick else options.seeds,
            0.05 if options.quick else 0.2,
            **(small if options.quick else {}),
        )
        console.print(table)
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} cores, load {load} (1, 5, 15 minutes)")


if __name__ == "__main__":
    main()
