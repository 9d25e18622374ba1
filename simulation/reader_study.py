"""The reader study as a command has it: read or simulate, judge, write the tables."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import pandas as pd

from thyroid_fl.errors import ConfigError
from thyroid_fl.files import write_text
from thyroid_fl.readers import (
    PatientRule,
    Policy,
    ReaderStudy,
    read_ratings,
    reader_study,
)
from thyroid_fl.simulation.readers import (
    PAPER_READERS,
    SimulatedReader,
    simulated_ratings,
)
from thyroid_fl.simulation.scored import cohort_scored, predictions_scored

NOTES = "notes.txt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A reader study and where it lies."""

    study: ReaderStudy
    folder: Path
    headlines: tuple[str, ...]
    """What the tables come to, in words."""


def study(
    ratings: Path | None,
    out: Path,
    *,
    simulate: bool = False,
    threshold: str = "",
    skills: str = "",
    predictions: Path | None = None,
    scale: float = 1.0,
    seed: int = 1,
    policy: str = "clamp",
    patient_rule: str = "images",
    positive_from: str | None = None,
) -> Written:
    """Judge real or simulated ratings and write the tables into `out`.

    Nothing is written before everything has been computed.

    Args:
        ratings: a file of real ratings (see `read_ratings`), or None to simulate.
        out: the folder of all outputs.
        simulate: whether to simulate readers.
        threshold: of real ratings: a number, ``paper``, or empty.
        skills: of simulated readers, see `parse_readers`; empty: the paper's.
        predictions: what they see: predictions.parquet of a comparison; without, the
            synthetic cohort's test images and a simulated AI.
        scale: size of that cohort; 1 is the paper's.
        seed: of everything that is drawn.
        policy: see `thyroid_fl.readers.reader_study`, as the next two.
        patient_rule: how a patient's images come together.
        positive_from: category from which a rating counts as malignant.

    Raises:
        ConfigError: an option is unknown, or does not fit the others or the ratings.
        ManifestError: a file cannot be read, or has faults.
    """
    _refuse_mixture(ratings, simulate, threshold, skills, predictions)
    notes: tuple[str, ...] = ()
    at: float | Literal["paper"] | None
    if ratings is not None:
        table, at = read_ratings(ratings), parse_threshold(threshold)
    else:
        if predictions is None:
            scored = cohort_scored(seed=seed, scale=scale)
        else:
            scored = predictions_scored(_predictions(predictions))
        chosen = parse_readers(skills) if skills else PAPER_READERS
        table, at = simulated_ratings(scored, chosen, seed=seed), scored.threshold
        notes = (
            f"SIMULATED readers on {scored.source}: no radiologist has read anything",
        )
    judged = reader_study(
        table,
        threshold=at,
        policy=cast(Policy, policy),  # checked there
        patient_rule=cast(PatientRule, patient_rule),
        positive_from=positive_from,
        seed=seed,
    )
    return _write(judged, out, notes, table if simulate else None)


def parse_readers(text: str) -> tuple[SimulatedReader, ...]:
    """Return readers from words such as ``junior:.80,.81;senior:.85``.

    Raises:
        ConfigError: the words are malformed.

    >>> [reader.skill for reader in parse_readers("junior:.80;senior:.85,.9")]
    [0.8, 0.85, 0.9]
    """
    skills: list[tuple[str, float]] = []
    for part in text.split(";"):
        experience, _, numbers = part.partition(":")
        try:
            skills += [(experience.strip(), float(one)) for one in numbers.split(",")]
        except ValueError:
            raise ConfigError(
                f"skills are {text!r}; expected such as junior:.80,.81;senior:.85"
            ) from None
    return tuple(
        SimulatedReader(name=f"Reader {number}", experience=experience, skill=skill)
        for number, (experience, skill) in enumerate(skills, start=1)
    )


def parse_threshold(text: str) -> float | Literal["paper"] | None:
    """Return a threshold from words: a number, ``paper``, or None for nothing.

    Raises:
        ConfigError: it is something else.
    """
    if text == "paper":
        return "paper"
    try:
        threshold = float(text) if text else None
    except ValueError:
        threshold = math.nan
    if threshold is not None and not math.isfinite(threshold):
        raise ConfigError(f"threshold is {text!r}; expected a number, or paper")
    return threshold


def _refuse_mixture(
    ratings: Path | None,
    simulate: bool,
    threshold: str,
    skills: str,
    predictions: Path | None,
) -> None:
    if (ratings is None) != simulate:
        raise ConfigError("expected either a file of ratings, or --simulate")
    if simulate and threshold:
        raise ConfigError(
            "simulated readers take the threshold of the AI's validation images; "
            "leave --threshold out"
        )
    if not simulate and (skills or predictions):
        raise ConfigError("--skills and --predictions belong to --simulate")


def _predictions(path: Path) -> pd.DataFrame:
    if path.suffix != ".parquet":
        raise ConfigError(f"{path}: expected the predictions.parquet of a comparison")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot read the predictions: {error}") from error


def _write(
    study: ReaderStudy,
    out: Path,
    notes: tuple[str, ...] = (),
    ratings: pd.DataFrame | None = None,
) -> Written:
    """Write the tables, each whole, after everything has been computed."""
    headlines = (*notes, *study.notes, *_headlines(study))
    out.mkdir(parents=True, exist_ok=True)
    tables = study.tables()
    if ratings is not None:
        tables["ratings"] = ratings.dropna(axis=1, how="all").astype(
            {"malignant": "int64"}
        )
    for name, table in tables.items():
        write_text(out / f"{name}.csv", table.to_csv(index=False))
    write_text(out / NOTES, "\n".join(headlines) + "\n")
    return Written(study=study, folder=out, headlines=headlines)


def _headlines(study: ReaderStudy) -> list[str]:
    lines = []
    tests = study.comparisons
    for family, rows in tests.groupby("family", sort=False) if len(tests) else ():
        n_found = int((rows["p_value"] < 0.05).sum())
        n_left = int((rows["p_holm"] < 0.05).sum())
        lines.append(
            f"{family}: {n_found} of {len(rows)} P values are below .05, "
            f"{n_left} after Holm"
        )
    averages = study.averages
    if len(averages):
        shown = averages.query(
            "unit == 'patient' and group == 'all' and readers == 'random'"
        )
        for row in shown.to_dict("records"):
            lines.append(
                f"{row['comparison']}, by patient, over readers and cases: "
                f"{row['difference']:+.3f} ({row['low']:+.3f}, {row['high']:+.3f}), "
                f"P = {row['p_value']:.3g}, {row['n_readers']} readers"
            )
    return lines
