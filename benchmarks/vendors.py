"""The cohort's vendors: trained on one, on several, federated; tested on each.

Nodules cut out, classification. Prints the matrix with own minus others, least and mean
over the vendors' columns, and the sentences of the page.
Run: ``python benchmarks/vendors.py [--out FOLDER]``, and with BatchNorm
``--norm batch --image-px 64 --batch-size 16``; the same folder goes on where it was
interrupted.
"""

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

import thyroid_fl
from thyroid_fl.evaluation.matrix import MIXED, WITHIN, own_minus_others
from thyroid_fl.server.report.matrix_figure import row_names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/vendors"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--norm", default="weight")
    parser.add_argument("--image-px", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=0)
    options = parser.parse_args()
    done = thyroid_fl.matrix(
        by="vendor",
        out=options.out,
        seeds=options.seeds,
        jobs=options.jobs,
        scale=options.scale,
        region="nodule",
        norm=options.norm,
        rounds=options.rounds,
        local_epochs=1,
        batch_size=options.batch_size,
        learning_rate=2e-3,
        image_px=options.image_px,
    )
    cells = done.cells
    sources = list(done.table["Training Data Set"][:-2])
    columns = [*sources, MIXED, WITHIN]
    table = Table("trained on", *columns, "least", "mean")
    for (kind, source), name in row_names(cells).items():
        rows = cells[(cells["kind"] == kind) & (cells["source"] == source)]
        values = rows.set_index("column")["value"].reindex(columns)
        shown = [*values, values[sources].min(), values[sources].mean()]
        table.add_row(name, *(f"{value:.3f}" for value in shown))
    console = Console(width=140)
    console.print(table)
    gap = own_minus_others(cells)
    console.print(gap.round(3).to_string(index=False))
    console.print(f"own minus others, mean: {gap['difference'].mean():.3f}")
    for line in done.headlines:
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
