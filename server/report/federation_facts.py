"""What the software knows of a federation, in sentences for the checklists."""

from collections.abc import Iterator

import pandas as pd

from thyroid_fl.server.federation import Federation
from thyroid_fl.server.report.checklist import Fact
from thyroid_fl.server.report.checklist_facts import (
    SETTINGS,
    Facts,
    licence,
    study_facts,
)
from thyroid_fl.server.report.findings import each
from thyroid_fl.server.report.words import METRICS, interval
from thyroid_fl.server.site_results import TOLD


def federation_facts(federation: Federation) -> Facts:
    """Return what is known, by name; places are ids of the federation's page."""
    study = federation.study
    found = study_facts([study], [study.strategy])
    found["identity"] = Fact(
        "No picture, file name, patient number or date left a hospital.", "left"
    )
    found["apart"] = Fact(
        "The patient, in each hospital; whether somebody is in two hospitals is not "
        "known here.",
        SETTINGS,
    )
    # Those of a comparison: a federation's tests have fewer.
    del found["metrics"]
    if federation.version:
        found["software"] = Fact(f"thyroid-fl {federation.version}.", SETTINGS)
        found["availability"] = licence(federation.version)
        found["specification"] = Fact(
            "The weights: model.safetensors, and its card.", SETTINGS
        )
    if federation.participation is not None:
        n_hospitals = federation.participation["hospital"].nunique()
        found |= {
            "source": Fact("The hospitals\u2019 own manifests.", "hospitals"),
            "centres": Fact(f"{n_hospitals:,} hospitals.", "hospitals"),
            "flow": Fact("Images at each stage, hospitals and test patients.", "flow"),
            "missing": Fact(
                "An image that lacks what the task needs is left out and counted. "
                "Nothing is imputed.",
                "flow",
            ),
        }
    return found | dict(_result_facts(federation))


def _result_facts(federation: Federation) -> Iterator[tuple[str, Fact]]:
    tests, sites = federation.tests, federation.sites
    if tests is None or sites is None or tests.empty:
        return
    measures = ", ".join(METRICS.get(name, name) for name in tests["metric"].unique())
    yield "metrics", Fact(f"{measures}.", "test")
    yield "uncertainty", Fact("95% intervals, and the method of each.", "test")
    yield (
        "prediction",
        Fact("In each hospital, by the final model, on its own test patients.", "test"),
    )
    yield "performance", Fact(_performance(tests), "test")
    yield (
        "heterogeneity",
        Fact(
            "The result in each hospital; means over hospitals by random effects; the "
            "gap to external hospitals.",
            "gap",
        ),
    )
    for test_set in ("internal", "external"):
        yield test_set, Fact(_tested(sites, test_set), "test")


def _performance(tests: pd.DataFrame) -> str:
    """Return the first measure in each test set, as `results_table` has it."""
    rows = tests[tests["metric"] == tests["metric"].iloc[0]]
    return "; ".join(
        f"{METRICS.get(row.metric, row.metric)} of {row.test_set} test patients "
        f"{interval(row.estimate, row.low, row.high)}"
        for row in each(rows)
    )


def _tested(sites: pd.DataFrame, test_set: str) -> str:
    rows = sites[(sites["outcome"] == TOLD) & (sites["test_set"] == test_set)]
    rows = rows.drop_duplicates("hospital")
    if not rows["n"].sum():
        return "None: no hospital told of such test patients."
    return f"{rows['n'].sum():,.0f} patients of {len(rows):,} hospitals."
