"""What every folder's tests may use: a small federation, and how a page is read."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from thyroid_fl.manifest import write_manifest


@pytest.fixture(scope="session")
def small_manifest(tmp_path_factory):
    """Five hospitals, 24 patients each, two pictures a patient; bright: malignant."""
    folder = tmp_path_factory.mktemp("hospitals")
    (folder / "images").mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for number in range(120):
        malignant = int(rng.random() < 0.5)
        for k in range(2):
            name = f"images/{number}-{k}.png"
            shade = rng.normal(90 + 50 * malignant, 40)
            pixels = rng.normal(shade, 30, (40, 50)) + 60 * (rng.random((40, 50)) < 0.2)
            pixels[10:30, 15:35] += 40 * malignant
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / name)
            rows.append(
                {
                    "image_id": f"{number}-{k}",
                    "patient_id": f"p{number}",
                    "hospital": f"H{number % 5}",
                    "image": name,
                    "malignant": malignant,
                    "boxes": ((15, 10, 35, 30),),
                    "vendor": "GE" if number % 5 < 3 else "Philips",
                    "region": "inland" if number % 2 else "east_coast",
                }
            )
    write_manifest(pd.DataFrame(rows), folder / "manifest.csv")
    return folder / "manifest.csv"


class Page(HTMLParser):
    """What a browser would see: tags, attributes and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="session")
def read_page():
    """Return a function from HTML to its `Page`."""
    return Page
