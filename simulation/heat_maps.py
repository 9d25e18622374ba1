"""The heat maps of a comparison: tables, and the few pictures that the report shows."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from thyroid_fl.batches import Cases, IntArray
from thyroid_fl.client.heat_maps import (
    cases_with_masks,
    heat_maps,
    heat_shares,
    n_cells,
    overlay,
)
from thyroid_fl.client.site import Archive, open_archive
from thyroid_fl.evaluation.heat_maps import heat_table
from thyroid_fl.settings import Study
from thyroid_fl.simulation.arms import Training, trained_models
from thyroid_fl.tasks import build_model
from thyroid_fl.tasks.classification import GreyDenseNet

TASK = "classification"
MOST_PICTURES = 200
"""Of a test set: drawn, so that the cost does not grow with it."""
SEED = 1
"""Of the draw."""
TABLE, PICTURES = "heat_maps.csv", "heat_maps.parquet"
SHOWN = "heat_maps_shown.npz"
"""Pictures of patients: only where they were asked for."""


def write_heat_maps(trainings: Sequence[Training], out: Path, n_shown: int) -> None:
    """Write how much heat is in the nodules, and the pictures that are to be shown.

    Nothing without a classifier. Of the single hospitals the first, the largest, is
    looked at: tuned where it is.

    Args:
        trainings: all of them complete, in ``out/trainings/``.
        out: gets heat_maps.csv, heat_maps.parquet and, if pictures are to be shown,
            heat_maps_shown.npz.
        n_shown: how many pictures the report may show.
    """
    (out / SHOWN).unlink(missing_ok=True)
    explained = _explained(trainings)
    if not explained:
        return
    found = [_shares(training, out) for training in explained]
    pictures = pd.concat(found, ignore_index=True)
    pictures.to_parquet(out / PICTURES)
    table = heat_table(pictures)
    drawn = f"; at most {MOST_PICTURES} pictures a test set, drawn with seed {SEED}"
    table["method"] += drawn
    table["n_cells"] = _n_cells(explained[0].study)
    table.to_csv(out / TABLE, index=False)
    if n_shown:
        _write_shown(explained, pictures, out, n_shown)


def _explained(trainings: Sequence[Training]) -> list[Training]:
    """Return the classifiers to look at: one single hospital a seed and fold."""
    kept, with_single = [], set()
    for training in trainings:
        run = training.study.seed, training.study.fold
        is_further = training.arm == "single" and run in with_single
        if training.study.task == TASK and not is_further:
            kept.append(training)
            with_single |= {run} if training.arm == "single" else set()
    return [each for each in kept if len(_drawn(_archive(each)))]


def _archive(training: Training) -> Archive:
    return open_archive(training.study, training.study.data)


def _drawn(archive: Archive) -> IntArray:
    """Return rows of test pictures with a mask, at most `MOST_PICTURES` a test set."""
    table = archive.table
    candidates = table.iloc[archive.rows("test")].dropna(subset="mask")
    rows = [
        of_set.sample(min(len(of_set), MOST_PICTURES), random_state=SEED).index
        for _, of_set in candidates.sort_values("image_id").groupby("test_set")
    ]
    return np.sort(np.concatenate([np.empty(0, np.int64), *rows])).astype(np.int64)


def _n_cells(study: Study) -> int:
    model = build_model(dataclasses.replace(study, weights=""))
    return n_cells(cast(GreyDenseNet, model), study.image_px)


def _shares(training: Training, out: Path) -> pd.DataFrame:
    """Return a row per drawn picture that the training has a model for."""
    archive, study = _archive(training), training.study
    kept, cases = cases_with_masks(archive, _drawn(archive), study)
    columns = ["test_set", "image_id", "patient_id", "hospital", "malignant"]
    of_picture = archive.table.iloc[kept][columns].reset_index(drop=True)
    shares = [
        heat_shares(model, cases, places, study).set_index(places)
        for places, model in _served(training, out, archive, kept)
    ]
    table = of_picture.join(pd.concat(shares), how="inner")
    return training.describe(table.reset_index(drop=True))


def _served(
    training: Training, out: Path, archive: Archive, kept: IntArray
) -> Iterator[tuple[IntArray, GreyDenseNet]]:
    """Yield places in ``kept``, rows of the archive, with the model for them."""
    folder = out / "trainings" / training.folder
    for rows, model in trained_models(training, folder, archive, kept):
        yield np.flatnonzero(np.isin(kept, rows)), cast(GreyDenseNet, model)


def _write_shown(
    explained: Sequence[Training], pictures: pd.DataFrame, out: Path, n: int
) -> None:
    """Write pictures with the heat of the first federated model, and of pooled.

    M models, K pictures of H x W pixels.
    """
    pooled = next(training for training in explained if training.arm == "pooled")
    models, archive = (explained[0], pooled), _archive(pooled)
    kept, cases = cases_with_masks(archive, _drawn(archive), pooled.study)
    federated, of_pooled = (_of_run(pictures, training) for training in models)
    chosen = at_the_median(federated, n)
    ids = pd.Index(archive.table["image_id"].iloc[kept])
    places = ids.get_indexer(chosen.index).astype(np.int64)
    shown = [_overlays(each, out, archive, kept, cases, places) for each in models]
    assert cases.masks is not None, "they were opened with masks"
    np.savez_compressed(
        out / SHOWN,
        models=[[t.arm, t.strategy, t.budget, t.trained_on] for t in models],  # (M, 4)
        malignant=chosen["malignant"].to_numpy(np.int64),  # (K,)
        area=chosen["area"],  # (K,)
        in_mask=[chosen["in_mask"], of_pooled["in_mask"].loc[chosen.index]],  # (M, K)
        pictures=cases.pixels.cpu().numpy()[places],  # (K, H, W)
        masks=cases.masks.cpu().numpy()[places],  # (K, H, W)
        overlays=np.stack(shown),  # (M, K, H, W, 3)
    )


def _of_run(pictures: pd.DataFrame, training: Training) -> pd.DataFrame:
    """Return a training's rows, indexed by image_id."""
    own = training.describe(pd.DataFrame(index=[0]))
    return pictures.merge(own).set_index("image_id")


def at_the_median(pictures: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return n pictures, half of them malignant, whose in_mask is the most ordinary.

    Of each class those nearest to its median: neither the best nor the worst are
    picked out. An odd one is malignant. Pictures without heat are left out.
    """
    known, parts = pictures[pictures["in_mask"].notna()], []
    for malignant, n_of_class in ((1, (n + 1) // 2), (0, n // 2)):
        of_class = known[known["malignant"] == malignant].sort_index()
        distance = (of_class["in_mask"] - of_class["in_mask"].median()).abs()
        nearest = distance.sort_values(kind="stable").index[:n_of_class]
        parts.append(of_class.loc[nearest])
    return pd.concat(parts)


def _overlays(
    training: Training,
    out: Path,
    archive: Archive,
    kept: IntArray,
    cases: Cases,
    places: IntArray,
) -> NDArray[np.uint8]:
    """Return the pictures in these places with the training's heat, (K, H, W, 3)."""
    overlays = np.zeros((len(places), *cases.pixels.shape[1:], 3), np.uint8)
    for served, model in _served(training, out, archive, kept):
        here = np.isin(places, served)
        maps = heat_maps(model, cases, places[here], training.study)
        drawn = [overlay(batch.images.squeeze(1), heat) for batch, heat in maps]
        overlays[here] = np.concatenate([overlays[:0], *drawn])
    return overlays
