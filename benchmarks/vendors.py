"""Synthetic vendors: trained on one, on all; tested on each. Nodule crops, 64 px.

600 training pictures a vendor, and 300 for test; the same number of steps for every
model but the pooled and federated ones, which see all vendors' pictures as often.
Run: ``python benchmarks/vendors.py [--seeds 3]``.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table

import thyroid_fl
from thyroid_fl.manifest import write_manifest
from thyroid_fl.simulation.phantom import draw
from thyroid_fl.simulation.phantom.nodule_features import bayes_auc, nodule_features

VENDORS = ("Mindray", "Philips", "Esaote", "GE Healthcare", "Siemens Healthineers")
PICTURES = {"train": 600, "val": 100, "test": 300}
PICTURE_PX = 96


def write_vendors(folder: Path) -> Path:
    """Write one hospital a vendor, one picture a patient, and a manifest."""
    (folder / "images").mkdir(parents=True)
    rows = []
    number = 0
    for vendor in VENDORS:
        for split, n in PICTURES.items():
            for _ in range(n):
                number += 1
                rng = np.random.default_rng([2026, number])
                malignant = int(rng.random() < 0.5)
                phantom = draw(
                    nodule_features(bool(malignant), rng),
                    vendor,
                    size_px=PICTURE_PX,
                    patient_seed=number,
                    image_index=0,
                    view="transverse" if number % 2 else "longitudinal",
                )
                name = f"images/{number}.png"
                Image.fromarray(phantom.image).save(folder / name)
                rows.append(
                    {
                        "image_id": str(number),
                        "patient_id": str(number),
                        "hospital": vendor,
                        "vendor": vendor,
                        "image": name,
                        "boxes": (phantom.box,),
                        "malignant": malignant,
                        "split": split,
                    }
                )
    write_manifest(pd.DataFrame(rows), folder / "manifest.parquet")
    return folder / "manifest.parquet"


def matrix(compared: thyroid_fl.Comparison) -> pd.DataFrame:
    """Return the AUC of each model (rows) on each vendor (columns), mean over seeds."""
    rows = compared.results
    rows = rows[(rows["metric"] == "auc") & (rows["unit"] == "patient")]
    rows = rows[rows["hospital"].isin(VENDORS) & (rows["seed"] != "mean")]
    names = rows["trained_on"].where(rows["arm"] == "single", rows["arm"])
    return rows.assign(model=names).pivot_table(
        index="model", columns="hospital", values="value", aggfunc="mean"
    )[list(VENDORS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--norm", default="weight")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        manifest = write_vendors(Path(folder) / "vendors")
        n = len(VENDORS) * sum(PICTURES.values())
        ms = 1000 * (time.process_time() - started) / n
        compared = thyroid_fl.compare(
            data=manifest,
            out=Path(folder) / "run",
            split="manifest",
            region="nodule",
            seeds=options.seeds,
            singles=len(VENDORS),
            tuned=0,
            rounds=10,
            norm=options.norm,
            local_epochs=2,
        )
    aucs = matrix(compared)
    table = Table("trained on", *VENDORS, "own", "others", "least", "mean")
    gaps = []
    for name, row in aucs.iterrows():
        others = row.drop(name).mean() if name in VENDORS else np.nan
        own = row[name] if name in VENDORS else np.nan
        gaps.append(own - others)
        cells = [*row, own, others, row.min(), row.mean()]
        table.add_row(str(name), *("" if np.isnan(c) else f"{c:.3f}" for c in cells))
    console = Console(width=130)
    console.print(table)
    console.print(f"own minus others, mean over vendors: {np.nanmean(gaps):.3f}")
    console.print(f"Bayes AUC: {bayes_auc():.3f}")
    console.print(f"{ms:.1f} ms CPU a picture of {PICTURE_PX} px, written as PNG")


if __name__ == "__main__":
    main()
