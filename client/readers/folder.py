"""A plain folder of pictures with one CSV whose columns are those of the manifest.

``image`` (and ``mask``) are paths relative to the folder. Where all pictures come from
one hospital, the column ``hospital`` may be missing: the import
gives its name.
"""

from pathlib import Path

from thyroid_fl.client.readers.published import files_in
from thyroid_fl.client.readers.result import Import
from thyroid_fl.errors import ManifestError
from thyroid_fl.manifest import read_table


def read(source: Path) -> Import:
    """Return the pictures that the folder's one CSV lists.

    Raises:
        ManifestError: there is no CSV, or more than one, or it cannot be read.
    """
    tables = files_in(source, "*.csv")
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise ManifestError(
            f"{source}: expected one .csv that lists the pictures; found {found}"
        )
    return Import(rows=read_table(tables[0]), table=tables[0])
