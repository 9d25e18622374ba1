import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from thyroid_fl.simulation.phantom.nodule_features import (
    NoduleFeatures,
    bayes_auc,
    bayes_score,
    nodule_features,
    tirads,
)

NAMES = (
    "solid", "vertical", "marked_hypo", "microcalcifications", "irregular",
    "comet_tail",
)  # fmt: skip


def with_findings(*present: str) -> NoduleFeatures:
    return NoduleFeatures(**{name: name in present for name in NAMES})


@pytest.fixture(scope="module")
def cases() -> tuple[list[bool], list[NoduleFeatures]]:
    rng = np.random.default_rng(1)
    malignant = [bool(i % 3) for i in range(6000)]
    return malignant, [nodule_features(label, rng) for label in malignant]


def test_enumerated_bayes_auc_equals_simulation_at_another_prevalence(cases):
    malignant, features = cases

    simulated = roc_auc_score(malignant, [bayes_score(case) for case in features])

    assert simulated == pytest.approx(bayes_auc(), abs=0.01)


def test_bayes_auc_is_that_of_the_recipe():
    assert bayes_auc() == pytest.approx(0.947, abs=0.001)


def test_features_given_pathology_equal_rejection_sampling_from_the_joint(cases):
    # The generative direction, written independently: latent -> findings -> pathology.
    rng = np.random.default_rng(2)
    n = 60_000
    latent = rng.standard_normal((n, 1))
    sign = np.array([1, 1, 1, 1, 1, -1])
    own = rng.standard_normal((n, 6))
    liability = 0.45 * sign * latent + np.sqrt(1 - 0.45**2) * own
    probability = np.array([0.62, 0.28, 0.25, 0.28, 0.33, 0.22])
    cut = [np.quantile(liability[:, k], 1 - p) for k, p in enumerate(probability)]
    on = liability > cut
    on[:, 2] &= on[:, 0]
    on[:, 5] &= ~on[:, 0]
    logit = 1.8 * (on @ np.array([1.9, 2.2, 1.9, 2.3, 2.0, -2.2]) - 3.2)
    label = rng.random(n) < 0.02 + 0.96 / (1 + np.exp(-logit))
    malignant, features = cases
    drawn = np.array([[getattr(f, name) for name in NAMES] for f in features])

    for pathology in (False, True):
        expected = on[label == pathology].mean(axis=0)
        found = drawn[np.array(malignant) == pathology].mean(axis=0)
        np.testing.assert_allclose(found, expected, atol=0.04)


def test_impossible_combinations_are_never_drawn(cases):
    _, features = cases

    assert not any(case.marked_hypo and not case.solid for case in features)
    assert not any(case.comet_tail and case.solid for case in features)


def test_every_finding_moves_the_score_in_its_direction():
    for present in itertools.combinations(NAMES[:5], 2):
        more = bayes_score(with_findings(*present))

        assert more > bayes_score(with_findings(present[0]))
        assert more > bayes_score(with_findings(*present, "comet_tail"))


@pytest.mark.parametrize(
    ("present", "category"),
    [
        (("comet_tail",), "2"),
        ((), "3"),
        (("vertical", "comet_tail"), "3"),
        (("solid",), "4a"),
        (("solid", "irregular"), "4b"),
        (("solid", "irregular", "vertical"), "4c"),
        (("solid", "irregular", "vertical", "marked_hypo"), "4c"),
        (NAMES[:5], "5"),
        (NAMES, "4c"),
    ],
)
def test_tirads_counts_findings_minus_the_comet_tail(present, category):
    assert tirads(with_findings(*present)) == category
