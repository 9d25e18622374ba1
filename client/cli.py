"""The hospital's command line: ``thyroid-client``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.client.readers.result import Note
from thyroid_fl.columns import as_cases
from thyroid_fl.console import Debug, error_edge, progress_bar
from thyroid_fl.errors import ConfigError
from thyroid_fl.faults import Fault, count, describe, manifest_faults
from thyroid_fl.leaks import Thumbnails, duplicate_pairs
from thyroid_fl.manifest import read_table
from thyroid_fl.picture_check import inspect_pictures

main = typer.Typer(
    help="What runs in a hospital. No picture leaves it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Source = Annotated[Path, typer.Argument(help="Folder with the pictures.")]
Out = Annotated[Path, typer.Argument(help="New folder for manifest and pictures.")]
Format = Annotated[
    str, typer.Argument(metavar="FORMAT", help=f"One of: {', '.join(FORMATS)}.")
]
Hospital = Annotated[
    str | None, typer.Option(metavar="NAME", help="Where the source names none.")
]
Manifest = Annotated[Path, typer.Argument(help="A manifest, .csv or .parquet.")]


@main.command("import")
def import_(
    format_: Format,
    source: Source,
    out: Out,
    hospital: Hospital = None,
    debug: Debug = False,
) -> None:
    """Turn pictures as they are into a folder with a manifest.

    Exit code 0: written; 2: nothing written, and the reason on stderr.
    """
    with error_edge(debug=debug):
        if format_ not in FORMATS:
            raise ConfigError(
                f"unknown format {format_!r}; known formats: {', '.join(FORMATS)}"
            )
        with progress_bar("importing pictures") as progress:
            done = import_pictures(
                FORMATS[format_], source, out, hospital=hospital, progress=progress
            )
        print(f"{out / 'manifest.csv'}: {_summary(done.rows)}")
        accounts = {
            "mended": done.mended,
            "left out": done.left_out,
            "warning": done.warned,
        }
        for word, notes in accounts.items():
            for note in notes:
                if note.image_ids:
                    print(f"{word}: {_account(note)}")


@main.command()
def check(manifest: Manifest, debug: Debug = False) -> None:
    """Print every fault of a manifest and of its pictures, with the remedy.

    Exit code 0: clean; 1: faults found; 2: the manifest cannot be read.
    """
    with error_edge(debug=debug):
        table = read_table(manifest)
        faults = manifest_faults(table, manifest.parent)
        cases = as_cases(table).set_index(table.index)
        with progress_bar("checking pictures") as progress:
            found = inspect_pictures(cases, manifest.parent, progress)
        faults += [*found.faults, *_duplicate_faults(cases, found.thumbnails)]
        for fault in sorted(faults):
            print(describe(fault, manifest))
        print(f"{manifest.name}: {count(faults)}; {_summary(cases)}")
        if faults:
            raise typer.Exit(1)


def _duplicate_faults(cases: pd.DataFrame, thumbnails: Thumbnails) -> Iterator[Fault]:
    """Find (nearly) one picture under two patients; frames of one clip are no fault."""
    patients, names = cases["patient_id"].to_numpy(), cases["image_id"].to_numpy()
    for i, j in duplicate_pairs(thumbnails):
        is_readable = thumbnails[i].any() and thumbnails[j].any()
        if is_readable and patients[i] != patients[j]:
            yield Fault(
                int(cases.index[j]),
                "image",
                f"picture {names[j]} of patient {patients[j]} is (nearly) the same as "
                f"{names[i]} of patient {patients[i]}; give both one patient_id, or "
                "remove one",
            )


def _summary(cases: pd.DataFrame) -> str:
    n_hospitals = cases["hospital"].nunique()
    return (
        f"{len(cases)} pictures of {cases['patient_id'].nunique()} patients "
        f"in {n_hospitals} hospital{'s' if n_hospitals != 1 else ''}"
    )


def _account(note: Note) -> str:
    shown = ", ".join(_printable(str(name)) for name in note.image_ids[:5])
    more = ", ..." if len(note.image_ids) > 5 else ""
    number = f"{len(note.image_ids)} {note.unit}{'s' * (len(note.image_ids) != 1)}"
    return f"{number}, because {note.reason}: {shown}{more}"


def _printable(name: str) -> str:
    """Return a file's name as a terminal may show it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
