"""How long `thyroid-client check` takes for many pictures.

Writes N distinct pictures of 640 x 480 pixels, speckle with a nodule and a line of
text in every tenth, and their masks, as PNG into a temporary folder (about 0.2 MB
each), then runs the command on them, without and with ``--html``.
Run: ``python benchmarks/check.py [--pictures 10000] [--folder FOLDER]``; a folder that
is already filled is used again.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from thyroid_fl.manifest import write_manifest

WIDTH, HEIGHT = 640, 480
CHECK = "from thyroid_fl.client.cli import main; main()"


def write_pictures(folder: Path, n: int) -> None:
    """Write the manifest, and its pictures and masks."""
    rng = np.random.default_rng(1)
    noise = rng.rayleigh(50, (2 * HEIGHT, 2 * WIDTH)).clip(0, 255)
    speckle = Image.fromarray(noise.astype(np.uint8)).resize((4 * WIDTH, 4 * HEIGHT))
    places = rng.integers(0, [3 * WIDTH, 3 * HEIGHT], (n, 2))
    brightness = rng.integers(0, 200, (n, 3, 4), np.uint8)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)

    def write(i: int) -> tuple[int, int, int, int]:
        x, y = map(int, places[i])
        picture = speckle.crop((x, y, x + WIDTH, y + HEIGHT))
        light = Image.fromarray(brightness[i]).resize((WIDTH, HEIGHT))
        picture = Image.blend(picture, light, 0.4)
        box = (200 + x % 100, 150 + y % 100, 330 + x % 150, 270 + y % 100)
        mask = Image.new("1", (WIDTH, HEIGHT))
        ImageDraw.Draw(mask).ellipse((box[0], box[1], box[2] - 1, box[3] - 1), 1)
        picture.paste(20, mask=mask)
        if i % 10 == 0:
            ImageDraw.Draw(picture).text((20, 440), "LEFT LOBE", 255)
        picture.save(folder / f"images/{i}.png", compress_level=1)
        mask.save(folder / f"masks/{i}.png", compress_level=1)
        return box

    with ThreadPoolExecutor() as pool:
        boxes = list(pool.map(write, range(n)))
    rows = {
        "image_id": [f"i{i}" for i in range(n)],
        "patient_id": [f"p{i // 2}" for i in range(n)],
        "hospital": [f"H{i // 2 % 8}" for i in range(n)],
        "image": [f"images/{i}.png" for i in range(n)],
        "mask": [f"masks/{i}.png" for i in range(n)],
        "boxes": [(box,) for box in boxes],
        "malignant": [i // 2 % 3 == 0 for i in range(n)],
        "age": [30 + i // 2 % 50 for i in range(n)],
    }
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    table = Table("pictures", "command", "wall s", "CPU s", "wall ms a picture")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "pictures"
        manifest = folder / "manifest.csv"
        if not manifest.exists():
            write_pictures(folder, options.pictures)
        for more in ([], ["--html", str(Path(scratch) / "check.html")]):
            start, before = time.perf_counter(), children_cpu_s()
            command = [sys.executable, "-c", CHECK, "check", str(manifest), *more]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall_s, cpu_s = time.perf_counter() - start, children_cpu_s() - before
            n = len(pd.read_csv(manifest))
            table.add_row(
                str(n),
                " ".join(["check", *more[:1]]),
                f"{wall_s:.1f}",
                f"{cpu_s:.1f}",
                f"{1000 * wall_s / n:.1f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
