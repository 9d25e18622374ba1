"""The hospital's command line: ``thyroid-client``."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from thyroid_fl.client.checking import check_manifest
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.page import write_page
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.client.readers.result import Note
from thyroid_fl.console import Debug, error_edge, progress_bar
from thyroid_fl.errors import ConfigError
from thyroid_fl.faults import count, describe, describe_warnings

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
Html = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Write a page about the data; it shows patients' pictures."
    ),
]


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
def check(manifest: Manifest, html: Html = None, debug: Debug = False) -> None:
    """Print every fault and warning of a manifest and of its pictures.

    A fault must be mended; a warning is to be looked at. Each says what to do.

    Exit code 0: no faults; 1: faults found; 2: the manifest cannot be read.
    """
    with error_edge(debug=debug):
        if html and (html.suffix != ".html" or not html.parent.is_dir()):
            raise ConfigError(
                f"--html {html}: name a file .html in a folder that exists"
            )
        with progress_bar("checking pictures") as progress:
            done = check_manifest(manifest, progress)
        warnings = describe_warnings(done.warnings, manifest)
        faults = [describe(fault, manifest) for fault in done.faults]
        for sentence in (*warnings, *faults):  # faults last: a long list scrolls by
            print(sentence)
        if html:
            write_page(done, html)
            print(f"{html}: written; it shows patients: keep it in the hospital")
        found = count(faults)
        if warnings:
            found += f", {count(warnings, 'warning')}"
        print(f"{manifest.name}: {found}; {_summary(done.cases)}{_alike(done.n_alike)}")
        if faults:
            raise typer.Exit(1)


def _summary(cases: pd.DataFrame) -> str:
    n_hospitals = cases["hospital"].nunique()
    return (
        f"{len(cases)} pictures of {cases['patient_id'].nunique()} patients "
        f"in {n_hospitals} hospital{'s' if n_hospitals != 1 else ''}"
    )


def _alike(n: int) -> str:
    return f", {n} (nearly) the same as another one of the patient" if n else ""


def _account(note: Note) -> str:
    shown = ", ".join(_printable(str(name)) for name in note.image_ids[:5])
    more = ", ..." if len(note.image_ids) > 5 else ""
    number = f"{len(note.image_ids)} {note.unit}{'s' * (len(note.image_ids) != 1)}"
    return f"{number}, because {note.reason}: {shown}{more}"


def _printable(name: str) -> str:
    """Return a file's name as a terminal may show it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
