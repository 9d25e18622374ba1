"""A hospital's cases as its ClientApp sees them."""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from thyroid_fl.batches import Cases, IntArray
from thyroid_fl.devices import choose_device
from thyroid_fl.errors import ConfigError
from thyroid_fl.leaks import refuse_leaks
from thyroid_fl.manifest import read_manifest
from thyroid_fl.pixels import PixelStore, open_store
from thyroid_fl.settings import Study
from thyroid_fl.splits import regrouped, split_cases, with_test_set
from thyroid_fl.tasks import TASKS

ALL_HOSPITALS = "all"
DATA_FIELDS = (
    "data", "task", "region", "margin", "image_px", "split", "split_seed", "fold",
    "n_folds", "device",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """The usable cases of a manifest, split, checked for leaks, on the device.

    Attributes:
        table: one row per case: manifest columns, split, test_set.
        cases: pixels and labels in the same order.
        folder: the manifest's; the paths in the table start there.
        counts: one row a hospital: n_registered pictures in the manifest, n_readable
            of them in the pixel store, n_usable of these with what the task needs.
        left_out: columns image_id, reason, is_fault: pictures that cannot be used;
            a fault is one that the hospital should mend.
    """

    table: pd.DataFrame
    cases: Cases
    folder: Path
    counts: pd.DataFrame
    left_out: pd.DataFrame

    def rows(self, split: str, hospital: str = ALL_HOSPITALS) -> IntArray:
        """Return the row numbers of a split, of one hospital or of all."""
        chosen = self.table["split"] == split
        if hospital != ALL_HOSPITALS:
            chosen &= self.table["hospital"] == hospital
        return np.flatnonzero(chosen).astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One hospital's part of an archive, or the virtual hospital that holds all."""

    name: str
    cases: Cases
    train: IntArray
    val: IntArray
    counts: Mapping[str, int] = field(default_factory=dict)
    """n_registered, n_readable and n_usable pictures, see `Archive`."""


def open_site(study: Study, node_config: Mapping[str, Any]) -> Site:
    """Return the cases of the hospital that this node is.

    Args:
        study: names the data, the view of the pictures, and the split.
        node_config: ``manifest`` (a hospital's own; else the study's), and in a
            simulation ``hospital`` (a name, or ``all`` for the pooled arm) or Flower's
            ``partition-id``, the position in the sorted list of hospitals.

    Raises:
        ConfigError: there is no such hospital, or no data.
        ManifestError: the manifest or a picture cannot be used, or the split leaks.
    """
    archive = own_archive(study, node_config)
    hospitals = sorted(archive.table["hospital"].unique())
    name = node_config.get("hospital")
    if name is None:
        position = int(node_config.get("partition-id", 0))
        if position >= len(hospitals):
            raise ConfigError(
                f"partition {position} of {len(hospitals)} hospitals: set "
                f"num-supernodes to {len(hospitals)}"
            )
        name = hospitals[position]
    if name != ALL_HOSPITALS and name not in hospitals:
        raise ConfigError(f"no hospital {name!r} among the {len(hospitals)} here")
    return Site(
        name=str(name),
        cases=archive.cases,
        train=archive.rows("train", str(name)),
        val=archive.rows("val", str(name)),
        counts=_own_counts(archive.counts, str(name)),
    )


def own_archive(study: Study, node_config: Mapping[str, Any]) -> Archive:
    """Return the archive of the node's own manifest, else of the study's."""
    return open_archive(study, node_config.get("manifest", study.data))


def open_archive(
    study: Study,
    manifest: str | Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Archive:
    """Return a manifest's archive; opened once per process and setting of the data.

    The pixel store lies beside the manifest, in ``pixels/``.

    Raises:
        ConfigError: the study names no manifest.
        ManifestError: the manifest or a picture cannot be used, or the split leaks.
    """
    settings = {name: getattr(study, name) for name in DATA_FIELDS}
    settings["data"] = str(manifest)
    if manifest == "synthetic":
        raise ConfigError(
            "data is 'synthetic': write the cohort first with "
            "thyroid-sim cohort FOLDER, and set data to FOLDER/manifest.parquet"
        )
    if progress is not None:
        _open_store(Study(**settings), progress)
    path = Path(manifest)
    changed_ns = path.stat().st_mtime_ns if path.exists() else 0
    return _open_archive(Study(**settings), changed_ns)


def _open_store(
    study: Study, progress: Callable[[int, int], None]
) -> tuple[pd.DataFrame, PixelStore]:
    path = Path(study.data)
    manifest = read_manifest(path)
    return manifest, open_store(
        manifest,
        path.parent,
        path.parent / "pixels",
        region=study.region,
        margin=study.margin,
        image_px=study.image_px,
        masks="mask" in TASKS[study.task].needs,
        progress=progress,
    )


@lru_cache(maxsize=4)
def _open_archive(study: Study, changed_ns: int) -> Archive:
    del changed_ns  # a manifest that was mended is another one
    manifest, store = _open_store(study, lambda done, total: None)
    manifest, readable = (
        regrouped(cases, study.split) for cases in (manifest, store.cases)
    )
    table, needs = readable, TASKS[study.task].needs
    lacking = table[list(needs)].map(_is_missing).any(axis=1)
    # All cases are split, so that a patient is on one side in all tasks.
    table = split_cases(
        table,
        study.split,
        seed=study.split_seed,
        fold=study.fold,
        n_folds=study.n_folds,
    )
    refuse_leaks(table, store.thumbnails)
    # A case without its label stays in the table, in no split.
    table = with_test_set(table.assign(split=table["split"].mask(lacking)))
    empty = f"the column {' or '.join(needs)} is empty; {study.task} needs it"
    faults = table.loc[lacking, "mask_fault"]
    unlabelled = table.loc[lacking, ["image_id"]].assign(
        reason=faults.fillna(empty), is_fault=faults.notna()
    )
    return Archive(
        table=table,
        cases=_cases(store, table, needs, choose_device(study.device)),
        folder=Path(study.data).parent,
        counts=_counts(manifest, readable, readable[~lacking]),
        left_out=pd.concat([store.left_out, unlabelled], ignore_index=True),
    )


def _own_counts(counts: pd.DataFrame, name: str) -> dict[str, int]:
    own = counts if name == ALL_HOSPITALS else counts.loc[[name]]
    return {str(column): int(n) for column, n in own.sum().items()}


def _counts(
    registered: pd.DataFrame, readable: pd.DataFrame, usable: pd.DataFrame
) -> pd.DataFrame:
    stages = {"registered": registered, "readable": readable, "usable": usable}
    counts = {f"n_{k}": v["hospital"].value_counts() for k, v in stages.items()}
    return pd.DataFrame(counts).fillna(0).astype(int)


def _cases(
    store: PixelStore, table: pd.DataFrame, needs: Sequence[str], device: torch.device
) -> Cases:
    malignant = table["malignant"].fillna(-1).to_numpy(dtype=np.int64)
    boxes = torch.from_numpy(_boxes(table)) if "boxes" in needs else None
    return Cases(
        pixels=torch.from_numpy(store.pixels).to(device),
        malignant=torch.from_numpy(malignant).to(device),
        masks=None if store.masks is None else torch.from_numpy(store.masks).to(device),
        boxes=None if boxes is None else boxes.to(device),
    )


def _boxes(table: pd.DataFrame) -> NDArray[np.float32]:
    """Return (N, K, 4) boxes in pixels of the store, NaN where a case has fewer."""
    most = int(table["boxes"].map(_n_boxes).max())
    boxes = np.full((len(table), most, 4), np.nan, np.float32)
    case: Any
    for k, case in enumerate(table.itertuples()):
        if n := _n_boxes(case.boxes):
            corners = np.stack(case.boxes).reshape(n, 2, 2) - case.crop[:2]
            offset = (case.left, case.top)
            boxes[k, :n] = (corners * case.scale + offset).reshape(n, 4)
    return boxes


def _n_boxes(boxes: Any) -> int:
    return 0 if boxes is None else len(boxes)


def _is_missing(value: Any) -> bool:
    """Return whether a cell says nothing: no value, or no box."""
    return len(value) == 0 if isinstance(value, Sized) else bool(pd.isna(value))
