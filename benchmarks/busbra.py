"""BUS-BRA, one scanner = one hospital, official folds 1-4: federated, alone, pooled.

Run: ``python benchmarks/busbra.py [whole|nodule|segmentation|detection ...]``; the
pictures are read from ``../shared/data/busbra`` (see FORMATS.md there for where they
come from).
"""

import argparse
import tempfile
from pathlib import Path

from real_pictures import DATA, print_comparison
from rich.console import Console

import thyroid_fl
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS

FOLDS = 4
# Preset small; few and large hospitals want more rounds of fewer steps than the
# default, and have the validation cases to choose a round by its metric. Without more
# rotation the classifiers overfit by round 20; the whole picture wants more pixels
# than the nodule.
SETTINGS = {
    "rounds": 20,
    "local_epochs": 1,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "image_px": 96,
}
CLASSIFIER = {"rotation_deg": 15.0, "select_by": "auc"}
STUDIES = {
    "whole": CLASSIFIER,
    "nodule": CLASSIFIER | {"region": "nodule", "image_px": 64},
    "segmentation": {"task": "segmentation", "rounds": 16},
    "detection": {"task": "detection", "rounds": 16},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="*", default=list(STUDIES))
    options = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "busbra"
        import_pictures(FORMATS["busbra"], DATA / "busbra", data)
        for study in options.studies:
            compared = thyroid_fl.compare(
                data=data / "manifest.csv",
                out=Path(folder) / study,
                split="patient",
                folds=FOLDS,
                singles=4,
                tuned=0,
                **SETTINGS | STUDIES[study],
            )
            print_comparison(console, f"BUS-BRA, {study}", compared)


if __name__ == "__main__":
    main()
