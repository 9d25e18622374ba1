"""How fast the statistics are, and whether their intervals hold what they promise.

Speed: DeLong on 100 000 scores, and 2 000 bootstrap resamples of 10 000 patients with
two pictures each, beside the same by scikit-learn (`roc_auc_score` a resample) and a
clustered mean beside a GEE of statsmodels; the others on fewer resamples, scaled up.
Coverage: 300 patients of 1 to 4 pictures, simulated `--replicates` times: how often the
95 % interval of AUC and Dice holds the truth, naive and clustered by patient.
Run: ``python benchmarks/statistics.py [--quick] [--replicates 2000]``
"""

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import statsmodels.api as sm
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr
from sklearn.metrics import roc_auc_score

from thyroid_fl.statistics import (
    auc,
    bootstrap_auc,
    bootstrap_auc_difference,
    clustered_mean,
    compare_aucs,
    reoptimised_bootstrap,
)

SHIFT = 1.2
"""Between the classes, in standard deviations: the AUC is Phi(SHIFT / sqrt 2)."""


def timed(work: Callable[[], object]) -> float:
    """Return the wall seconds of the faster of two turns."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def cohort(
    n_patients: int, n_images: int, rng: np.random.Generator, correlation: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, scores, Dice-like values and patients of the pictures."""
    patients = np.repeat(
        np.arange(n_patients), rng.integers(1, n_images + 1, n_patients)
    )
    size = len(patients)
    labels = (rng.random(n_patients) < 0.6)[patients].astype(int)
    share = np.sqrt([correlation, 1 - correlation])
    noise = rng.normal(size=n_patients)[patients], rng.normal(size=size)
    scores = SHIFT * labels + share[0] * noise[0] + share[1] * noise[1]
    other = rng.normal(size=n_patients)[patients], rng.normal(size=size)
    dice = ndtr(1.0 + 0.6 * (share[0] * other[0] + share[1] * other[1]))
    return labels, scores, dice, patients


def speed(scale: int) -> Table:
    """Return the table of times; `scale` divides the sizes."""
    rng = np.random.default_rng(1)
    n, resamples = 100_000 // scale, 2000 // scale
    labels = rng.integers(0, 2, n)
    first, second = labels + rng.normal(size=n), labels + rng.normal(size=n)
    y, s, dice, patients = cohort(10_000 // scale, 3, rng)
    t = s + rng.normal(size=len(s))
    of_patient = np.unique(patients, return_index=True)[1]
    few = max(resamples // 100, 2)

    def by_sklearn() -> None:
        groups = np.split(np.arange(len(y)), of_patient[1:])
        for _ in range(few):
            drawn = rng.integers(0, len(groups), len(groups))
            rows = np.concatenate([groups[k] for k in drawn])
            roc_auc_score(y[rows], s[rows])

    def by_gee() -> None:
        sm.GEE(dice, np.ones(len(dice)), groups=patients).fit()

    options = {"seed": 1, "n_resamples": resamples, "clusters": patients}
    many = f"{n} scores"
    drawn = f"{resamples} resamples of {len(of_patient)} patients, {len(y)} pictures"
    by_hand = f"scikit-learn, {few} resamples scaled up"
    table = Table("what", "size", "wall s", "the other", "its wall s")
    for what, size, ours, other, its in (
        (
            "AUC with DeLong's interval", many, timed(lambda: auc(labels, first)),
            "scikit-learn, the AUC alone", timed(lambda: roc_auc_score(labels, first)),
        ),
        (
            "paired DeLong", many, timed(lambda: compare_aucs(labels, first, second)),
            "", None,
        ),
        (
            "AUC, bootstrap of patients", drawn,
            timed(lambda: bootstrap_auc(y, s, **options)),
            by_hand, timed(by_sklearn) * resamples / few,
        ),
        (
            "difference of two AUCs", drawn,
            timed(lambda: bootstrap_auc_difference(y, s, t, **options)), "", None,
        ),
        (
            "threshold chosen anew", drawn,
            timed(lambda: reoptimised_bootstrap(y, s, **options)), "", None,
        ),
        (
            "mean clustered by patient", f"{len(y)} pictures",
            timed(lambda: clustered_mean(dice, patients)),
            "statsmodels, GEE", timed(by_gee),
        ),
    ):  # fmt: skip
        shown = "" if its is None else f"{its:.3g}"
        table.add_row(what, size, f"{ours:.3g}", other, shown)
    return table


def coverage(replicates: int) -> Table:
    """Return how often the intervals hold the truth."""
    truth = float(ndtr(SHIFT / np.sqrt(2)))
    # E[Phi(a + b Z)] = Phi(a / sqrt(1 + b^2)).
    mean_dice = float(ndtr(1.0 / np.sqrt(1 + 0.6**2)))
    table = Table("correlation", "what", "naive", "by patient", "+-")
    for correlation in (0.0, 0.5, 0.9):
        rng = np.random.default_rng(2)
        held = np.zeros((replicates, 4), dtype=bool)
        for row in held:
            y, s, dice, patients = cohort(300, 4, rng, correlation)
            for k, (found, target) in enumerate(
                (
                    (auc(y, s), truth),
                    (auc(y, s, clusters=patients), truth),
                    (clustered_mean(dice, range(len(dice))), mean_dice),
                    (clustered_mean(dice, patients), mean_dice),
                )
            ):
                row[k] = found.low <= target <= found.high
        rates = held.mean(axis=0)
        error = f"{1.96 * np.sqrt(0.95 * 0.05 / replicates):.3f}"
        for name, k in (("AUC", 0), ("Dice", 2)):
            shown = [f"{rate:.3f}" for rate in rates[k : k + 2]]
            table.add_row(f"{correlation}", name, *shown, error)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of all sizes")
    parser.add_argument("--replicates", type=int, default=2000)
    options = parser.parse_args()
    scale = 10 if options.quick else 1
    console = Console(width=130)
    console.print(speed(scale))
    console.print(coverage(options.replicates // scale))
    console.print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
