"""Images that an AI has scored: a model's of a comparison, or a simulated AI's."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, ndtri

from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation.predictions import MODEL_COLUMNS, by_task, run_sets
from thyroid_fl.simulation.cohort import cohort
from thyroid_fl.statistics import youden_threshold
from thyroid_fl.statistics.estimate import FloatArray

CASE_COLUMNS = ["image_id", "patient_id", "malignant", "ai_score"]
AI_AUC = 0.87
"""By image (Xu et al. 2023, Table 6)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """Images that an AI has scored."""

    cases: pd.DataFrame
    """Columns `CASE_COLUMNS`, one row an image."""
    threshold: float
    """The AI says malignant from here on; from other patients than these."""
    source: str
    """Where the scores are from, in words."""


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
    check_skill("the AI", skill)
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
        ai_score=np.round(expit(2 * (latent + patient_noise(codes, 0.5, rng))), 6),
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


def check_skill(who: str, skill: float) -> None:
    """Refuse an AUC that no reader or AI can be asked for.

    Raises:
        ConfigError: it is not from 0.5 to below 1.
    """
    if not 0.5 <= skill < 1:
        raise ConfigError(
            f"the skill of {who} is {skill}; expected an AUC from 0.5 to below 1"
        )


def patient_noise(
    patients: npt.NDArray[np.intp], correlation: float, rng: np.random.Generator
) -> FloatArray:
    """Return normal noise, one number an image, correlated within patients.

    Args:
        patients: of each image, numbered from 0.
        correlation: of two images of a patient, from 0 to 1.
        rng: what is drawn from.
    """
    of_patient = rng.normal(size=int(patients.max(initial=-1)) + 1)[patients]
    of_image = rng.normal(size=len(patients))
    return np.asarray(
        math.sqrt(correlation) * of_patient + math.sqrt(1 - correlation) * of_image
    )
