"""The centre's command line: ``thyroid-server``."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from thyroid_fl.console import Debug, error_edge
from thyroid_fl.server.centre import hospitals as wards
from thyroid_fl.server.centre.control import control, is_up
from thyroid_fl.server.centre.folder import Centre, open_centre
from thyroid_fl.server.centre.provision import provision as make_centre
from thyroid_fl.server.centre.services import start_centre
from thyroid_fl.server.centre.studies import (
    Record,
    read_record,
    read_study,
    resume_study,
    standing_of,
    standings,
    start_study,
    stop_study,
)
from thyroid_fl.server.centre.words import (
    hospital_table,
    lines_of,
    plain,
    standing_words,
)

main = typer.Typer(
    help="What runs at the centre of a federation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Folder = Annotated[
    Path, typer.Option("--centre", metavar="FOLDER", help="The centre's folder.")
]
HERE = Path()
WAITING = ("pending", "starting", "unknown")
Hospital = Annotated[str, typer.Argument(metavar="NAME", help="The hospital's name.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The study's name.")]
Follow = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Show the log until the end.")
]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study.toml.")]


@main.command()
def provision(
    study: StudyFile,
    folder: Annotated[Path, typer.Argument(help="A new folder for the centre.")],
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="What hospitals connect to.")
    ],
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME_OR_IP", help="Another name of the server."),
    ] = None,
    superlink_port: Annotated[
        int, typer.Option(help="Of the SuperLink, on 127.0.0.1.")
    ] = 18000,
    debug: Debug = False,
) -> None:
    """Write a centre's folder: certificates, nginx, systemd, kit for the hospitals.

    Exit code 0: written; 2: nothing written, and the reason on stderr.
    """
    with error_edge(debug=debug):
        centre = make_centre(
            study,
            folder,
            address=address,
            also=also or (),
            superlink_port=superlink_port,
        )
        print(
            f"{folder}: a centre for {centre.address}\n"
            f"  kit for every hospital: {folder / 'kit'} (no secret in it)\n"
            f"  keep {folder / 'ca' / 'ca.key'} on this machine, and a copy offline\n"
            f"next: thyroid-server start --centre {folder}"
        )
        if not centre.is_direct:
            print(
                f"and nginx in front of it: {folder / 'nginx' / 'thyroid-fl.conf'}; to "
                f"try it out: nginx -c {centre.root}/nginx/nginx.conf "
                f"-p {centre.root}/nginx"
            )


@main.command()
def start(centre: Folder = HERE, debug: Debug = False) -> None:
    """Run the centre, in the foreground, until it is asked to end.

    Exit code 0: asked to end; 2: it cannot start, and the reason on stderr.
    """
    with error_edge(debug=debug):
        found = open_centre(centre)
        logging.basicConfig(format="%(asctime)s %(message)s")
        logging.getLogger("thyroid_fl").setLevel(logging.INFO)

        def ready() -> None:
            front = "" if found.is_direct else ", through nginx"
            print(
                f"the centre is ready; hospitals connect to {found.address}{front}\n"
                "next: thyroid-server admit NAME KEY.pub, then thyroid-server run",
                flush=True,
            )

        start_centre(found, ready)


@main.command()
def admit(
    name: Hospital,
    key: Annotated[Path, typer.Argument(metavar="KEY.pub", help="Its public key.")],
    centre: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Let a hospital take part, by its public key."""
    with error_edge(debug=debug):
        done = wards.admit(open_centre(centre), name, key)
        print(
            f"{done.name} is admitted with the key {done.fingerprint}\n"
            "compare this fingerprint with the hospital on the phone"
        )


@main.command()
def revoke(name: Hospital, centre: Folder = HERE, debug: Debug = False) -> None:
    """Shut a hospital out, at once and for good; with a new key it can come back."""
    with error_edge(debug=debug):
        wards.revoke(open_centre(centre), name)
        print(f"{name} is revoked; its connection ends within a minute")


@main.command()
def hospitals(centre: Folder = HERE, debug: Debug = False) -> None:
    """Show the hospitals: their keys, and who is connected."""
    with error_edge(debug=debug):
        for line in hospital_table(wards.hospitals(open_centre(centre))):
            print(line)


@main.command()
def run(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY", help="Default: the centre's own.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the study's folder. Default: its file's.")
    ] = None,
    ask: Annotated[
        Literal["training", "summary"],
        typer.Option(help="Train, or only ask the hospitals what data they have."),
    ] = "training",
    follow: Follow = True,
    centre: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Start a study in the hospitals that are connected.

    Exit code 0: finished (or started, with --no-follow); 1: it failed; 2: it did not
    start.
    """
    with error_edge(debug=debug):
        found = open_centre(centre)
        path = study or found.root / "study.toml"
        settings = read_study(path)
        name = name or (path.stem if ask == "training" else f"{path.stem}-{ask}")
        record = start_study(found, settings, name, ask)
        print(f"{name} started; results go to {found.run(name)}", flush=True)
        if follow:
            _follow(found, record)


@main.command()
def resume(
    name: Name, follow: Follow = True, centre: Folder = HERE, debug: Debug = False
) -> None:
    """Start a study again; it goes on after its last finished round.

    Exit codes as of run.
    """
    with error_edge(debug=debug):
        found = open_centre(centre)
        record = resume_study(found, name)
        print(f"{name} goes on", flush=True)
        if follow:
            _follow(found, record)


@main.command()
def stop(name: Name, centre: Folder = HERE, debug: Debug = False) -> None:
    """Stop a study; its finished rounds are kept."""
    with error_edge(debug=debug):
        stop_study(open_centre(centre), name)
        print(f"{name} is stopped; to go on: thyroid-server resume {name}")


@main.command()
def logs(
    name: Name,
    follow: Follow = False,
    centre: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Show the log of a study's last run. Exit codes as of run."""
    with error_edge(debug=debug):
        found = open_centre(centre)
        record = read_record(found, name)
        with control(found) as client:
            begun = standing_of(found, client, record).state not in WAITING
        if follow:
            _follow(found, record)
        elif not begun:
            print(f"{name} has not begun: thyroid-server status shows how it is")
        else:
            for line in lines_of(found, record, until_end=False):
                print(line)


@main.command()
def status(centre: Folder = HERE, debug: Debug = False) -> None:
    """Show whether the centre runs, who is connected, and how far each study is.

    Exit code 0: it runs; 1: it does not.
    """
    with error_edge(debug=debug):
        found = open_centre(centre)
        up = is_up(found)
        if up:
            rows = [one for one in wards.hospitals(found) if one.state != "revoked"]
            n_online = sum(one.state == "online" for one in rows)
            print(f"the centre runs at {found.superlink} for {found.address}")
            print(f"{n_online} of {len(rows)} admitted hospitals are online")
        else:
            print(f"the centre does not run: thyroid-server start --centre {centre}")
        for one in standings(found):
            print(standing_words(one))
        if not up:
            raise typer.Exit(1)


@main.command()
def report(name: Name, centre: Folder = HERE, debug: Debug = False) -> None:
    """Write a page about a study, of what the hospitals let out, and print its path."""
    with error_edge(debug=debug):
        # matplotlib is imported for this command alone.
        from thyroid_fl.server.report.federation import write_federation_report

        found = open_centre(centre)
        read_record(found, name)
        print(write_federation_report(found.run(name)))


def _follow(centre: Centre, record: Record) -> None:
    """Print the log until the run's end; leave with the study's outcome."""
    try:
        for line in plain(lines_of(centre, record, until_end=True)):
            print(line, flush=True)
    except KeyboardInterrupt:
        print(
            f"\n{record.name} goes on without this window; "
            f"to see it again: thyroid-server logs {record.name} --follow"
        )
        raise typer.Exit(0) from None
    with control(centre) as client:
        standing = standing_of(centre, client, record)
    print(standing_words(standing))
    raise typer.Exit(0 if standing.state == "finished" else 1)
