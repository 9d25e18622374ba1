"""The sentences about a random split say what its intervals show, and no more."""

import pandas as pd
import pytest

from thyroid_fl.server.report.optimism import NOT_EXTERNAL, optimism_sentences

NAN = float("nan")


def row(difference: float, **columns: object) -> dict[str, object]:
    return {
        "task": "classification", "arm": "pooled", "strategy": "", "budget": "",
        "trained_on": "all", "unit": "patient", "metric": "auc",
        "target": "optimism of the split", "internal": 0.9, "external": 0.8,
        "difference": difference, "low": difference - 0.05, "high": difference + 0.05,
        "n_internal": 200, "n_external": 400, "fold": "mean", "seed": "mean",
    } | columns  # fmt: skip


def said(optimism: float, gap: float, within: float) -> list[str]:
    these = {"target": "these hospitals"}
    gaps = [
        row(0.5, **these | {"fold": "2", "seed": "1"}),
        row(gap, **these),
        row(within, metric="auc_within_site", target="hospitals like these"),
        row(gap, **these | {"unit": "image"}),
    ]
    return optimism_sentences(
        pd.DataFrame([row(optimism), row(0.7, unit="image")]),
        pd.DataFrame(gaps),
        (1120, 1118),
    )


def test_a_shortcut_is_said_with_its_numbers():
    size, split, optimism, gap, points_to = said(0.10, 0.12, 0.01)

    assert "1120 with the patients split at random, 1118 with hospitals held" in size
    assert split == NOT_EXTERNAL
    assert (
        "AUC 0.900 on 200 test patients of the random split, 0.800 on 400" in optimism
    )
    assert "+0.100 (95% CI +0.050 to +0.150)" in optimism
    assert optimism.endswith("the random split looks better than hospitals held out.")
    assert "gap in AUC +0.120 (95% CI +0.070 to +0.170), within hospitals +0.010" in gap
    assert gap.endswith("other hospitals fare worse.")
    assert points_to.startswith("The gap over all patients is not shown within")


def test_an_interval_over_0_shows_nothing_and_hides_nothing():
    _, _, *sentences = said(0.02, 0.01, 0.01)

    assert len(sentences) == 2
    for sentence in sentences:
        assert "no difference shown, which does not show that there is none" in sentence


@pytest.mark.parametrize(
    ("difference", "of_split", "of_gap"),
    [
        (-0.1, "held out look better than the random split.", "hospitals fare better."),
        (NAN, "cannot be computed.", "cannot be computed."),
    ],
)
def test_other_outcomes_have_their_words(difference, of_split, of_gap):
    _, _, optimism, gap = said(difference, difference, difference)

    assert optimism.endswith(of_split)
    assert gap.endswith(of_gap)


def test_a_gap_within_hospitals_too_is_not_laid_to_the_sites():
    sentences = said(0.10, 0.12, 0.12)

    assert len(sentences) == 4


def test_segmentation_has_no_within_hospitals():
    table = pd.DataFrame([row(0.1, task="segmentation", metric="dice")])
    gap = pd.DataFrame([row(0.1, metric="dice", target="these hospitals")])

    sentences = optimism_sentences(table, gap, (10, 10))

    assert "Dice 0.900" in sentences[2]
    assert "within hospitals" not in sentences[3]
