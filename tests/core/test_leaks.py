"""The leak gate finds patients and (nearly) identical pictures on two sides."""

import io
import time
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from thyroid_fl.errors import ManifestError
from thyroid_fl.leaks import duplicate_pairs, find_leaks, refuse_leaks, thumbnail


def speckle(n: int, *, sigma: float = 3.0) -> np.ndarray:
    """Return (n, 64, 64) smooth random pictures."""
    noise = np.random.default_rng(5).normal(size=(n, 64, 64))
    smooth = gaussian_filter(noise, (0, sigma, sigma))
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def cases(sides: list[str | None], patients: list[str]) -> pd.DataFrame:
    names = [f"i{k}" for k in range(len(sides))]
    return pd.DataFrame({"image_id": names, "patient_id": patients, "split": sides})


def test_pairs_equal_a_plain_comparison_of_all_pictures():
    pictures = speckle(60)
    rng = np.random.default_rng(1)
    pictures[10] = pictures[3]
    for k, spread in ((20, 1.0), (30, 2.0), (40, 6.0)):
        noisy = pictures[k] + rng.normal(0, spread, (64, 64)).round()
        pictures[k + 1] = np.clip(noisy, 0, 255)

    expected = [
        (i, j)
        for i, j in combinations(range(60), 2)
        if np.abs(pictures[i].astype(int) - pictures[j]).mean() <= 2
    ]

    assert expected == [(3, 10), (20, 21), (30, 31)]
    assert duplicate_pairs(pictures).tolist() == [list(pair) for pair in expected]


def test_a_picture_saved_again_is_found():
    picture = Image.fromarray(speckle(1)[0]).resize((400, 300))
    compressed = io.BytesIO()
    picture.save(compressed, "JPEG", quality=60)
    again = [picture, Image.open(compressed), picture.resize((300, 225))]

    pairs = duplicate_pairs(np.stack([thumbnail(one) for one in again]))

    assert pairs.tolist() == [[0, 1], [0, 2], [1, 2]]


def test_none_one_and_no_pictures_have_no_pairs():
    assert duplicate_pairs(speckle(1)[:0]).shape == (0, 2)
    assert duplicate_pairs(speckle(1)).shape == (0, 2)


def test_a_duplicate_counts_only_across_sides():
    pictures = speckle(6)
    pictures[1], pictures[3], pictures[5] = pictures[0], pictures[2], pictures[4]
    sides = ["train", "train", "train", "test", "val", None]

    leaks = find_leaks(cases(sides, list("abcdef")), pictures)

    assert [(leak.what, leak.first, leak.second) for leak in leaks] == [
        ("picture", "i2", "i3")
    ]


def test_a_patient_on_two_sides_is_refused_by_name():
    table = cases(["train", "test", "train"], ["p1", "p1", "p2"])

    with pytest.raises(ManifestError) as error:
        refuse_leaks(table, speckle(3))

    assert "1 leak between the sides of the split" in str(error.value)
    assert "patient p1: i0 is in train, i1 in test" in str(error.value)
    assert "one patient_id" in str(error.value)


def test_ten_examples_and_the_number_are_named():
    pictures = np.repeat(speckle(12), 2, axis=0)
    table = cases(["train", "test"] * 12, [str(k) for k in range(24)])

    with pytest.raises(ManifestError) as error:
        refuse_leaks(table, pictures)

    lines = str(error.value).splitlines()
    assert lines[0].startswith("12 leaks")
    assert len(lines) == 12
    assert lines[-1] == "  and 2 more"


def test_a_clean_split_passes():
    refuse_leaks(cases(["train", "val", "test"], ["a", "b", "c"]), speckle(3))


def test_the_papers_number_of_pictures_takes_seconds():
    pictures = np.random.default_rng(0).integers(0, 256, (24_944, 64, 64), np.uint8)
    pictures[24_000] = pictures[5]

    start = time.process_time()
    pairs = duplicate_pairs(pictures)

    assert pairs.tolist() == [[5, 24_000]]
    assert time.process_time() - start < 15  # 3 s on one quiet core
