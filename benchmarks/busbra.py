"""BUS-BRA, one scanner = one hospital, official folds 1-4: federated, alone, pooled.

Run: ``python benchmarks/busbra.py [whole|nodule ...]``; the pictures are read from
``../shared/data/busbra`` (see FORMATS.md there for where they come from).
"""

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

import thyroid_fl
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS

SOURCE = Path(__file__).parents[1] / "../shared/data/busbra"
FOLDS = 4
# Preset small; few and large hospitals want more rounds of fewer steps than the
# default, and have the validation cases to choose a round by AUC; the whole picture
# wants more pixels than the nodule. Without more rotation they overfit by round 20.
SETTINGS = {
    "rounds": 20,
    "local_epochs": 1,
    "batch_size": 16,
    "learning_rate": 2e-3,
    "rotation_deg": 15.0,
    "select_by": "auc",
}
IMAGE_PX = {"whole": 96, "nodule": 64}


def table_of(compared: thyroid_fl.Comparison) -> Table:
    """One row per model: AUC of each fold, their mean with interval, seconds a fold."""
    results = compared.results
    results = results[(results["metric"] == "auc") & (results["hospital"] == "all")]
    history = pd.read_csv(compared.folder / "history.csv", keep_default_na=False)
    history["seconds"] = pd.to_numeric(history["seconds"])
    keys = ["arm", "strategy", "budget", "trained_on"]
    table = Table(*["model", *map(str, range(1, FOLDS + 1))], "mean of folds (95 % CI)",
                  "by patient", "s a fold")  # fmt: skip
    for key, rows in results.groupby(keys, sort=False):
        images = rows[rows["unit"] == "image"].set_index("fold")
        patients = rows[rows["unit"] == "patient"].set_index("fold")
        own = (history[keys] == list(key)).all(axis=1)
        seconds = history.loc[own, "seconds"].sum() / FOLDS
        mean, by_patient = images.loc["mean"], patients.loc["mean"]
        table.add_row(
            " ".join(filter(None, key)),
            *[f"{images.loc[str(k), 'value']:.3f}" for k in range(1, FOLDS + 1)],
            f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})",
            f"{by_patient.value:.3f}",
            f"{seconds:.0f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("regions", nargs="*", default=list(IMAGE_PX))
    options = parser.parse_args()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "busbra"
        import_pictures(FORMATS["busbra"], SOURCE, data)
        for region in options.regions:
            compared = thyroid_fl.compare(
                data=data / "manifest.csv",
                out=Path(folder) / region,
                split="patient",
                region=region,
                folds=FOLDS,
                singles=4,
                tuned=0,
                image_px=IMAGE_PX[region],
                **SETTINGS,
            )
            console.print(f"\nAUC by picture, region {region}")
            console.print(table_of(compared))
            rows = compared.comparisons
            rows = rows[(rows["fold"] == "mean") & (rows["hospital"] == "all")]
            for row in rows[rows["unit"] == "image"].itertuples():
                console.print(
                    f"{row.comparison} {row.trained_on}: {row.difference:+.3f} "
                    f"({row.low:+.3f} to {row.high:+.3f}), p = {row.p_value:.3f}"
                )


if __name__ == "__main__":
    main()
