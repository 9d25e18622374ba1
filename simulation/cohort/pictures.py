"""The synthetic cohort as hospitals would have it: pictures, masks and a manifest."""

import json
import multiprocessing
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import write_manifest
from thyroid_fl.simulation.cohort import Assumptions, cohort
from thyroid_fl.simulation.phantom import draw
from thyroid_fl.simulation.phantom.nodule import View
from thyroid_fl.simulation.phantom.nodule_features import (
    bayes_auc,
    nodule_features,
    tirads,
)

VIEWS: tuple[View, View] = ("longitudinal", "transverse")
PICTURE_PX = 96


def open_cohort(
    folder: Path,
    *,
    scale: float,
    seed: int = 1,
    picture_px: int = PICTURE_PX,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Return the manifest of the cohort in this folder, writing it if it is not there.

    Args:
        folder: gets manifest.parquet, cohort.json (what is assumed), images/, masks/.
        scale: share of the paper's 10 023 patients, at most 1.
        seed: of everything drawn.
        picture_px: side of the square pictures, in pixels.
        progress: called with pictures done and all.

    Raises:
        ConfigError: the folder holds a cohort with other settings, or ``scale`` is out
            of range.
    """
    facts = _facts(scale, seed, picture_px)
    manifest = folder / "manifest.parquet"
    if folder.exists():
        _check_same(folder, facts)
        return manifest
    patients = cohort(seed=seed, scale=scale)
    with new_folder(folder) as building:
        rows = _draw_all(patients, lambda _: building, seed, picture_px, progress)
        write_manifest(rows, building / manifest.name)
        (building / "cohort.json").write_text(json.dumps(facts, indent=2))
    return manifest


def write_hospitals(
    folder: Path,
    n_hospitals: int,
    *,
    scale: float,
    seed: int = 1,
    picture_px: int = PICTURE_PX,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write the cohort's largest hospitals, each into a folder of its own.

    So one machine can play a real federation, in which nobody has all manifests.

    Args:
        folder: a new one; gets ``H001/manifest.csv``, ``H001/images/`` and so on.
        n_hospitals: how many.
        scale: share of the cohort's 10 023 patients, at most 1.
        seed: of everything drawn.
        picture_px: side of the square pictures, in pixels.
        progress: called with pictures done and all.

    Returns:
        The manifests, the largest hospital's first.

    Raises:
        ConfigError: the folder exists, or ``scale`` or ``n_hospitals`` is out of range.
    """
    if folder.exists():
        raise ConfigError(f"{folder} exists: choose another folder")
    patients = cohort(seed=seed, scale=scale)
    largest = patients["hospital"].value_counts(sort=True).index[:n_hospitals]
    if not 1 <= n_hospitals <= patients["hospital"].nunique():
        raise ConfigError(f"{n_hospitals} hospitals: expected 1 to 208")
    chosen = patients[patients["hospital"].isin(largest)]
    with new_folder(folder) as building:
        rows = _draw_all(
            chosen, lambda name: building / name, seed, picture_px, progress
        )
        for name, own in rows.groupby("hospital"):
            write_manifest(own, building / str(name) / "manifest.csv")
    return [folder / name / "manifest.csv" for name in largest]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside this one, which takes its place when all went well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".cohort-", dir=folder.parent))
    try:
        yield building
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _draw_all(
    patients: pd.DataFrame,
    folder_of: Callable[[str], Path],
    seed: int,
    picture_px: int,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Draw the patients' pictures into their hospitals' folders; return the rows."""
    for name in patients["hospital"].unique():
        for part in ("images", "masks"):
            (folder_of(name) / part).mkdir(parents=True, exist_ok=True)
    n_images = int(patients["n_images"].sum())
    rows: list[dict[str, Any]] = []
    jobs = [
        (folder_of(patient["hospital"]), seed, picture_px, patient)
        for patient in patients.to_dict("records")
    ]
    # spawn: a fork of a process that runs torch's threads can hang
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), spawn) as pool:
        for drawn in pool.map(_draw_patient, jobs, chunksize=16):
            rows += drawn
            progress(len(rows), n_images)
    return pd.DataFrame(rows)


def _facts(scale: float, seed: int, picture_px: int) -> dict[str, Any]:
    """Return what the report says of the cohort."""
    settings = {"scale": scale, "seed": seed, "picture_px": picture_px}
    assumed = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(Assumptions()).items()
    }
    return {"cohort": settings | assumed, "bayes_auc": bayes_auc()}


def _check_same(folder: Path, facts: dict[str, Any]) -> None:
    try:
        written = json.loads((folder / "cohort.json").read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder} exists and is not a synthetic cohort: choose another folder"
        ) from error
    if written != facts:
        raise ConfigError(
            f"{folder} holds a cohort with other settings: choose another folder, or "
            "remove it"
        )


def _draw_patient(job: tuple[Path, int, int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Write one patient's pictures and masks; return their manifest rows."""
    folder, seed, picture_px, patient = job
    number = zlib.crc32(f"{seed} {patient['patient_id']}".encode())
    rng = np.random.default_rng([seed, number])
    features = nodule_features(bool(patient["malignant"]), rng)
    rows = []
    for k in range(patient["n_images"]):
        view = VIEWS[k % 2]
        phantom = draw(
            features,
            patient["vendor"],
            size_px=picture_px,
            patient_seed=number,
            image_index=k,
            view=view,
        )
        image_id = f"{patient['patient_id']}-{k + 1}"
        image, mask = f"images/{image_id}.png", f"masks/{image_id}.png"
        Image.fromarray(phantom.image).save(folder / image, compress_level=1)
        annotated = k < patient["n_annotated_images"]
        if annotated:
            Image.fromarray(phantom.mask).save(folder / mask)
        columns = ["patient_id", "hospital", "malignant", "vendor", "device"]
        columns += ["province", "region", "sex", "age"]
        rows.append(
            {"image_id": image_id, "image": image, "mask": mask if annotated else None}
            | {name: patient[name] for name in columns}
            | {
                "boxes": (phantom.box,) if annotated else (),
                "tirads": tirads(features),
                "view": view,
                "nodule_id": patient["patient_id"],
            }
        )
    return rows
