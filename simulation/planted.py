"""Synthetic hospitals with a planted effect: to teach it, and to test who looks for it.

A *shortcut*: every hospital burns a mark of its own into its pictures, and has few or
many malignant patients, so that the mark foretells the label where the hospital is
known. A *contrary* hospital: what looks malignant there is benign, and the reverse, as
where somebody coded pathology the wrong way round; a model of all fails there.

Nothing else tells the hospitals apart: all have one vendor's scanner, and one picture a
patient.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from thyroid_fl.errors import ConfigError
from thyroid_fl.manifest import write_manifest
from thyroid_fl.simulation.cohort.pictures import new_folder
from thyroid_fl.simulation.phantom import draw
from thyroid_fl.simulation.phantom.nodule_features import nodule_features

VENDOR = "Mindray"
PREVALENCES = ((0.1, 0.3), (0.7, 0.9))
"""Of the hospitals with a shortcut: half of them in either range, evenly spread."""
MARK_CELLS = 3
"""A mark is a square of so many black or white cells each way; no two are alike."""

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Patient:
    hospital: str
    malignant: bool
    looks_malignant: bool
    """Whether the nodule's findings are drawn as a malignant one's."""


def write_shortcut(
    folder: Path,
    *,
    n_hospitals: int = 40,
    n_patients: int = 50,
    marked: bool = True,
    picture_px: int = 64,
    seed: int = 1,
) -> Path:
    """Write hospitals whose marks foretell their prevalence; return the manifest.

    Args:
        folder: a new one; gets manifest.parquet and images/.
        n_hospitals: how many, 2 to 512.
        n_patients: of each, with one picture each.
        marked: without, the same pictures and labels, but no marks: the control.
        picture_px: side of the square pictures, in pixels; the mark is in the upper
            left corner, three eighths of the side.
        seed: of everything drawn.

    Raises:
        ConfigError: the folder exists, or a number is out of range.
    """
    n_marks = 2**MARK_CELLS**2
    if not 2 <= n_hospitals <= n_marks:
        raise ConfigError(f"{n_hospitals} hospitals: expected 2 to {n_marks}")
    rng = np.random.default_rng([seed, 0x3A4C])
    halves = n_hospitals // 2, n_hospitals - n_hospitals // 2
    spread = [
        np.linspace(*ends, n) for ends, n in zip(PREVALENCES, halves, strict=True)
    ]
    prevalences = rng.permutation(np.concatenate(spread))
    drawn = rng.choice(n_marks, n_hospitals, replace=False)
    cells = drawn[:, None] >> np.arange(MARK_CELLS**2) & 1  # (hospitals, cells)
    names = _names(n_hospitals)
    patients = [
        _Patient(name, malignant, malignant)
        for name, prevalence in zip(names, prevalences, strict=True)
        for malignant in _pathology(n_patients, prevalence)
    ]
    marks = dict(zip(names, cells, strict=True)) if marked else {}
    cell = np.full((picture_px // 8,) * 2, 255, dtype=np.uint8)

    def burn(picture: Picture, hospital: str) -> None:
        if hospital in marks:
            ink = np.kron(marks[hospital].reshape(MARK_CELLS, MARK_CELLS), cell)
            picture[: len(ink), : len(ink)] = ink

    return _write(folder, patients, picture_px, seed, burn)


def write_contrary(
    folder: Path,
    *,
    n_patients: Sequence[int] = (500, 400, 400, 400, 400),
    contrary: bool = True,
    picture_px: int = 64,
    seed: int = 1,
) -> Path:
    """Write hospitals of which the first is contrary; return the manifest.

    Args:
        folder: a new one; gets manifest.parquet and images/.
        n_patients: of each hospital, half of them malignant, one picture each.
        contrary: without, the first hospital is like the others: the control.
        picture_px: side of the square pictures, in pixels.
        seed: of everything drawn.

    Raises:
        ConfigError: the folder exists, or ``picture_px`` is too small.
    """
    patients = [
        _Patient(name, malignant, malignant != (contrary and k == 0))
        for k, (name, n) in enumerate(
            zip(_names(len(n_patients)), n_patients, strict=True)
        )
        for malignant in _pathology(n, 0.5)
    ]
    return _write(folder, patients, picture_px, seed, lambda picture, hospital: None)


def _names(n: int) -> list[str]:
    return [f"H{k:03}" for k in range(1, n + 1)]


def _pathology(n: int, prevalence: float) -> Iterator[bool]:
    n_malignant = round(n * prevalence)
    return (k < n_malignant for k in range(n))


def _write(
    folder: Path,
    patients: Sequence[_Patient],
    picture_px: int,
    seed: int,
    burn: Callable[[Picture, str], None],
) -> Path:
    """Draw a picture of each patient, burn in what its hospital does, and list them."""
    if folder.exists():
        raise ConfigError(f"{folder} exists: choose another folder")
    with new_folder(folder) as building:
        (building / "images").mkdir()
        rows = [
            _draw(building, patient, f"P{number:05}", picture_px, [seed, number], burn)
            for number, patient in enumerate(patients)
        ]
        write_manifest(pd.DataFrame(rows), building / "manifest.parquet")
    return folder / "manifest.parquet"


def _draw(
    folder: Path,
    patient: _Patient,
    name: str,
    picture_px: int,
    seed: list[int],
    burn: Callable[[Picture, str], None],
) -> dict[str, Any]:
    """Write one patient's picture; return its row of the manifest."""
    rng = np.random.default_rng(seed)
    phantom = draw(
        nodule_features(patient.looks_malignant, rng),
        VENDOR,
        size_px=picture_px,
        patient_seed=int(rng.integers(2**32)),
        image_index=0,
        view="transverse",
    )
    burn(phantom.image, patient.hospital)
    Image.fromarray(phantom.image).save(folder / "images" / f"{name}.png")
    return {
        "image_id": name,
        "patient_id": name,
        "hospital": patient.hospital,
        "vendor": VENDOR,
        "image": f"images/{name}.png",
        "boxes": (phantom.box,),
        "malignant": int(patient.malignant),
        "view": "transverse",
    }
