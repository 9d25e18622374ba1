"""What an import does with faults that its user cannot mend (`Import.is_lenient`).

What cannot be used is left out and listed. Pictures that are (nearly) the same come to
one patient, so that no split tears them apart.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from thyroid_fl.client.readers.result import Import, Note
from thyroid_fl.columns import is_fold
from thyroid_fl.leaks import duplicate_pairs
from thyroid_fl.picture_check import Inspection

Pairs = NDArray[np.int64]

GIVES_UP = {"test": 0, "val": 1, "train": 2}
"""Of two sides that share a picture or a patient, the higher gives it up."""


def mend(found: Import, files: pd.DataFrame, seen: Inspection) -> Import:
    """Return the import without what cannot be used, and with an account of it.

    Args:
        found: what the reader returned.
        files: paths in the columns image and mask, one row for each of `found.rows`.
        seen: what the check of these files saw.
    """
    is_there = files.map(lambda file: pd.notna(file) and file.is_file())
    faulty = {
        name: pd.Index([fault.row for fault in seen.faults if fault.column == name])
        for name in files.columns.union(["boxes"])
    }
    absent = files.index[~is_there["image"]]
    reason = "the picture is not there or cannot be drawn"
    found = _without(found, absent, reason)
    found = _without(found, faulty["image"], "the picture cannot be read")
    absent = files.index[files["mask"].notna() & ~is_there["mask"]]
    found = _emptied(found, "mask", absent, "the mask is not there or cannot be drawn")
    reason = "the mask is unreadable, empty, grey or of another size"
    found = _emptied(found, "boxes", faulty["mask"], reason)
    found = _emptied(found, "mask", faulty["mask"], reason)
    reason = "a box reaches outside the picture"
    found = _emptied(found, "boxes", faulty["boxes"], reason)
    lines = found.rows.index
    thumbnails = seen.thumbnails[files.index.get_indexer(lines)]
    places = duplicate_pairs(thumbnails)
    places = places[thumbnails[places[:, 0]].any(axis=(1, 2))]
    pairs = lines.to_numpy()[places]
    is_same = [np.array_equal(*thumbnails[pair]) for pair in places]
    found = _settle_labels(found, pairs[np.array(is_same, bool)])
    found = _keep_sides_apart(_join_patients(found, pairs))
    kept = set(found.rows["image_id"])
    mended, warned = (
        tuple(_of_kept(note, kept) for note in notes)
        for notes in (found.mended, found.warned)
    )
    return replace(found, mended=mended, warned=warned)


def _of_kept(note: Note, kept: set[str]) -> Note:
    if note.unit != "picture":
        return note
    return replace(note, image_ids=tuple(filter(kept.__contains__, note.image_ids)))


def _settle_labels(found: Import, pairs: Pairs) -> Import:
    """Keep one of identical pictures with different labels, without its label.

    It is the first, or the one on the side that is held out.
    """
    if "split" in found.rows:
        first, second = (found.rows["split"].loc[lines] for lines in pairs.T)
        swap = first.map(GIVES_UP).to_numpy() > second.map(GIVES_UP).to_numpy()
        pairs = np.where(swap[:, None], pairs[:, ::-1], pairs)
    first, second = (found.rows["malignant"].loc[lines].array for lines in pairs.T)
    odd = pairs[pd.notna(first) & pd.notna(second) & (first != second)]
    reason = "an identical picture has another label"
    found = _emptied(found, "malignant", pd.Index(odd[:, 0]), reason)
    return _without(found, pd.Index(odd[:, 1]), reason)


def _join_patients(found: Import, pairs: Pairs) -> Import:
    """Give (nearly) identical pictures of one hospital one patient: the first."""
    rows = found.rows.dropna(subset=["patient_id"])
    pairs = pairs[np.isin(pairs, rows.index).all(axis=1)]
    first, second = (rows["hospital"].loc[lines].array for lines in pairs.T)
    pairs = pairs[first == second]
    patient, names = pd.factorize(rows["patient_id"])
    i, j = (patient[rows.index.get_indexer(lines)] for lines in pairs.T)
    graph = sparse.coo_array((np.ones(len(i)), (i, j)), (len(names), len(names)))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    joined = rows["patient_id"].groupby(group[patient]).transform("first")
    reason = "the picture is (nearly) that of an earlier patient; joined to it"
    return _changed(found, joined.reindex(found.rows.index).to_frame(), reason)


def _keep_sides_apart(found: Import) -> Import:
    """Keep a patient on one side of the split, and of every official fold."""
    if "split" in found.rows:
        gives_up = found.rows["split"].map(GIVES_UP)
        least = gives_up.groupby(found.rows["patient_id"]).transform("min")
        shared = found.rows.index[gives_up > least]
        reason = "the patient, or nearly the same picture, is on a side held out"
        found = _without(found, shared, reason)
    patients = found.rows["patient_id"]
    folds = found.rows[[name for name in found.rows if is_fold(str(name))]]
    whole = folds.apply(lambda fold: _follow_the_first(fold, patients))
    reason = (
        "a fold has the patient in training and in validation; "
        "all follow the first picture"
    )
    return _changed(found, whole, reason)


def _follow_the_first(
    fold: "pd.Series[str]", patients: "pd.Series[str]"
) -> "pd.Series[str]":
    """Give a patient's pictures outside the test the side of the first of them."""
    learning = fold.where(fold != "test")
    first = learning.groupby(patients).transform("first")
    return first.where(learning.notna(), fold)


def _without(found: Import, lines: pd.Index, reason: str) -> Import:
    chosen = found.rows.index.isin(lines)
    note = Note.of(reason, found.rows[chosen])
    if not note.image_ids:
        return found
    return replace(found, rows=found.rows[~chosen], left_out=(*found.left_out, note))


def _emptied(found: Import, column: str, lines: pd.Index, reason: str) -> Import:
    if column not in found.rows:
        return found
    values = found.rows[column].mask(found.rows.index.isin(lines), None)
    return _changed(found, values.to_frame(), f"{reason}; kept without {column}")


def _changed(found: Import, values: pd.DataFrame, reason: str) -> Import:
    before = found.rows[values.columns]
    chosen = ((values != before) & (values.notna() | before.notna())).any(axis=1)
    note = Note.of(reason, found.rows[chosen])
    if not note.image_ids:
        return found
    rows = found.rows.assign(**{str(name): values[name] for name in values})
    return replace(found, rows=rows, mended=(*found.mended, note))
