"""The layout of a hospital's data summary, which hospital and centre agree on.

A summary is numbers only: what a number means is its place, and the places are here.
Each table divides the same patients, so that every patient stands in one cell of it.
"""

UNKNOWN = "unknown"
OTHER = "other"
VENDORS = (
    "Mindray", "Philips", "Esaote", "GE Healthcare", "Siemens Healthineers", "Toshiba",
    "Samsung", "Supersonic Imagine", "Hitachi", "Zonare", "SonoScape", "VINNO",
    "Canon Medical", "Fujifilm", "Alpinion", "Chison", "BK Medical",
)  # fmt: skip
"""The paper's twelve vendors of ultrasound scanners, and five more."""

SIDES_PX = (256, 512, 768, 1024)
"""Where the classes of picture size begin, but the first: the longer side, pixels."""

TABLES = {
    "class": ("benign", "malignant", UNKNOWN),
    "sex": ("F", "M", UNKNOWN),
    "vendor": (*VENDORS, OTHER, UNKNOWN),
    "tirads": ("2", "3", "4a", "4b", "4c", "5", UNKNOWN),
    "masks": ("every picture", "some pictures", "no picture"),
    "boxes": ("every picture", "some pictures", "no picture"),
    "size": (
        "below 256 px", "256 to 511 px", "512 to 767 px", "768 to 1023 px",
        "1024 px and more",
    ),
}  # fmt: skip
"""Name of a table -> its cells, in the order in which their counts are sent.

None has fewer than three: see `thyroid_fl.client.withholding.withheld`.
"""

AGE_YEARS = 5
"""Width of an age bin; the last one begins at 115 and holds 120 too."""
N_AGE_BINS = 120 // AGE_YEARS
N_AGE_CELLS = N_AGE_BINS + 1
"""The bins, and after them the patients of unknown age."""
AGE_STRATA = ("all", *TABLES["sex"])

N_GREY_BINS = 32
GREY_DIGITS = 3
"""Shares of the grey levels are rounded to so many digits."""

WITHHELD = -1
"""In place of a count that is not told."""

QUERY = "summary"
"""Flower's action: the message's type is ``query.summary``."""
MIN_CELL, N_PATIENTS, N_IMAGES, GREY = "min-cell", "n-patients", "n-images", "grey"


def counts_keys(table: str) -> tuple[str, str]:
    """Return the keys of a table's patients and of its pictures.

    >>> counts_keys("class")
    ('class-patients', 'class-images')
    """
    return f"{table}-patients", f"{table}-images"


def ages_key(stratum: str) -> str:
    """Return the key of the ages of one sex, or of all patients."""
    return f"ages-{stratum}"
