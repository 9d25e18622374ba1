"""The hospital's command line: ``thyroid-client``."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from thyroid_fl.client.audit import read_log
from thyroid_fl.client.audit_words import told
from thyroid_fl.client.checking import check_manifest
from thyroid_fl.client.importing import import_pictures
from thyroid_fl.client.page import write_page
from thyroid_fl.client.readers import FORMATS
from thyroid_fl.client.readers.result import Note
from thyroid_fl.client.supernode.folder import read_hospital
from thyroid_fl.client.supernode.joining import join
from thyroid_fl.client.supernode.running import run as keep_connected
from thyroid_fl.client.supernode.status import status_lines
from thyroid_fl.console import Debug, error_edge, progress_bar
from thyroid_fl.errors import AuditError, ConfigError
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
Kit = Annotated[Path, typer.Argument(help="Folder that the centre sent.")]
Site = Annotated[
    Path, typer.Option(metavar="FOLDER", help="The hospital's folder; else this one.")
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


@main.command()
def init(
    kit: Kit,
    name: Annotated[str, typer.Option(help="What the centre calls the hospital.")],
    manifest: Annotated[
        Path, typer.Option(metavar="FILE", help="The hospital's, .csv or .parquet.")
    ],
    site: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New folder; without it, ./NAME."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Make the hospital's folder and its key from the kit of the centre.

    Exit code 0: made; 2: nothing made, and the reason on stderr.
    """
    with error_edge(debug=debug):
        made = join(kit, name, manifest, site or Path(name))
        folder = made.hospital.folder
        print(f"{folder}: made for {name}")
        print("Next steps:")
        print(f"1. Send {made.public_key} to the centre, this file and no other.")
        print("   Tell its fingerprint by telephone, so that nobody swaps the key:")
        print(f"   {made.fingerprint}")
        print(f"2. Read {made.hospital.policy}, and tighten it as you wish.")
        print(f"3. Look at your data: thyroid-client check {made.hospital.manifest}")
        print(f"4. Connect: thyroid-client run --site {folder}")
        print(f"   or as a service, with {made.unit}")


@main.command()
def run(site: Site = Path(), debug: Debug = False) -> None:
    """Connect to the centre and answer it, until Ctrl-C or SIGTERM.

    A lost line, a restarted centre or a killed process heals by itself.

    Exit code 0: it was asked to end; 2: the folder must be mended first.
    """
    with error_edge(debug=debug):
        hospital = read_hospital(site)
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
        )
        keep_connected(hospital)


@main.command()
def status(site: Site = Path(), debug: Debug = False) -> None:
    """Print whether the hospital is connected, what was last asked, and its policy."""
    with error_edge(debug=debug):
        for line in status_lines(read_hospital(site), datetime.now(UTC)):
            print(line)


@main.command()
def audit(
    site: Site = Path(),
    arrays: Annotated[bool, typer.Option("--arrays", help="List each array.")] = False,
    round_: Annotated[
        int | None, typer.Option("--round", metavar="N", help="Only this round.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print what was asked, what was done, and all that left the hospital.

    Exit code 0: the log is whole; 1: it was changed, and where; 2: it cannot be read.
    """
    with error_edge(debug=debug):
        log = read_hospital(site).audit
        try:
            events = read_log(log) if log.exists() else []
        except AuditError as error:
            print(f"audit: {error}")
            raise typer.Exit(1) from None
        for line in told(events, arrays=arrays, only_round=round_):
            print(line)


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
