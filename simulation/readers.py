"""Simulated readers of given skill, and a simulated AI for them where there is none.

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
from scipy.special import expit, ndtr, ndtri
from scipy.stats import rankdata

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, by_task, run_sets
from thyroid_fl.readers import CATEGORIES
from thyroid_fl.readers.ratings import as_ratings
from thyroid_fl.simulation.cohort import cohort
from thyroid_fl.statistics import youden_threshold
from thyroid_fl.statistics.estimate import FloatArray

CASE_COLUMNS = ["image_id", "patient_id", "malignant", "ai_score"]
AI_AUC = 0.87
"""By image (Xu et al. 2023, Table 6)."""


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Images that an AI has scored."""

    cases: pd.DataFrame
    """Columns `CASE_COLUMNS`, one row an image."""
    threshold: float
    """The AI says malignant from here on; from other patients than these."""
    source: str
    """Where the scores are from, in words."""


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
    shared = shared + rest * _by_patient(patients, model.within_patient, common)
    parts = []
    for reader, rng in zip(readers, own, strict=True):
        distance, cuts = _calibrated(reader, float(labels.mean()), model.shares)
        alone = math.sqrt(1 - model.between_readers)
        noise = shared + alone * _by_patient(patients, model.within_patient, rng)
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


def cohort_scored(
    *, seed: int = 1, scale: float = 1.0, skill: float = AI_AUC
) -> Scored:
    """Return the synthetic cohort's test images with scores of a simulated AI.

    The threshold is the Youden one of the validation images.

    Args:
        seed: of cohort and scores.
        scale: size of the cohort; 1 is the paper's, with 1020 test patients.
        skill: the AI's AUC by image.

    Raises:
        ConfigError: a skill that is not between 0.5 and 1, or an unfit scale.
    """
    _check_skill("the AI", skill)
    patients = cohort(seed=seed, scale=scale)
    patients = patients[patients["classification_split"] != "train"]
    images = patients.loc[patients.index.repeat(patients["n_images"])]
    number = images.groupby("patient_id").cumcount() + 1
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    codes, _ = pd.factorize(images["patient_id"])
    distance = math.sqrt(2) * float(ndtri(skill))
    latent = distance * (images["malignant"].to_numpy() - 0.5)
    scored = images.assign(
        image_id=images["patient_id"] + "-" + number.astype(str),
        ai_score=np.round(expit(2 * (latent + _by_patient(codes, 0.5, rng))), 6),
    )
    validation = scored[scored["classification_split"] == "val"]
    test = scored[scored["classification_split"] == "test"]
    return Scored(
        cases=test[CASE_COLUMNS].reset_index(drop=True),
        threshold=youden_threshold(validation["malignant"], validation["ai_score"]),
        source=f"a simulated AI of AUC {skill:g} on the synthetic cohort's test images",
    )


def predictions_scored(predictions: pd.DataFrame) -> Scored:
    """Return a model's test images and scores, its threshold from its validation.

    The first federated run of classification is taken, or without one the first run.

    Args:
        predictions: see `thyroid_fl.evaluation.predictions`.

    Raises:
        ConfigError: there is no run of classification with test and validation images.
    """
    runs = [
        (names, test, validation)
        for task, of_task in by_task(predictions)
        if task == "classification"
        for names, test, validation in run_sets(of_task)
        if len(validation)
    ]
    if not runs:
        raise ConfigError(
            "the predictions have no run of classification with test and validation "
            "images; give predictions.parquet of a comparison that classifies"
        )
    names, test, validation = min(runs, key=lambda run: run[0]["arm"] != "federated")
    cases = test.rename(columns={"score": "ai_score"})[CASE_COLUMNS]
    words = [names[name] for name in MODEL_COLUMNS if names[name]]
    return Scored(
        cases=cases.reset_index(drop=True),
        threshold=youden_threshold(validation["malignant"], validation["score"]),
        source=f"{' '.join(words)}, fold {names['fold']}, seed {names['seed']}, "
        f"{names['test_set']} test images",
    )


def _check(readers: tuple[SimulatedReader, ...], model: ReadingModel) -> None:
    if not readers or len({reader.name for reader in readers}) < len(readers):
        raise ConfigError("expected at least one reader, each with a name of its own")
    for reader in readers:
        _check_skill(reader.name, reader.skill)
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


def _check_skill(who: str, skill: float) -> None:
    if not 0.5 <= skill < 1:
        raise ConfigError(
            f"the skill of {who} is {skill}; expected an AUC from 0.5 to below 1"
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


def _by_patient(
    patients: npt.NDArray[np.intp], correlation: float, rng: np.random.Generator
) -> FloatArray:
    """Return normal noise, one number an image, correlated within patients."""
    of_patient = rng.normal(size=int(patients.max(initial=-1)) + 1)[patients]
    of_image = rng.normal(size=len(patients))
    return np.asarray(
        math.sqrt(correlation) * of_patient + math.sqrt(1 - correlation) * of_image
    )


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
