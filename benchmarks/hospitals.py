"""Hospitals of noise pictures, for benchmarks in which only the cost counts."""

import socket
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from thyroid_fl.manifest import write_manifest

SPLITS = ("train",) * 8 + ("val",) * 2 + ("test",) * 2


def write_hospital(folder: Path, name: str, seed: int) -> Path:
    """Write twelve pictures of 64 px, eight to train with; return the manifest."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for k, split in enumerate(SPLITS):
        pixels = rng.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{k}.png")
        rows.append(
            {
                "image_id": f"{name}-{k}",
                "patient_id": f"{name}-{k}",
                "hospital": name,
                "image": f"images/{k}.png",
                "malignant": k % 2,
                "split": split,
            }
        )
    write_manifest(pd.DataFrame(rows), folder / "manifest.parquet")
    return folder / "manifest.parquet"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
