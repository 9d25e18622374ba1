"""A smaller cohort with all its hospitals and, as near as it goes, all its shares.

Balanced sampling by exchange: the hospitals' numbers of patients are fixed first; then
patients inside and outside the sample change places within a hospital as long as this
brings the totals of `_totals` nearer to their proportional values (steepest descent on
the sum of squares). Nothing is drawn: a hospital's patients are in random order.

N patients of the whole cohort, T totals.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack

from thyroid_fl.simulation.cohort.allocation import Counts, Floats, shares

_AGE_BANDS = (25, 30, 35, 40, 45, 50, 55, 60, 65)
"""Where the bands of age that are kept in proportion begin, years."""
_Flags = NDArray[np.bool_]


def sample(whole: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return `n` patients of a cohort with all its hospitals; rows keep their order.

    Hospitals keep their share of patients (largest remainders, at least one) and, where
    they have annotated patients, at least one of those. As near to proportional as
    exchanges within hospitals bring them: malignant patients of each hospital; patients
    and images of each vendor; patients and images by class and by sex in each split of
    both tasks; ages in bands, in each split. At a scale of .15 that is within one
    or two patients for each.

    Args:
        whole: The cohort, one row per patient, sorted by hospital.
        n: Patients to keep; at least the number of hospitals.
    """
    hospital = pd.factorize(whole["hospital"])[0]
    size = np.bincount(hospital)
    quota = shares(n, size, least=1)
    totals, wanted = _totals(whole, (quota / size)[hospital], n / len(whole))
    annotated = whole["annotated"].to_numpy()
    pinned = annotated & ~whole.duplicated(["hospital", "annotated"]).to_numpy()
    order = np.lexsort((~pinned, hospital))
    rank = np.arange(len(whole)) - np.repeat(np.cumsum(size) - size, size)
    inside = np.empty(len(whole), bool)
    inside[order] = rank < quota[hospital]
    _exchange(inside, pinned, np.split(order, np.cumsum(size)[:-1]), totals, wanted)
    return whole[inside].reset_index(drop=True)


def _totals(
    whole: pd.DataFrame, hospital_share: Floats, share: float
) -> tuple[csc_array, Floats]:
    """Return what a patient adds to each total, (T, N), and the wanted totals, (T,).

    Both in units of patients: totals of images are divided by the root mean square of
    the images of a patient.
    """
    bands = np.digitize(whole["age"], _AGE_BANDS)
    columns = whole.assign(age_band=bands, patients=1)
    by_hospital = _sums(columns, ["hospital", "malignant"], "patients")
    kept = [(["vendor"], "patients"), (["vendor"], "n_images")]
    for task, images in (
        ("classification", "n_images"),
        ("segmentation", "n_annotated_images"),
    ):
        split = f"{task}_split"
        kept += [([split, "age_band"], "patients")]
        for code in ("malignant", "sex"):
            kept += [([split, code], "patients"), ([split, code], images)]
    elsewhere = vstack([_sums(columns, keys, weight) for keys, weight in kept])
    wanted = np.r_[by_hospital @ hospital_share, elsewhere.sum(axis=1) * share]
    totals = csr_array(vstack([by_hospital, elsewhere]))
    unit = np.sqrt(totals.power(2).sum(axis=1) / np.diff(totals.indptr))
    return csc_array(totals / unit[:, None]), wanted / unit


def _sums(columns: pd.DataFrame, keys: list[str], weight: str) -> csr_array:
    """Return the matrix (groups, N) that sums a column by keys; missing: in none."""
    group = columns.groupby(keys).ngroup().fillna(-1).to_numpy(int)
    rows = np.flatnonzero(group >= 0)
    values = columns[weight].to_numpy(float)[rows]
    return csr_array((values, (group[rows], rows)), shape=(group.max() + 1, len(group)))


def _exchange(
    inside: _Flags,
    pinned: _Flags,
    parts: list[Counts],
    totals: csc_array,
    wanted: Floats,
) -> None:
    """Exchange patients of each part until no exchange brings the totals nearer.

    Args:
        inside: Who is in the sample, (N,); changed.
        pinned: Who stays in it, (N,).
        parts: Rows of each hospital.
        totals: What a patient adds to each total, (T, N).
        wanted: The wanted totals, (T,).
    """
    distance = totals @ inside.astype(float) - wanted
    columns = [totals[:, rows] for rows in parts]
    products = [(column.T @ column).toarray() for column in columns]
    better = True
    while better:
        better = False
        for rows, column, product in zip(parts, columns, products, strict=True):
            while pair := _best_exchange(
                inside[rows], pinned[rows], 2 * (column.T @ distance), product
            ):
                out, into = pair
                inside[rows[[out, into]]] = False, True
                distance += column[:, [into]].toarray()[:, 0]
                distance -= column[:, [out]].toarray()[:, 0]
                better = True


def _best_exchange(
    inside: _Flags, pinned: _Flags, slope: Floats, product: Floats
) -> tuple[int, int] | None:
    """Return who leaves and who comes to lower the sum of squares most, or None."""
    leave, come = np.flatnonzero(inside & ~pinned), np.flatnonzero(~inside)
    if not (len(leave) and len(come)):
        return None
    square = np.diag(product)
    change = (
        (square - slope)[leave, None]
        + (square + slope)[come]
        - 2 * product[np.ix_(leave, come)]
    )
    first, second = np.unravel_index(np.argmin(change), change.shape)
    if change[first, second] > -1e-9:  # equal but for rounding: an endless dance
        return None
    return int(leave[first]), int(come[second])
