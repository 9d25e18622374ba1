"""DDTI, four made-up hospitals: detection and segmentation, federated, alone, pooled.

DDTI comes from one hospital; its cases are dealt to four at random, so federated and
pooled differ by the training only, not by the pictures. Cases that share a picture are
one patient, on one side of every fold (the import joins them).
Run: ``python benchmarks/ddti.py [segmentation|detection ...]``; the pictures are read
from ``../shared/data/ddti`` (see FORMATS.md there for where they come from).
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from real_pictures import DATA, print_comparison
from rich.console import Console

import thyroid_fl
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.manifest import read_manifest, write_manifest

FOLDS = 4
HOSPITALS = 4
SETTINGS = {
    "rounds": 20,
    "local_epochs": 1,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "image_px": 96,
}


def deal_hospitals(manifest: Path) -> None:
    """Give each patient one of the hospitals, in a fixed random order."""
    cases = read_manifest(manifest)
    patients = np.random.default_rng(1).permutation(cases["patient_id"].unique())
    names = {name: f"part {k % HOSPITALS + 1}" for k, name in enumerate(patients)}
    write_manifest(cases.assign(hospital=cases["patient_id"].map(names)), manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tasks", nargs="*", default=["segmentation", "detection"])
    options = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "ddti"
        import_pictures(FORMATS["ddti"], DATA / "ddti", data)
        deal_hospitals(data / "manifest.csv")
        for task in options.tasks:
            compared = thyroid_fl.compare(
                data=data / "manifest.csv",
                out=Path(folder) / task,
                task=task,
                split="patient",
                folds=FOLDS,
                singles=HOSPITALS,
                tuned=0,
                **SETTINGS,
            )
            print_comparison(console, f"DDTI, {task}", compared)


if __name__ == "__main__":
    main()
