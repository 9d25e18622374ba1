"""The table that the benchmarks on real pictures print."""

from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

import thyroid_fl

DATA = Path(__file__).parents[1] / "../shared/data"
# Of each task the metric and what it counts: a data set with few patients by picture.
METRICS = {
    "classification": ("auc", "image", "AUC by picture"),
    "segmentation": ("dice", "image", "Dice by picture"),
    "detection": ("ap50", "nodule", "AP50"),
}
KEYS = ["arm", "strategy", "budget", "trained_on"]


def print_comparison(
    console: Console, title: str, compared: thyroid_fl.Comparison
) -> None:
    """Print a row per model, and federated minus each of the others."""
    (task,) = compared.tables
    metric, unit, name = METRICS[task]
    results, comparisons = (
        table[
            (table["metric"] == metric)
            & (table["hospital"] == "all")
            & (table["test_set"] == "internal")
        ]
        for table in (compared.results, compared.comparisons)
    )
    console.print(f"\n{title}: {name}")
    console.print(_table(results, unit, pd.read_csv(compared.folder / "history.csv")))
    means = comparisons[(comparisons["fold"] == "mean") & (comparisons["unit"] == unit)]
    for row in means.itertuples():
        console.print(
            f"{row.comparison} {row.trained_on}: {row.difference:+.3f} "
            f"({row.low:+.3f} to {row.high:+.3f})"  # no p: one seed
        )


def _table(results: pd.DataFrame, unit: str, history: pd.DataFrame) -> Table:
    """Return value of each fold, mean with interval, and seconds a fold, by model."""
    folds = sorted(set(results["fold"]) - {"mean"})
    history[KEYS] = history[KEYS].fillna("")
    columns = [*folds, "mean of folds (95 % CI)", "by patient", "s a fold"]
    table = Table("model", *columns)
    for key, rows in results.groupby(KEYS, sort=False):
        by_fold = rows[rows["unit"] == unit].set_index("fold")
        by_patient = rows[(rows["unit"] == "patient") & (rows["fold"] == "mean")]
        own = (history[KEYS] == list(key)).all(axis=1)
        seconds = history.loc[own, "seconds"].sum() / len(folds)
        mean = by_fold.loc["mean"]
        table.add_row(
            " ".join(filter(None, key)),
            *[f"{by_fold.loc[fold, 'value']:.3f}" for fold in folds],
            f"{mean['value']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})",
            " ".join(f"{value:.3f}" for value in by_patient["value"]),
            f"{seconds:.0f}",
        )
    return table
