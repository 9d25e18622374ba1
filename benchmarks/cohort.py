"""The whole cohort: does federated training beat the best tuned single hospital?

208 synthetic hospitals of the paper's sizes, a fifth of them wholly for test, preset
small on whole pictures of 64 px. The largest hospitals also train alone with pooled's
number of steps (tuned); the best of them is the one with the highest AUC on the
external hospitals, which favours it.
Run: ``python benchmarks/cohort.py [--seeds 3] [--singles 2] [--out FOLDER]``; a folder
continues an interrupted run.
"""

import argparse
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

import thyroid_fl
from thyroid_fl.server.report.findings import each

# One pass a round: about as many steps a round as in the demonstration.
SETTINGS = {"rounds": 5, "local_epochs": 1}


def estimates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the mean over seeds, all hospitals, patients."""
    of_all = rows["hospital"].eq("all") & rows["unit"].eq("patient")
    return rows[of_all & rows["seed"].astype(str).eq("mean")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--singles", type=int, default=2, help="the largest alone")
    parser.add_argument("--out", type=Path, default=Path("runs/cohort-benchmark"))
    options = parser.parse_args()
    compared = thyroid_fl.compare(
        out=options.out, scale=1.0, split="hospital", seeds=options.seeds,
        singles=options.singles, tuned=options.singles, **SETTINGS,
    )  # fmt: skip
    results = estimates(compared.results)
    results = results[results["metric"] == "auc"]
    differences = estimates(compared.comparisons)
    table = Table(
        "model", "test set", "AUC (95 % CI)", "patients", "federated minus it"
    )
    for row in each(results):
        named = f"single ({row.budget})" if row.arm == "single" else row.arm
        versus = differences[
            differences["comparison"].eq(f"federated - {named}")
            & differences["trained_on"].eq(row.trained_on)
            & differences["test_set"].eq(row.test_set)
        ]
        table.add_row(
            " ".join(filter(None, [row.arm, row.strategy, row.trained_on, row.budget])),
            row.test_set,
            f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})",
            f"{row.n} ({row.n_positive:.0f} malignant)",
            *[
                f"{v.difference:+.3f} ({v.low:+.3f} to {v.high:+.3f})"
                for v in each(versus)
            ],
        )
    Console(width=130).print(table)
    tuned = results[results["budget"].eq("tuned") & results["test_set"].eq("external")]
    best = tuned.loc[tuned["value"].idxmax(), "trained_on"]
    row = differences[
        differences["trained_on"].eq(best)
        & differences["comparison"].eq("federated - single (tuned)")
        & differences["test_set"].eq("external")
    ].iloc[0]
    if row.low > 0:
        says = "beats"
    elif row.high < 0:
        says = "is worse than"
    else:
        says = "shows no difference to"
    print(
        f"{options.seeds} seeds: on external hospitals federated {says} the best tuned "
        f"single hospital ({best}): {row.difference:+.3f} "
        f"({row.low:+.3f} to {row.high:+.3f})"
        + (f", p = {row.p_value:.4f}" if options.seeds > 1 else "")
    )


if __name__ == "__main__":
    main()
