"""Whatever happens to a manifest or its files, `check` says so, and never crashes."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from thyroid_fl.client.cli import main
from thyroid_fl.columns import COLUMNS

FORMATS = ("png", "jpg", "tif", "bmp", "gif", "webp", "jp2", "avif", "dds", "ppm")
PLACES = st.floats(0, 1, exclude_max=True)
DAMAGE = st.lists(
    st.tuples(
        PLACES,
        st.none()  # cut here
        | st.binary(min_size=1, max_size=4)
        | st.sampled_from([b'"', b",", b"\n", b"\0", b"\r", b"\xff", b"nan", b"-"]),
    ),
    min_size=1,
    max_size=5,
)
CELLS = st.text(max_size=6) | st.sampled_from(
    ["", " ", "nan", "inf", "-1", "1e400", "9" * 400, "x" * 300, "x/" * 3000, "/", ".",
     "[[0, 0, 1, 1]]", f"[[0, 0, 1, 1{'0' * 400}]]", "[[0, 0, 9e9, 1]]", "[[]]", "{}",
     "[" * 2000, '[["a"]]', "null", "[[0, 0, 100000000, 100000000]]", "0.png",
     "../0.png", "\0"]
)  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Write a manifest with every column and a picture of every format."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(1)
    rows = []
    for i, ending in enumerate(FORMATS):
        noise = Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8))
        noise.resize((40, 30)).convert("RGB").save(folder / f"{i}.{ending}")
        mask = Image.new("L", (40, 30))
        mask.paste(255, (10, 5, 30, 20))
        mask.save(folder / f"{i}-mask.png")
        rows.append(
            {"image_id": f"i{i}", "patient_id": f"p{i // 2}", "hospital": "H",
             "image": f"{i}.{ending}", "mask": f"{i}-mask.png",
             "boxes": "[[10, 5, 30, 20]]", "malignant": str(i % 4 // 2),
             "tirads": "4a", "vendor": "GE", "device": "Logiq", "province": "A",
             "region": "inland", "sex": "F", "age": "40", "view": "transverse",
             "nodule_id": "n", "frame": str(i), "pixel_mm": "0.1", "split": "train",
             "split_1": "test"}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    assert set(COLUMNS) < set(table)
    table.to_csv(folder / "manifest.csv", index=False)
    table.to_parquet(folder / "manifest.parquet")
    return folder


def damaged(content: bytes, damage: list[tuple[float, bytes | None]]) -> bytes:
    for place, new in damage:
        start = int(place * len(content))
        if new is None:
            content = content[:start]
        else:
            content = content[:start] + new + content[start + len(new) :]
    return content


def assert_survived(manifest: Path, *codes: int) -> None:
    """Check a manifest; the exit code is one of these, foreseen, with a page."""
    page = manifest.with_suffix(".html")

    done = CliRunner().invoke(main, ["check", str(manifest), "--html", str(page)])

    assert done.exit_code in codes, done.output[-500:]
    assert "Traceback" not in done.output
    assert "--debug" not in done.stderr, done.stderr[
        -500:
    ]  # not what was not thought of
    assert page.exists() == (done.exit_code < 2)
    page.unlink(missing_ok=True)


def test_the_sound_folder_has_no_faults(sound):
    for name in ("manifest.csv", "manifest.parquet"):
        assert_survived(sound / name, 0)


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(damage=DAMAGE)
def test_a_damaged_table_is_survived(name, sound, damage):
    path = sound / f"damaged{Path(name).suffix}"
    path.write_bytes(damaged((sound / name).read_bytes(), damage))

    assert_survived(path, 0, 1, 2)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(cells=st.lists(st.tuples(PLACES, PLACES, CELLS), min_size=1, max_size=6))
def test_any_cell_is_survived(sound, cells):
    with (sound / "manifest.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    for down, across, cell in cells:
        row = rows[int(down * len(rows))]
        row[int(across * len(row))] = cell
    path = sound / "cells.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(rows)

    assert_survived(path, 0, 1, 2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(swap=st.tuples(PLACES, PLACES, PLACES, PLACES))
def test_swapped_cells_are_survived(sound, swap):
    table = pd.read_csv(sound / "manifest.csv", dtype="str").to_numpy()
    i, j, k, m = (int(p * n) for p, n in zip(swap, table.shape * 2, strict=True))
    table[i, j], table[k, m] = table[k, m], table[i, j]
    columns = pd.read_csv(sound / "manifest.csv").columns
    pd.DataFrame(table, columns=columns).to_csv(sound / "swapped.csv", index=False)

    assert_survived(sound / "swapped.csv", 0, 1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(which=PLACES, damage=DAMAGE)
def test_a_damaged_file_is_survived(sound, tmp_path_factory, which, damage):
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(sound, folder, dirs_exist_ok=True)
    files = sorted(path for path in folder.iterdir() if path.stem[0].isdigit())
    path = files[int(which * len(files))]
    path.write_bytes(damaged(path.read_bytes(), damage))

    assert_survived(folder / "manifest.csv", 0, 1)

    shutil.rmtree(folder)
