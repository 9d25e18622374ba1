"""Categories by counting, and rule-based assistance at the ends of the scale."""

from itertools import product

import numpy as np
import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.readers import (
    CATEGORIES,
    CODES,
    acr_level,
    acr_points,
    as_codes,
    ctirads,
    rule_based,
    rule_based_patients,
)

SUSPICIOUS = (
    "vertical",
    "solid",
    "markedly_hypoechoic",
    "microcalcifications",
    "irregular_margin",
)
BY_SCORE = {-1: "2", 0: "3", 1: "4a", 2: "4b", 3: "4c", 4: "4c", 5: "5"}


@pytest.mark.parametrize("comet_tail", [False, True])
def test_ctirads_counts_findings_minus_comet_tails(comet_tail):
    for shown in product([False, True], repeat=5):
        found = ctirads(
            **dict(zip(SUSPICIOUS, shown, strict=True)), comet_tail=comet_tail
        )

        assert found == BY_SCORE[sum(shown) - comet_tail]


@pytest.mark.parametrize(
    ("findings", "category"),
    [
        ({"comet_tail": True}, "2"),
        ({"comet_tail": True, "solid": True}, "3"),
        (dict.fromkeys((*SUSPICIOUS, "comet_tail"), True), "4c"),
        ({"extrathyroidal_extension": True}, "4a"),
        ({"extrathyroidal_extension": True, "irregular_margin": True}, "4a"),
    ],
)
def test_the_edges_of_ctirads(findings, category):
    assert ctirads(**findings) == category


@pytest.mark.parametrize(
    ("findings", "points", "level"),
    [
        ({"composition": "cystic", "echogenicity": "anechoic"}, 0, "TR1"),
        ({"composition": "mixed", "echogenicity": "isoechoic"}, 2, "TR2"),
        ({"composition": "solid", "echogenicity": "hyperechoic"}, 3, "TR3"),
        ({"composition": "solid", "echogenicity": "hypoechoic"}, 4, "TR4"),
        (
            {
                "composition": "solid", "echogenicity": "very_hypo",
                "taller_than_wide": True, "margin": "extrathyroidal",
                "foci": ("macrocalcification", "rim", "punctate", "comet_tail"),
            },
            17, "TR5",
        ),
        (
            {
                "composition": "spongiform", "echogenicity": "very_hypo",
                "foci": ("punctate",),
            },
            0, "TR1",
        ),
    ],
)  # fmt: skip
def test_acr_points_add_up(findings, points, level):
    assert acr_points(**findings) == points
    assert acr_level(points) == level


def test_levels_of_all_acr_sums():
    found = [acr_level(points) for points in range(9)]

    assert found == ["TR1", "TR2", "TR2", "TR3", "TR4", "TR4", "TR4", "TR5", "TR5"]
    with pytest.raises(ConfigError, match="0 or more"):
        acr_level(-1)
    with pytest.raises(ConfigError, match="composition is 'soft'"):
        acr_points(composition="soft", echogenicity="anechoic")


def test_categories_become_codes_in_the_same_shape():
    assert as_codes([["3", "5"], ["4a", "2"]]).tolist() == [[1, 5], [2, 0]]
    with pytest.raises(ConfigError, match="a category is '4d'"):
        as_codes(["3", "4d"])


@pytest.mark.parametrize(
    ("policy", "up", "down"),
    [
        ("clamp", [2, 3, 4, 5, 5], [1, 1, 2, 3, 4]),
        ("extend", [2, 3, 4, 5, 6], [0, 1, 2, 3, 4]),
        ("guideline", [2, 3, 4, 5, 5], [0, 1, 2, 3, 4]),
    ],
)
def test_every_category_moves_by_one_but_at_the_ends(policy, up, down):
    codes = [CODES[name] for name in CATEGORIES]

    assert rule_based(codes, np.ones(5, bool), policy).tolist() == up
    assert rule_based(codes, np.zeros(5, bool), policy).tolist() == down


def test_a_2_belongs_to_the_guideline_only():
    assert rule_based([0, 0], np.array([True, False]), "guideline").tolist() == [1, 0]
    with pytest.raises(ConfigError, match="use 'guideline'"):
        rule_based([0], np.array([True]), "clamp")


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(ConfigError, match="expected one of: clamp, extend"):
        rule_based([1], np.array([True]), "stretch")
    with pytest.raises(ConfigError, match="one call, true or false, a case"):
        rule_based([1, 2], np.array([True]))
    with pytest.raises(ConfigError, match="patient rule is 'nodule'"):
        rule_based_patients([1], np.array([True]), ["a"], "clamp", "nodule")


def test_the_two_rules_for_patients_differ_where_images_disagree():
    # Patient a: categories 4b and 3, the AI calls only the second image.
    codes, calls = [3, 1, 2], np.array([False, True, False])
    patients = ["a", "a", "b"]

    by_image = rule_based_patients(codes, calls, patients, "clamp", "images")
    by_patient = rule_based_patients(codes, calls, patients, "clamp", "patient")

    assert by_image.tolist() == [2, 1]  # the higher of 4b down and 3 up
    assert by_patient.tolist() == [4, 1]  # 4b up


def test_with_one_image_a_patient_the_two_rules_agree():
    rng = np.random.default_rng(1)
    codes, calls = rng.integers(1, 6, (3, 50)), rng.random(50) < 0.5
    patients = rng.permutation(50)

    found = [
        rule_based_patients(codes, calls, patients, "extend", rule).tolist()
        for rule in ("images", "patient")
    ]

    assert found[0] == found[1]
    assert found[0] == rule_based(codes, calls, "extend").tolist()
