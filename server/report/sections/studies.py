"""Studies in the folder of a comparison: matrices, optimism of the split, readers.

A study is there if its command wrote into a sub-folder of the comparison's folder,
whatever its name: ``thyroid-sim matrix --out RUN/vendors``.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.findings import read_csv
from thyroid_fl.server.report.matrix import matrix_part
from thyroid_fl.server.report.matrix_findings import MatrixRun, read_matrix
from thyroid_fl.server.report.optimism import optimism_in_words


def matrices(folder: Path) -> dict[Path, MatrixRun]:
    """Return the finished matrices in the sub-folders of a comparison's folder."""
    folders = [table.parent for table in sorted(folder.glob("*/matrix.csv"))]
    return {each: read_matrix(each) for each in folders}


def studies(folder: Path, manifest_sha256: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the page of a comparison sets of the studies in its sub-folders.

    Args:
        folder: the comparison's.
        manifest_sha256: of its data; a matrix of other data is refused.

    Raises:
        ConfigError: a study is not complete, or of other data.
    """
    found = matrices(folder)
    for path, run in found.items():
        if run.provenance["manifest_sha256"] != manifest_sha256:
            raise ConfigError(
                f"{path}: this matrix is of other data than the "
                f"comparison in {folder}; move it elsewhere, or make it with "
                "--data and the comparison's manifest"
            )
    return {
        "matrices": [
            matrix_part(run, path, page_folder=folder) for path, run in found.items()
        ],
        "optimisms": [
            {
                "name": path.parent.name,
                "table": optimism_in_words(read_csv(path)),
                "sentences": _lines(path.with_name("words.txt")),
            }
            for path in sorted(folder.glob("*/optimism.csv"))
        ],
        "readers": [
            {
                "name": path.parent.name,
                "table_6": pd.read_csv(path, dtype="str", keep_default_na=False),
                "sentences": _lines(path.with_name("notes.txt")),
            }
            for path in sorted(folder.glob("*/table_6.csv"))
        ],
    }


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
