"""Gap and worst hospitals of a federation, from what the hospitals told alone."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thyroid_fl.server.federation import Federation
from thyroid_fl.server.federation_gap import gap_table, worst_table
from thyroid_fl.settings import make_study
from thyroid_fl.statistics import new_hospital_gap, random_effects_mean, worst_mean

OWN = {"internal": [0.90, 0.86, 0.93], "external": [0.80, 0.84, 0.70]}
VARIANCES = {"internal": [0.001, 0.002, 0.003], "external": [0.002, 0.002, 0.004]}


def federation(bound: float = 0.0) -> Federation:
    """Return three internal and three external hospitals of 60 patients."""
    tests = pd.DataFrame(
        {
            "test_set": ["internal", "external"],
            "metric": "auc",
            "unit": "patient",
            "estimate": [0.9, 0.8],
            "variance": [0.0004, 0.0009],
            "bound": bound,
            "n": [180, 120],
        }
    )
    sites = pd.DataFrame(
        [
            {
                "hospital": f"{test_set}-{k}", "test_set": test_set, "metric": "auc",
                "unit": "patient", "estimate": value, "low": 0.5, "high": 1.0,
                "variance": VARIANCES[test_set][k], "n": 60, "n_positive": 30,
                "outcome": "told",
            }
            for test_set, values in OWN.items()
            for k, value in enumerate(values)
        ]
    )  # fmt: skip
    return Federation(
        name="toy", study=make_study(), version="", model_sha256="", last_round=1,
        best_round=1, history=pd.DataFrame(), participation=None, traffic=None,
        sites=sites, tests=tests,
    )  # fmt: skip


def row(target: str, bound: float = 0.0) -> pd.Series:
    return gap_table(federation(bound)).set_index("target").loc[target]


def test_the_gap_for_these_hospitals_is_welch_s_by_hand():
    found = row("these hospitals")

    variance = 0.0004 + 0.0009
    df = variance**2 / (0.0004**2 / 179 + 0.0009**2 / 119)
    half = stats.t.ppf(0.975, df) * math.sqrt(variance)
    assert found["difference"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1 - half)
    assert found["high"] == pytest.approx(0.1 + half)
    assert (found["n_internal"], found["n_external"]) == (180, 120)


def test_the_bounds_of_both_values_widen_the_interval():
    exact, rough = row("these hospitals"), row("these hospitals", bound=0.01)

    assert rough["low"] == pytest.approx(exact["low"] - 0.02)
    assert rough["high"] == pytest.approx(exact["high"] + 0.02)
    assert "bounds" in rough["method"]


def test_hospitals_like_these_and_the_next_are_random_effects():
    means = {
        name: random_effects_mean(OWN[name], VARIANCES[name])
        for name in ("internal", "external")
    }
    expected = new_hospital_gap(means["internal"], means["external"])

    alike, following = row("hospitals like these"), row("the next hospital")

    assert alike["difference"] == following["difference"] == expected.difference
    assert (alike["low"], alike["high"]) == (expected.low, expected.high)
    assert following["low"] == expected.prediction_low
    assert following["high"] == expected.prediction_high
    assert alike["n_internal"] == 3


def test_within_hospitals_the_hospitals_are_the_sample():
    given = federation()
    assert given.tests is not None
    within = given.tests.assign(metric="auc_within_site", n_hospitals=[5, 4])
    given = dataclasses.replace(given, tests=pd.concat([given.tests, within]))

    found = gap_table(given).set_index("metric").loc["auc_within_site"]

    variance = 0.0004 + 0.0009
    df = variance**2 / (0.0004**2 / 4 + 0.0009**2 / 3)
    assert found["high"] - found["difference"] == pytest.approx(
        stats.t.ppf(0.975, df) * math.sqrt(variance)
    )
    assert (found["target"], found["n_internal"]) == ("hospitals like these", 5)


def test_worst_hospital_and_decile_have_the_interval_of_worst_mean():
    expected = worst_mean(OWN["external"], VARIANCES["external"], dfs=[59, 59, 59])

    table = worst_table(federation()).set_index(["test_set", "endpoint"])

    worst = table.loc[("external", "worst hospital")]
    assert worst["value"] == expected.value == 0.7
    assert worst["low"] == pytest.approx(max(expected.low, 0))
    assert worst["high"] == pytest.approx(min(expected.high, 1))
    assert worst["n"] == 3


def test_a_hospital_with_few_of_a_class_does_not_count():
    given = federation()
    assert given.sites is not None
    given.sites.loc[given.sites["hospital"] == "external-2", "n_positive"] = 9

    table = worst_table(given).set_index(["test_set", "endpoint"])

    assert table.loc[("external", "worst hospital"), "n"] == 2
    assert table.loc[("external", "worst hospital"), "value"] == 0.8


def test_the_next_hospital_is_undefined_with_two_external_ones():
    given = federation()
    assert given.sites is not None
    given.sites.loc[given.sites["hospital"] == "external-2", "n_positive"] = 9

    found = gap_table(given).set_index("target").loc["the next hospital"]

    assert np.isnan(found["low"])
    assert found["n_external"] == 2


@pytest.mark.parametrize("missing", ["tests", "sites", "external"])
def test_without_both_kinds_of_hospitals_there_is_no_gap(missing: str):
    given = federation()
    if missing == "external":
        assert given.tests is not None
        given = dataclasses.replace(given, tests=given.tests.head(1))
    else:
        given = dataclasses.replace(given, **{missing: None})

    assert gap_table(given).empty
