"""Simulated readers of given skill, who see what an AI says of the images.

N images. Each image looks malignant to a reader by a latent normal score: a mean that
is higher for malignant images, and noise that the reader shares with the AI, with other
readers, with other images of the patient, and with the reader's second reading. Cut
points turn it into categories of given shares, and the distance of the means is chosen
so that the AUC *of the categories* is the skill. All numbers but the paper's AUCs are
assumptions; what is simulated shows how a study of that size behaves, not how
radiologists do.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers import CATEGORIES
from thyroid_fl.readers.ratings import as_ratings
from thyroid_fl.simulation.scored import (
    CASE_COLUMNS,
    Scored,
    check_skill,
    patient_noise,
)
from thyroid_fl.statistics.estimate import FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedReader:
    """One reader."""

    name: str
    experience: str
    skill: float
    """AUC of the unaided categories, by image."""
    trust: float = 0.2
    """How far the AI's call moves the latent score in the freestyle arm, in its SD."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingModel:
    """What the readers have in common; correlations of the noise within a class."""

    between_readers: float = 0.5
    with_ai: float = 0.4
    """Of a reader's noise with the AI's; its square is at most `between_readers`."""
    within_patient: float = 0.5
    """Of two images of a patient, in what a reader sees besides the AI."""
    rereading: float = 0.9
    """Of a reader's two readings of an image, weeks apart."""
    shares: tuple[float, ...] = (0.14, 0.18, 0.20, 0.32, 0.16)
    """Of the images in categories 3, 4a, 4b, 4c and 5."""


PAPER_READERS = tuple(
    SimulatedReader(
        name=f"Reader {number}",
        experience="junior" if number <= 3 else "senior",
        skill=skill,
    )
    for number, skill in enumerate((0.80, 0.81, 0.81, 0.84, 0.79, 0.85), start=1)
)
"""Experience and AUCs by image of the paper's readers (Table 6)."""
_MODEL = ReadingModel()


def simulated_ratings(
    scored: Scored,
    readers: tuple[SimulatedReader, ...] = PAPER_READERS,
    *,
    model: ReadingModel = _MODEL,
    seed: int = 1,
) -> pd.DataFrame:
    """Return ratings of all images by all readers, unaided and freestyle.

    The same seed gives a reader the same ratings, whoever else reads.

    Raises:
        ConfigError: a skill, share or correlation that cannot be, or one class only.
    """
    _check(readers, model)
    cases = scored.cases
    labels = cases["malignant"].to_numpy(dtype=np.int64)
    if len(set(labels.tolist())) < 2:
        raise ConfigError("the images are all of one class; readers need both")
    patients, _ = pd.factorize(cases["patient_id"])
    calls = cases["ai_score"].to_numpy(dtype=np.float64) >= scored.threshold
    common, *own = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(1 + len(readers))
    )
    shared = model.with_ai * _normal_scores(cases["ai_score"].to_numpy(), labels)
    rest = math.sqrt(model.between_readers - model.with_ai**2)
    shared = shared + rest * patient_noise(patients, model.within_patient, common)
    parts = []
    for reader, rng in zip(readers, own, strict=True):
        distance, cuts = _calibrated(reader, float(labels.mean()), model.shares)
        alone = math.sqrt(1 - model.between_readers)
        noise = shared + alone * patient_noise(patients, model.within_patient, rng)
        again = math.sqrt(1 - model.rereading**2) * rng.normal(size=len(labels))
        first = distance * labels + noise
        second = distance * labels + model.rereading * noise + again
        second = second + reader.trust * np.where(calls, 1, -1)
        for arm, latent in (("unaided", first), ("freestyle", second)):
            category = np.array(CATEGORIES)[np.searchsorted(cuts, latent)]
            parts.append(
                cases[CASE_COLUMNS].assign(
                    reader=reader.name,
                    experience=reader.experience,
                    arm=arm,
                    category=category,
                )
            )
    return as_ratings(pd.concat(parts, ignore_index=True))


def _check(readers: tuple[SimulatedReader, ...], model: ReadingModel) -> None:
    if not readers or len({reader.name for reader in readers}) < len(readers):
        raise ConfigError("expected at least one reader, each with a name of its own")
    for reader in readers:
        check_skill(reader.name, reader.skill)
    correlations = (model.within_patient, model.rereading, model.between_readers)
    if not all(0 <= one <= 1 for one in correlations) or (
        model.with_ai**2 > model.between_readers
    ):
        raise ConfigError(
            f"correlations of {model} cannot be: expected each from 0 to 1, and the "
            "square of with_ai at most between_readers"
        )
    if len(model.shares) != len(CATEGORIES) or not (
        min(model.shares) > 0 and math.isclose(sum(model.shares), 1)
    ):
        raise ConfigError(
            f"shares are {model.shares}; expected {len(CATEGORIES)} positive numbers "
            "that add up to 1"
        )


def _normal_scores(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]
) -> FloatArray:
    """Return normal scores of the ranks within each class."""
    normal = np.empty(len(scores))
    for label in (0, 1):
        chosen = labels == label
        ranks = rankdata(scores[chosen])
        normal[chosen] = ndtri((ranks - 0.5) / max(len(ranks), 1))
    return normal


def _calibrated(
    reader: SimulatedReader, prevalence: float, shares: tuple[float, ...]
) -> tuple[float, FloatArray]:
    """Return distance of the means and cut points that give skill and shares."""

    def cuts(distance: float) -> FloatArray:
        def below(cut: float) -> float:
            malignant, benign = ndtr(cut - distance), ndtr(cut)
            return float(prevalence * malignant + (1 - prevalence) * benign)

        cumulative = np.cumsum(shares)[:-1]
        return np.array(
            [
                brentq(lambda cut, q=q: below(cut) - q, -12, distance + 12)
                for q in cumulative
            ]
        )

    def excess(distance: float) -> float:
        edges = np.concatenate([[-np.inf], cuts(distance), [np.inf]])
        benign, malignant = np.diff(ndtr(edges)), np.diff(ndtr(edges - distance))
        lower = np.cumsum(benign) - benign
        return float(malignant @ (lower + benign / 2)) - reader.skill

    highest = 8.0
    if excess(highest) < 0:
        raise ConfigError(
            f"the skill of {reader.name} is {reader.skill}; with these categories no "
            f"reader gets above {excess(highest) + reader.skill:.3f}"
        )
    distance = float(brentq(excess, 0, highest, xtol=1e-10)) if excess(0) < 0 else 0.0
    return distance, cuts(distance)
