"""A hospital's page about its own data: one HTML file that needs nothing beside it.

It shows patients' pictures, so it says at its top that it must not leave the hospital,
and only the user who wrote it may open it.
"""

import os
import tempfile
from importlib.metadata import version
from itertools import chain, zip_longest
from pathlib import Path

import jinja2

from thyroid_fl.client.checking import Checked
from thyroid_fl.client.examples import choose, examples
from thyroid_fl.client.page_charts import counts, patient_charts, picture_charts
from thyroid_fl.faults import count, describe, describe_warnings

N_EXAMPLES = 24
MOST_SHOWN = 20
"""Faults, and warnings, that are not folded away."""
N_NAMED = 12
"""Pictures shown of those that a fault or warning names."""
OF_PICTURES = ("image", "mask", "boxes", "malignant")
"""Columns whose faults and warnings a picture may explain."""


def write_page(checked: Checked, path: Path) -> None:
    """Write what was found and what the data holds; never half a file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    cases, folder = checked.cases, checked.path.parent
    faults, warnings = checked.faults, checked.warnings
    sound = cases.drop(index=[fault.row for fault in faults], errors="ignore")
    html = environment.get_template("page.html.jinja").render(
        name=checked.path.name,
        found={
            "fault": [describe(fault, checked.path) for fault in faults],
            "warning": describe_warnings(warnings, checked.path),
        },
        count=count,
        most_shown=MOST_SHOWN,
        place="row" if checked.path.suffix == ".parquet" else "line",
        shift=1 if checked.path.suffix == ".parquet" else 0,
        counts=counts(checked),
        patient_charts=patient_charts(cases),
        picture_charts=picture_charts(checked),
        named=examples(cases.loc[_named(checked)], folder),
        examples=examples(sound.loc[choose(sound, N_EXAMPLES)], folder),
        version=version("thyroid-fl"),
    )
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as scratch:
        unfinished = Path(scratch) / path.name
        unfinished.touch(mode=0o600)
        unfinished.write_text(html, encoding="utf-8", errors="replace")
        os.replace(unfinished, path)  # noqa: PTH105 - the one atomic call


def _named(checked: Checked) -> list[int]:
    """Return lines of pictures that a fault or warning names, of each kind in turn."""
    kinds = [
        [one.row for one in found if one.column == column]
        for found in (checked.faults, checked.warnings)
        for column in OF_PICTURES
    ]
    turns = chain.from_iterable(zip_longest(*kinds))
    lines = [line for line in dict.fromkeys(turns) if line in checked.cases.index]
    return lines[:N_NAMED]
