"""The federation's Tables 1 and 2, as far as the hospitals told their counts.

A count that some hospitals withheld is known between two limits: what was told, and
that with all that could stand behind the withheld cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thyroid_fl.server.report.words import number
from thyroid_fl.server.summary_replies import Counts, Summary
from thyroid_fl.summary import (
    AGE_YEARS,
    N_AGE_BINS,
    N_AGE_CELLS,
    OTHER,
    TABLES,
    UNKNOWN,
    WITHHELD,
)

Array = NDArray[np.float64]

QUARTILES = (0.25, 0.5, 0.75)
WIDEST_YEARS = 20
MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Ages:
    """Patients by age.

    Attributes:
        patients: (N_AGE_CELLS,), the bins and last the unknown; no whole numbers.
        is_apart: (N_AGE_CELLS,), whether a hospital told the cell apart from the one
            before it; else the two have equal shares of what was told of both.
    """

    patients: Array
    is_apart: NDArray[np.bool_]


def table_1(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return the federation's patients and pictures, one row a characteristic.

    Returns:
        Columns characteristic, cell, then those of `counts`, and age_q1, age_median,
        age_q3 in years for all patients and for each sex: estimates, see `ages`.
    """
    rows = [_everyone(summaries)]
    rows += [counts(summaries, table) for table in TABLES if table != "vendor"]
    table = pd.concat(rows, ignore_index=True)
    columns = ["age_q1", "age_median", "age_q3"]
    table[columns] = np.nan
    strata = {("patients", "all"): "all", ("sex", "F"): "F", ("sex", "M"): "M"}
    for place, stratum in strata.items():
        is_row = (table["characteristic"] == place[0]) & (table["cell"] == place[1])
        table.loc[is_row, columns] = quartiles(ages(summaries, stratum))
    return table


def table_2(summaries: Sequence[Summary]) -> pd.DataFrame:
    """Return the vendors, most patients first, other and unknown last.

    Columns as in `counts`; a vendor that nobody told of has no row.
    """
    table = counts(summaries, "vendor")
    order = table["cell"].map({OTHER: 1, UNKNOWN: 2}).fillna(0)
    table = table.assign(order=order).sort_values(
        ["order", "patients_at_least"], ascending=[True, False], kind="stable"
    )
    is_shown = (table["patients_at_least"] > 0) | (table["order"] > 0)
    return table[is_shown].drop(columns="order").reset_index(drop=True)


def counts(summaries: Sequence[Summary], table: str) -> pd.DataFrame:
    """Return the cells of one table, summed over the hospitals.

    Returns:
        Columns characteristic (the table), cell, patients_at_least (told),
        patients_at_most, percent (of the patients in the hospitals that told the whole
        table; NaN without any), images_at_least, n_told and n_withheld (hospitals).
    """
    cells = TABLES[table]
    told = [s for s in summaries if s.n_patients != WITHHELD]
    patients = _matrix([s.patients[table] for s in told], len(cells))  # (H, cells)
    images = _matrix([s.images[table] for s in told], len(cells))
    sizes = np.array([s.n_patients for s in told], np.int64)
    is_told = patients != WITHHELD
    behind = sizes - np.where(is_told, patients, 0).sum(axis=1)  # withheld, by hospital
    n_tiny, in_tiny = _tiny(summaries)
    at_least = np.where(is_told, patients, 0).sum(axis=0)
    whole = patients[is_told.all(axis=1)]
    with np.errstate(invalid="ignore"):
        percent = 100 * whole.sum(axis=0) / np.float64(whole.sum())
    return pd.DataFrame(
        {
            "characteristic": table,
            "cell": cells,
            "patients_at_least": at_least,
            "patients_at_most": at_least + (~is_told).T @ behind + in_tiny,
            "percent": percent,
            "images_at_least": np.where(is_told, images, 0).sum(axis=0),
            "n_told": is_told.sum(axis=0),
            "n_withheld": (~is_told).sum(axis=0) + n_tiny,
        }
    )


def ages(summaries: Sequence[Summary], stratum: str) -> Ages:
    """Return the federation's ages, estimated from what the hospitals told.

    Hospitals add neighbouring cells up until none is small, each its own; a group's
    patients are divided among its cells as the whole federation's are, by expectation
    and maximisation (Turnbull 1976). Where no cell was joined the counts are exact.

    Args:
        summaries: of all hospitals.
        stratum: ``F`` or ``M``: the hospitals that told ages by sex; ``all``: all.
    """
    groups = [
        group
        for summary in summaries
        for name, counts in summary.ages.items()
        if stratum in ("all", name)
        for group in _groups(counts)
    ]
    totals = np.array([total for total, _ in groups], float)
    members = np.array([cells for _, cells in groups], bool).reshape(-1, N_AGE_CELLS)
    found = np.full(N_AGE_CELLS, totals.sum() / N_AGE_CELLS)
    for _ in range(MOST_STEPS):
        shares = members * found  # (groups, cells)
        before, found = found, totals @ (shares / shares.sum(axis=1, keepdims=True))
        if np.abs(found - before).max() < 1e-4:
            break
    return Ages(found, np.r_[True, (members[:, 1:] != members[:, :-1]).any(axis=0)])


def quartiles(found: Ages) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile in whole years, one decimal.

    Linear within a bin, of `AGE_YEARS` years where bins were told apart. NaN without
    patients of known age, or in a bin wider than `WIDEST_YEARS`.

    >>> patients = np.bincount([9] * 3 + [10], minlength=N_AGE_CELLS).astype(float)
    >>> quartiles(Ages(patients, np.ones(N_AGE_CELLS, bool)))
    (46.2, 47.8, 49.5)
    """
    known = np.r_[0.0, found.patients[:N_AGE_BINS].cumsum()]
    wanted = np.array(QUARTILES) * known[-1]
    edges = AGE_YEARS * np.arange(N_AGE_BINS + 1) - 0.5  # 45 stands for 44.5 to 45.5
    years = np.interp(wanted, known, edges)
    bin_of = found.is_apart[:N_AGE_BINS].cumsum()
    width_years = AGE_YEARS * np.bincount(bin_of)[bin_of]
    place = np.searchsorted(known[1:], wanted)
    years[(width_years[place] > WIDEST_YEARS) | (known[-1] == 0)] = np.nan
    first, median, third = years.round(1).tolist()
    return first, median, third


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return Table 1 or 2 as text, for the terminal."""
    lines = []
    for row in table.to_dict("records"):
        more = "\u2265 " if row["n_withheld"] else ""
        n_hospitals = row["n_told"] + row["n_withheld"]
        line = {
            "": f"{row['characteristic']}: {row['cell']}",
            "Patients (%)": f"{more}{row['patients_at_least']} "
            f"({number(row['percent'], 1)})",
            "Images": f"{more}{row['images_at_least']}",
            "Withheld by": f"{row['n_withheld']} of {n_hospitals}" if more else "",
        }
        if "age_median" in row:
            age = (number(row[f"age_{name}"], 1) for name in ("median", "q1", "q3"))
            text = "{} ({} to {})".format(*age)
            line["Age"] = text if row["age_median"] > 0 else ""
        lines.append(line)
    return pd.DataFrame(lines)


def _everyone(summaries: Sequence[Summary]) -> pd.DataFrame:
    told = [s for s in summaries if s.n_patients != WITHHELD]
    n_tiny, in_tiny = _tiny(summaries)
    n_patients = sum(s.n_patients for s in told)
    return pd.DataFrame(
        {
            "characteristic": ["patients"],
            "cell": ["all"],
            "patients_at_least": [n_patients],
            "patients_at_most": [n_patients + in_tiny],
            "percent": [100.0 if told else np.nan],
            "images_at_least": [sum(s.n_images for s in told)],
            "n_told": [len(told)],
            "n_withheld": [n_tiny],
        }
    )


def _tiny(summaries: Sequence[Summary]) -> tuple[int, int]:
    """Return the hospitals that told nothing, and the patients they have at most."""
    least = [s.min_cell for s in summaries if s.n_patients == WITHHELD]
    return len(least), sum(least) - len(least)


def _matrix(rows: list[Counts], n_cells: int) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, n_cells)


def _groups(counts: Counts) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return count and members, (N_AGE_CELLS,), of each group that has patients."""
    number_of = np.cumsum([count != WITHHELD for count in counts])
    totals = [count for count in counts if count != WITHHELD]
    return [
        (total, number_of == group) for group, total in enumerate(totals, 1) if total
    ]
