"""How often `check` finds burnt-in text, and how often it sees some where none is.

The pictures were looked at by hand: text is a row of at least three letters or digits.
Those of BUS-BRA were drawn by lot and had no part in choosing the limits; 68 others of
it had. Those of DDTI were drawn by lot, but had been seen by then. The phantoms are
drawn by `thyroid_fl.simulation` and hold no text; DDTI's tissue is the middle of every
picture, where its scanner writes nothing but the letter of a caliper.
Run: ``python benchmarks/lettering.py``; the pictures are read from ``../shared/data``.
"""

from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from thyroid_fl.lettering import has_lettering
from thyroid_fl.simulation.phantom import draw
from thyroid_fl.simulation.phantom.nodule_features import NoduleFeatures
from thyroid_fl.simulation.phantom.vendor_looks import VENDOR_LOOKS

DATA = Path(__file__).parents[1] / "../shared/data"
BUSBRA_TEXT = """
0515-r 0756-s 0473-r 0199-r 0749-s 0157-l 0414-l 0698-s 0216-l 0430-r 0728-s 0454-r
0768-s 0400-l 0507-r 0426-r 0306-l 0240-l 0605-r 0776-s 0725-s 0245-l 0546-r 0397-r
0475-l 0563-l
"""
BUSBRA_NONE = "0346-r 1054-r 1042-r 1049-r 0950-r 0553-r 0193-r 0315-r 0289-r"
DDTI_TEXT = """
236_1 28_1 272_1 56_1 88_2 356_1 106_2 263_1 92_2 259_1 296_2 317_1 377_1 243_1 22_1
389_1 189_2 391_2 353_2 397_1 368_1 321_1 319_1 352_1 8_1 104_1 159_1 313_2 271_1
"""
DDTI_NONE = "132_1 96_1 64_1"
TISSUE = (110, 25, 420, 285)


def grey(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("L")


def phantoms() -> Iterable[Image.Image]:
    for vendor in VENDOR_LOOKS:
        for seed in range(6):
            features = NoduleFeatures(
                solid=seed % 2 == 0,
                vertical=seed % 3 == 0,
                marked_hypo=seed % 2 == 1,
                microcalcifications=True,
                irregular=seed > 2,
                comet_tail=seed % 3 == 1,
            )
            phantom = draw(
                features,
                vendor,
                size_px=(256, 512)[seed % 2],
                patient_seed=seed,
                image_index=0,
                view="longitudinal",
            )
            yield Image.fromarray(phantom.image)


def main() -> None:
    busbra, ddti = DATA / "busbra/Images", DATA / "ddti"
    pictures = {
        "BUS-BRA, text": [grey(busbra / f"bus_{n}.png") for n in BUSBRA_TEXT.split()],
        "BUS-BRA, no text": [
            grey(busbra / f"bus_{n}.png") for n in BUSBRA_NONE.split()
        ],
        "DDTI, text": [grey(ddti / f"{n}.jpg") for n in DDTI_TEXT.split()],
        "DDTI, no text": [grey(ddti / f"{n}.jpg") for n in DDTI_NONE.split()],
        "DDTI's tissue, no text": [
            grey(path).crop(TISSUE) for path in sorted(ddti.glob("*.jpg"))
        ],
        "phantoms, no text": list(phantoms()),
    }
    table = Table("pictures", "n", "said to hold text")
    for name, shown in pictures.items():
        n_found = sum(map(has_lettering, shown))
        table.add_row(name, str(len(shown)), f"{n_found} ({n_found / len(shown):.0%})")
    Console().print(table)


if __name__ == "__main__":
    main()
