"""Planted effects, found or not: a site shortcut, and a federation that harms.

``shortcut``: 40 hospitals whose marks foretell their share of malignant patients, and
the same pictures without the marks. ``harm``: five hospitals, of which the largest is
contrary, and the same five where it is not. Real trainings of preset small at 32 px.
Run: ``python benchmarks/planted.py [shortcut|harm] [--seeds 3]``.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

import thyroid_fl
from thyroid_fl.evaluation.gap import gap_table
from thyroid_fl.evaluation.harm import harm_summary, harm_table
from thyroid_fl.simulation.optimism import Optimism, optimism
from thyroid_fl.simulation.planted import write_contrary, write_shortcut

PX = 32
SETTINGS: dict[str, Any] = {
    "image_px": PX, "learning_rate": 2e-3, "jobs": 1, "threads": 1, "progress": False,
}  # fmt: skip
console = Console(width=150)


def shortcut(folder: Path, seeds: int) -> None:
    for marked in (True, False):
        place = folder / ("marked" if marked else "control")
        manifest = write_shortcut(place / "data", marked=marked, picture_px=PX)
        done = optimism(
            data=manifest,
            out=place / "run",
            seeds=seeds,
            rounds=5,
            local_epochs=1,
            flips="none",
            rotation_deg=0.0,
            **SETTINGS,
        )
        console.print(f"\nEvery hospital its own mark: {'yes' if marked else 'no'}")
        show(
            _rows(done),
            ["arm", "split", "metric", "target", "internal", "external"],
            ["n_internal", "n_external"],
        )
        for sentence in done.sentences:
            console.print(sentence)


def _rows(done: Optimism) -> pd.DataFrame:
    """Return the gap under either split, and the difference between the two."""
    predictions = pd.read_parquet(done.folder / "predictions.parquet")
    random = gap_table(predictions[predictions["fold"] == 1], n_resamples=0)
    parts = [
        done.gap.assign(split="hospital"),
        random.assign(split="patient"),
        done.table.assign(split="both"),
    ]
    rows = pd.concat(parts)
    rows = rows[rows["metric"].isin(["auc", "auc_within_site"])]
    rows = rows[(rows["unit"] == "patient") & _is_mean(rows)]
    return rows.sort_values("arm", ascending=False, kind="stable")


def harm(folder: Path, seeds: int) -> None:
    for contrary in (True, False):
        place = folder / ("contrary" if contrary else "control")
        manifest = write_contrary(place / "data", contrary=contrary)
        done = thyroid_fl.compare(
            data=manifest,
            out=place / "run",
            split="patient",
            region="nodule",
            seeds=seeds,
            rounds=4,
            local_epochs=2,
            singles=5,
            tuned=1,
            **SETTINGS,
        )
        predictions = pd.read_parquet(done.folder / "predictions.parquet")
        hospitals = pd.read_csv(done.folder / "hospitals.csv")
        sizes = hospitals.set_index("hospital")["n_train"].to_dict()
        console.print(f"\nH001 is contrary: {'yes' if contrary else 'no'}")
        for table in (harm_table, harm_summary):
            rows = table(predictions, sizes)
            rows = rows[(rows["unit"] == "patient") & _is_mean(rows)]
            show(rows, ["budget", "hospital", "size"], ["p_holm", "n", "verdict"])


def _is_mean(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Find the rows over all seeds, or of the only one."""
    seeds = rows["seed"].astype(str)
    return (seeds == "mean") | (seeds.nunique() == 1)


def show(rows: pd.DataFrame, before: list[str], after: list[str]) -> None:
    columns = [*before, "difference", "low", "high", "p_value", *after]
    table = Table(*columns)
    for row in rows[columns].itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3f}"
    return "" if pd.isna(value) else str(value)


PARTS = {"shortcut": shortcut, "harm": harm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.part in (None, name):
            wall, cpu = time.time(), time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                part(Path(folder), options.seeds)
            wall, cpu = time.time() - wall, time.process_time() - cpu
            console.print(f"{name}: {wall:.0f} s, of which on the CPU {cpu:.0f}")


if __name__ == "__main__":
    main()
