"""Simulated readers: skill, shares and correlations are those asked for."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers import CATEGORIES, levels
from thyroid_fl.simulation.readers import (
    PAPER_READERS,
    ReadingModel,
    SimulatedReader,
    simulated_ratings,
)
from thyroid_fl.simulation.scored import (
    Scored,
    cohort_scored,
    predictions_scored,
)
from thyroid_fl.statistics import auc

N = 20_000


@pytest.fixture(scope="module")
def scored():
    """Many images, one a patient, with scores of an AI of AUC .92."""
    rng = np.random.default_rng(1)
    label = (np.arange(N) % 8 < 5).astype(int)
    names = np.char.add("p", np.arange(N).astype(str))
    cases = pd.DataFrame(
        {
            "image_id": names,
            "patient_id": names,
            "malignant": label,
            "ai_score": rng.normal(size=N) + 2 * label,
        }
    )
    return Scored(cases=cases, threshold=1.0, source="a test")


def test_readers_have_the_skill_asked_for(scored):
    asked = (0.5, 0.7, 0.9)
    readers = tuple(
        SimulatedReader(name=str(skill), experience="", skill=skill) for skill in asked
    )

    _, patient = levels(simulated_ratings(scored, readers), threshold=1.0)

    found = [auc(patient.labels, own).value for own in patient.arms["unaided"]]
    assert found == pytest.approx(asked, abs=0.012)


def test_categories_have_the_shares_asked_for(scored):
    model = ReadingModel(shares=(0.3, 0.1, 0.2, 0.3, 0.1))

    ratings = simulated_ratings(scored, PAPER_READERS[:1], model=model)

    unaided = ratings[ratings["arm"] == "unaided"]["category"]
    shares = unaided.value_counts(normalize=True).reindex(CATEGORIES)
    assert shares.to_numpy() == pytest.approx(model.shares, abs=0.012)


def test_the_more_readers_share_the_more_they_agree(scored):
    pair = PAPER_READERS[:2]
    found = []
    for between in (0.2, 0.8):
        model = ReadingModel(between_readers=between)
        image, _ = levels(simulated_ratings(scored, pair, model=model), threshold=1.0)
        benign = image.arms["unaided"][:, image.labels == 0]
        found.append(np.corrcoef(benign)[0, 1])

    assert found[0] < 0.25 < 0.5 < found[1]


def test_who_trusts_the_ai_follows_it(scored):
    readers = tuple(
        dataclasses.replace(PAPER_READERS[0], name=str(trust), trust=trust)
        for trust in (0.0, 3.0)
    )

    image, _ = levels(simulated_ratings(scored, readers), threshold=1.0)

    sceptic, follower = image.arms["freestyle"]
    followed = [np.corrcoef(own, image.calls)[0, 1] for own in (sceptic, follower)]
    assert followed[0] < 0.55 < 0.8 < followed[1]


def test_a_seed_gives_a_reader_the_same_ratings_whoever_else_reads(scored):
    small = dataclasses.replace(scored, cases=scored.cases.head(200))
    alone = simulated_ratings(small, PAPER_READERS[:1], seed=3)
    together = simulated_ratings(small, PAPER_READERS, seed=3)
    other = simulated_ratings(small, PAPER_READERS[:1], seed=4)

    same = together[together["reader"] == "Reader 1"]["category"].tolist()
    assert alone["category"].tolist() == same
    assert other["category"].tolist() != same


def test_the_cohorts_test_patients_are_scored_and_the_threshold_is_of_others():
    scored = cohort_scored(scale=0.2, skill=0.87)

    patients = scored.cases["patient_id"].nunique()
    assert patients == pytest.approx(204, abs=3)
    assert scored.cases["image_id"].is_unique
    found = auc(scored.cases["malignant"], scored.cases["ai_score"])
    assert found.value == pytest.approx(0.87, abs=0.06)
    assert 0.2 < scored.threshold < 0.8


def predictions():
    rng = np.random.default_rng(1)
    rows = []
    for arm, strategy in (("pooled", ""), ("federated", "fedavg")):
        for split in ("val", "test"):
            for n in range(30):
                rows.append(
                    {
                        "task": "classification", "arm": arm, "strategy": strategy,
                        "budget": "", "trained_on": "all", "fold": "0", "seed": "1",
                        "split": split, "hospital": "H1", "vendor": "GE",
                        "test_set": "internal" if split == "test" else None,
                        "patient_id": f"{split}{n // 2}", "image_id": f"{split}-{n}",
                        "malignant": n // 2 % 2,
                        "score": n // 2 % 2 + rng.normal(),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_predictions_give_the_federated_models_test_images():
    table = predictions()

    scored = predictions_scored(table)

    assert "federated fedavg" in scored.source
    test = table.query("arm == 'federated' and split == 'test'")
    assert scored.cases["ai_score"].tolist() == test["score"].tolist()


def test_predictions_without_validation_are_refused():
    with pytest.raises(ConfigError, match="test and validation"):
        predictions_scored(predictions().query("split == 'test'"))


@pytest.mark.parametrize(
    ("readers", "model", "message"),
    [
        ((), ReadingModel(), "at least one reader"),
        (PAPER_READERS[:1] * 2, ReadingModel(), "a name of its own"),
        (
            (SimulatedReader(name="A", experience="", skill=1.2),),
            ReadingModel(),
            "the skill of A is 1.2",
        ),
        (
            (SimulatedReader(name="A", experience="", skill=0.999),),
            ReadingModel(),
            "no reader gets above",
        ),
        (PAPER_READERS, ReadingModel(with_ai=0.9), "cannot be"),
        (PAPER_READERS, ReadingModel(shares=(0.5, 0.5)), "5 positive numbers"),
    ],
)
def test_readers_that_cannot_be_are_refused(scored, readers, model, message):
    with pytest.raises(ConfigError, match=message):
        simulated_ratings(scored, readers, model=model)


def test_images_of_one_class_are_refused(scored):
    benign = scored.cases.query("malignant == 0")

    with pytest.raises(ConfigError, match="all of one class"):
        simulated_ratings(dataclasses.replace(scored, cases=benign))
