"""The leak gate: no patient and no duplicate picture is on two sides of a split.

N pictures; thumbnails are (N, 64, 64) uint8, the whole picture resized. Candidates for
a duplicate have nearly the same perceptual hash; a pair counts where the thumbnails
differ by at most 2 grey levels of 255 in the mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from thyroid_fl.errors import ManifestError

THUMBNAIL_PX = 64
MAX_HASH_BITS = 10
"""Hamming distance up to which a pair is a candidate, of 64 bits."""
MAX_MEAN_DIFFERENCE = 2.0
"""Largest mean absolute difference of a near-identical pair, in grey levels of 255."""

Thumbnails = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Leak:
    """Two cases that belong together but stand on two sides of the split."""

    what: str
    """The patient, or the word picture."""
    first: str
    second: str
    """Their image_id."""
    sides: tuple[str, str]


def thumbnail(picture: Image.Image) -> Thumbnails:
    """Return a whole grey picture as (64, 64) levels, its aspect not kept."""
    size = (THUMBNAIL_PX, THUMBNAIL_PX)
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def find_leaks(cases: pd.DataFrame, thumbnails: Thumbnails) -> list[Leak]:
    """Return the patients and the duplicate pictures on two sides of the split.

    Args:
        cases: rows with image_id, patient_id and split; rows without a split are on no
            side. A patient is named once for each pair of sides.
        thumbnails: (N, 64, 64), one for each row.
    """
    return [*_patient_leaks(cases), *_picture_leaks(cases, thumbnails)]


def refuse_leaks(cases: pd.DataFrame, thumbnails: Thumbnails) -> None:
    """Raise a ManifestError with the first ten leaks and their number, if any.

    Args:
        cases: as in `find_leaks`.
        thumbnails: as in `find_leaks`.
    """
    leaks = find_leaks(cases, thumbnails)
    if not leaks:
        return
    examples = [
        f"  {leak.what}: {leak.first} is in {leak.sides[0]}, "
        f"{leak.second} in {leak.sides[1]}"
        for leak in leaks[:10]
    ]
    number = "1 leak" if len(leaks) == 1 else f"{len(leaks)} leaks"
    more = f"\n  and {len(leaks) - 10} more" if len(leaks) > 10 else ""
    raise ManifestError(
        f"{number} between the sides of the split; "
        "what is known from training cannot be tested. Give pictures that belong "
        "together one patient_id (and one split), or remove one of them from the "
        "manifest:\n" + "\n".join(examples) + more
    )


def duplicate_pairs(thumbnails: Thumbnails) -> NDArray[np.int64]:
    """Return the pairs (i, j), i < j, of identical or near-identical pictures.

    Args:
        thumbnails: (N, 64, 64).

    Returns:
        (K, 2), sorted.
    """
    hashes = _perceptual_hashes(thumbnails)
    found = [np.empty((0, 2), np.int64)]
    for pairs in _candidates(hashes):
        first, second = thumbnails[pairs[:, 0]], thumbnails[pairs[:, 1]]
        # uint8 would wrap around at 0, so the smaller is taken from the larger.
        difference = np.maximum(first, second) - np.minimum(first, second)
        mean = difference.sum(axis=(1, 2), dtype=np.uint32) / THUMBNAIL_PX**2
        found.append(pairs[mean <= MAX_MEAN_DIFFERENCE])
    return np.concatenate(found)


def _perceptual_hashes(thumbnails: Thumbnails) -> NDArray[np.uint64]:
    """Return (N,) hashes: low frequencies above their median (pHash, Zauner 2010)."""
    hashes = np.zeros(len(thumbnails), np.uint64)
    powers = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
    for start in range(0, len(thumbnails), 1024):
        chunk = thumbnails[start : start + 1024].astype(np.float32)
        halves = chunk.reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))  # (n, 32, 32)
        low = dctn(halves, axes=(1, 2))[:, :8, :8].reshape(-1, 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes[start : start + 1024] = (bits * powers).sum(axis=1, dtype=np.uint64)
    return hashes


def _candidates(hashes: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Yield (K, 2) pairs i < j of similar hashes, at most about 4096 at a time."""
    for start in range(0, len(hashes), 64):
        rows, others = hashes[start : start + 64, None], hashes[None, start:]
        near = np.bitwise_count(rows ^ others) <= MAX_HASH_BITS
        pairs = np.argwhere(near)
        pairs = pairs[pairs[:, 0] < pairs[:, 1]] + start
        for first in range(0, len(pairs), 4096):
            yield pairs[first : first + 4096]


def _patient_leaks(cases: pd.DataFrame) -> Iterator[Leak]:
    sides = cases.dropna(subset=["split"]).drop_duplicates(["patient_id", "split"])
    for patient, rows in sides.groupby("patient_id"):
        first, *others = zip(rows["image_id"], rows["split"], strict=True)
        for name, side in others:
            yield Leak(f"patient {patient}", first[0], name, (first[1], side))


def _picture_leaks(cases: pd.DataFrame, thumbnails: Thumbnails) -> Iterator[Leak]:
    names, sides = cases["image_id"].to_numpy(), cases["split"].to_numpy()
    placed = cases["split"].notna().to_numpy()
    for i, j in duplicate_pairs(thumbnails):
        if placed[i] and placed[j] and sides[i] != sides[j]:
            yield Leak("picture", names[i], names[j], (sides[i], sides[j]))
