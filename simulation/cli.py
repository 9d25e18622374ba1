"""``thyroid-sim``: the comparison on one machine, the cohort, the data summary."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from thyroid_fl.console import Debug, error_edge, progress_bar

main = typer.Typer(
    help="Federated learning for thyroid-nodule ultrasound, simulated on one machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[
    str, typer.Option(help="A manifest, or 'synthetic': the 208-hospital cohort.")
]
StudyFile = Annotated[
    Path | None, typer.Option(help="A study.toml; the options here override it.")
]
Strategies = Annotated[
    str, typer.Option(help="Federated strategies, separated by commas.")
]
Seeds = Annotated[int, typer.Option(help="Trainings with different seeds.")]
Scale = Annotated[
    float, typer.Option(help="Size of the synthetic cohort; 1: the paper's.")
]
Jobs = Annotated[
    int, typer.Option(help="Trainings at a time; 0: one a core, or one on a GPU.")
]
AnySetting = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting of a study: NAME=VALUE."),
]


@main.command()
def compare(
    data: Data = "",
    study: StudyFile = None,
    task: Annotated[
        str | None,
        typer.Option(help="detection, segmentation, classification, or all."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="small or paper")] = None,
    region: Annotated[str | None, typer.Option(help="whole or nodule")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="patient, hospital, vendor:NAME, region:NAME or manifest"),
    ] = None,
    strategies: Strategies = "fedavg",
    seeds: Seeds = 1,
    folds: Annotated[int, typer.Option(help="Folds; 0: a single split.")] = 0,
    singles: Annotated[
        int, typer.Option(help="How many hospitals, largest first, train alone.")
    ] = 8,
    tuned: Annotated[
        int, typer.Option(help="How many of them also get pooled's steps.")
    ] = 1,
    scale: Scale = 0.2,
    rounds: Annotated[
        int | None, typer.Option(help="Rounds of the federation.")
    ] = None,
    image_px: Annotated[int | None, typer.Option(help="Side of the pictures.")] = None,
    weights: Annotated[str | None, typer.Option(help="Pretrained weights.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a training.")] = None,
    jobs: Jobs = 0,
    heat_maps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Test pictures that the report shows, with the classifier's heat. "
            "Of itself 4 if synthetic, else none: they are pictures of patients.",
        ),
    ] = None,
    set_: AnySetting = None,
    out: Annotated[Path, typer.Option(help="Folder of all outputs.")] = Path(
        "runs/comparison"
    ),
    debug: Debug = False,
) -> None:
    """Train federated, alone and pooled; say how they differ, with intervals.

    An interrupted comparison goes on when called again with the same options.
    """
    with error_edge(debug=debug):
        # Imported here: --help answers at once, without torch.
        from thyroid_fl.simulation import compare as comparison

        options = {
            "data": data or None, "task": task, "preset": preset, "region": region,
            "split": split, "rounds": rounds, "image_px": image_px, "weights": weights,
            "device": device, "threads": threads,
        }  # fmt: skip
        settings = _settings(study, options, set_)
        done = comparison.compare(
            out=out,
            strategies=tuple(strategies.split(",")),
            seeds=seeds,
            folds=folds,
            singles=singles,
            tuned=tuned,
            scale=scale,
            jobs=jobs,
            heat_maps=heat_maps,
            **settings,
        )
        # A name may hold square brackets; a file or pipe has no width of its own.
        console = Console(markup=False, width=None if sys.stdout.isatty() else 120)
        for name, table in done.tables.items():
            if len(done.tables) > 1:
                console.print(f"\n{name.capitalize()}", style="bold")
            _print_table(console, table)
            for line in done.conclusions[name]:
                console.print(line)
        console.print(f"\nreport: {done.folder / 'report.html'}", soft_wrap=True)
        console.print(f"MLflow: {done.mlflow_command}", soft_wrap=True)


@main.command()
def matrix(
    by: Annotated[str, typer.Option(help="hospital, vendor or region")],
    data: Data = "",
    study: StudyFile = None,
    task: Annotated[
        str | None, typer.Option(help="detection, segmentation or classification")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="patient, or hospital: test hospitals trained nothing."),
    ] = None,
    sources: Annotated[
        int, typer.Option(help="How many, largest first; 0: as the paper.")
    ] = 0,
    seeds: Seeds = 3,
    scale: Scale = 0.2,
    jobs: Jobs = 0,
    set_: AnySetting = None,
    out: Annotated[Path, typer.Option(help="Folder of all outputs.")] = Path(
        "runs/matrix"
    ),
    debug: Debug = False,
) -> None:
    """Train on each hospital, vendor or region, and on all; test on each.

    An interrupted matrix goes on when called again with the same options.
    """
    with error_edge(debug=debug):
        from thyroid_fl.simulation import matrix as generalisation

        options = {"data": data or None, "task": task, "split": split}
        settings = _settings(study, options, set_)
        done = generalisation.matrix(
            by=by,
            out=out,
            sources=sources,
            seeds=seeds,
            scale=scale,
            jobs=jobs,
            on_cost=typer.echo,
            **settings,
        )
        console = Console(markup=False, width=None if sys.stdout.isatty() else 160)
        _print_table(console, done.table)
        for line in done.headlines:
            console.print(line, soft_wrap=True)
        console.print(f"\nreport: {done.folder / 'report.html'}", soft_wrap=True)
        console.print(f"MLflow: {done.mlflow_command}", soft_wrap=True)


@main.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a comparison.")],
    debug: Debug = False,
) -> None:
    """Make a comparison's report again, with the studies in its sub-folders.

    Matrices, the optimism of a random split and reader studies come into the report
    if their --out was a folder in the comparison's.
    """
    with error_edge(debug=debug):
        from thyroid_fl.server.report.comparison import write_report
        from thyroid_fl.server.tracking import log_to_mlflow

        typer.echo(f"report: {write_report(folder)}")
        typer.echo(f"MLflow: {log_to_mlflow(folder)}")


@main.command()
def optimism(
    data: Data = "",
    study: StudyFile = None,
    task: Annotated[
        str | None, typer.Option(help="segmentation or classification")
    ] = None,
    strategies: Strategies = "fedavg",
    seeds: Seeds = 3,
    scale: Scale = 0.2,
    jobs: Jobs = 0,
    set_: AnySetting = None,
    out: Annotated[Path, typer.Option(help="Folder of all outputs.")] = Path(
        "runs/optimism"
    ),
    debug: Debug = False,
) -> None:
    """Say how much better a random split looks than hospitals that were held out.

    Trained on equally many pictures. An interrupted run goes on when called again with
    the same options.
    """
    with error_edge(debug=debug):
        from thyroid_fl.server.report.optimism import optimism_in_words
        from thyroid_fl.simulation import optimism as of_split

        options = {"data": data or None, "task": task}
        settings = _settings(study, options, set_)
        done = of_split.optimism(
            out=out,
            strategies=tuple(strategies.split(",")),
            seeds=seeds,
            scale=scale,
            jobs=jobs,
            **settings,
        )
        console = Console(markup=False, width=None if sys.stdout.isatty() else 120)
        _print_table(console, optimism_in_words(done.table))
        for line in done.sentences:
            console.print(line)
        console.print(f"\ntables: {done.folder}", soft_wrap=True)


@main.command()
def cohort(
    folder: Annotated[Path, typer.Argument(help="A new folder for the cohort.")],
    scale: Annotated[float, typer.Option(help="1: the paper's 10 023 patients.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 1,
    picture_px: Annotated[int, typer.Option(help="Side of the pictures.")] = 96,
    debug: Debug = False,
) -> None:
    """Write the synthetic 208-hospital cohort: pictures, masks, manifest."""
    with error_edge(debug=debug):
        from thyroid_fl.simulation.cohort.pictures import open_cohort

        with progress_bar("drawing pictures") as show:
            manifest = open_cohort(
                folder, scale=scale, seed=seed, picture_px=picture_px, progress=show
            )
        typer.echo(manifest)


@main.command()
def hospitals(
    folder: Annotated[Path, typer.Argument(help="A new folder for the hospitals.")],
    number: Annotated[int, typer.Option(help="How many hospitals.")] = 3,
    scale: Annotated[float, typer.Option(help="1: the paper's 10 023 patients.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 1,
    picture_px: Annotated[int, typer.Option(help="Side of the pictures.")] = 96,
    debug: Debug = False,
) -> None:
    """Write the cohort's largest hospitals, each with a folder and manifest of its own.

    To try a real federation on one machine.
    """
    with error_edge(debug=debug):
        from thyroid_fl.simulation.cohort.pictures import write_hospitals

        with progress_bar("drawing pictures") as show:
            manifests = write_hospitals(
                folder,
                number,
                scale=scale,
                seed=seed,
                picture_px=picture_px,
                progress=show,
            )
        for manifest in manifests:
            typer.echo(manifest)


@main.command()
def summary(
    data: Annotated[
        str, typer.Argument(help="A manifest, or 'synthetic': the 208-hospital cohort.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of all outputs.")] = Path(
        "runs/summary"
    ),
    min_cell: Annotated[
        int, typer.Option(min=1, help="Smallest count that a hospital tells.")
    ] = 5,
    scale: Annotated[
        float, typer.Option(help="Size of the synthetic cohort; 1: 10 023 patients.")
    ] = 0.2,
    set_: AnySetting = None,
    debug: Debug = False,
) -> None:
    """Ask the hospitals what data they have: counts, ages, vendors, grey levels."""
    with error_edge(debug=debug):
        import pandas as pd

        from thyroid_fl.server.report.summary_tables import in_words
        from thyroid_fl.settings import parse_setting
        from thyroid_fl.simulation.summary import summarise

        settings = dict(map(parse_setting, set_ or []))
        with progress_bar("asking hospitals") as show:
            summarise(
                data, out, min_cell=min_cell, scale=scale, progress=show, **settings
            )
        console = Console(markup=False, width=None if sys.stdout.isatty() else 120)
        for name in ("table_1", "table_2"):
            _print_table(console, in_words(pd.read_csv(out / f"{name}.csv")))
        console.print(f"figure: {out / 'summary.svg'}", soft_wrap=True)


@main.command()
def readers(
    ratings: Annotated[
        Path | None, typer.Argument(help="A CSV of real ratings; see docs/readers.md.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of all outputs.")] = Path(
        "runs/readers"
    ),
    threshold: Annotated[
        str,
        typer.Option(help="AI positive from here on, from validation; or 'paper'."),
    ] = "",
    policy: Annotated[str, typer.Option(help="clamp, extend or guideline")] = "clamp",
    patient_rule: Annotated[
        str, typer.Option(help="What the AI's call moves: images or patient.")
    ] = "images",
    positive_from: Annotated[
        str | None, typer.Option(help="Category that counts as malignant, such as 4b.")
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulated readers, no ratings.")
    ] = False,
    skills: Annotated[
        str, typer.Option(help="Their AUCs: 'junior:.80,.81;senior:.85'.")
    ] = "",
    predictions: Annotated[
        Path | None, typer.Option(help="A comparison's predictions that they see.")
    ] = None,
    scale: Annotated[
        float, typer.Option(help="Else the synthetic cohort, of this size.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 1,
    debug: Debug = False,
) -> None:
    """Judge radiologists alone and with the AI: the paper's Table 6, and more."""
    with error_edge(debug=debug):
        from thyroid_fl.simulation import reader_study

        done = reader_study.study(
            ratings,
            out,
            simulate=simulate,
            threshold=threshold,
            skills=skills,
            predictions=predictions,
            scale=scale,
            seed=seed,
            policy=policy,
            patient_rule=patient_rule,
            positive_from=positive_from,
        )
        console = Console(markup=False, width=None if sys.stdout.isatty() else 160)
        _print_table(console, done.study.table_6)
        for line in done.headlines:
            console.print(line, soft_wrap=True)
        console.print(f"\ntables: {done.folder}", soft_wrap=True)


def _settings(
    study: Path | None, options: dict[str, Any], set_: list[str] | None
) -> dict[str, Any]:
    """Return the settings of a study file, overridden by options, then by --set."""
    from thyroid_fl.settings import parse_setting, read_settings

    settings = read_settings(study) if study else {}
    settings |= {k: v for k, v in options.items() if v is not None}
    return settings | dict(map(parse_setting, set_ or []))


def _print_table(console: Console, frame: "pd.DataFrame") -> None:  # type: ignore[name-defined] # noqa: F821
    table = Table(*map(str, frame.columns))
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    console.print(table)


if __name__ == "__main__":
    main()
