"""What the software knows of a comparison, in sentences for the checklists."""

from typing import Any

from thyroid_fl.server.report.checklist import Fact
from thyroid_fl.server.report.checklist_facts import (
    SETTINGS,
    Facts,
    licence,
    study_facts,
)
from thyroid_fl.server.report.conclusions import headlines
from thyroid_fl.server.report.findings import Run
from thyroid_fl.server.report.sections.flow_figure import everyone


def comparison_facts(run: Run) -> Facts:
    """Return what is known, by name; places are ids of the comparison's page."""
    strategies = sorted(set(run.history["strategy"]) - {""})
    found = study_facts(list(run.studies.values()), strategies)
    return found | _data_facts(run) | _result_facts(run)


def _data_facts(run: Run) -> Facts:
    flow, baseline = f"flow-{run.study.task}", f"baseline-{run.study.task}"
    registered = _everyone(run)["registered"]
    facts = {
        "source": Fact(_source(run), SETTINGS),
        "eligibility": Fact("How many pictures were left out, and why.", flow),
        "missing": Fact(
            "A picture that lacks what the task needs is left out and counted; an "
            "unknown age, sex or vendor stays unknown. Nothing is imputed.",
            flow,
        ),
        "centres": Fact(f"{registered.n_hospitals:,} hospitals.", flow),
        "vendors": Fact("The vendors of the scanners, in Table 2.", baseline),
        "flow": Fact("Hospitals, patients and images at each stage and side.", flow),
        "baseline": Fact("Age, class, sex, vendor and images of each side.", baseline),
        "differ": Fact("The sides of the split beside each other.", baseline),
    }
    if run.provenance.get("cohort"):
        facts["identity"] = Fact("Not needed: the patients do not exist.", SETTINGS)
    return facts


def _result_facts(run: Run) -> Facts:
    models, hospitals = f"models-{run.study.task}", f"hospitals-{run.study.task}"
    counts, versions = _everyone(run), run.provenance["versions"]
    n_trained = len(run.history[["seed", "fold"]].drop_duplicates())
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    performance = (
        sentence for part in run.by_task() for sentence in headlines(part.comparisons)
    )
    facts = {
        "software": Fact(f"{listed}.", SETTINGS),
        "availability": licence(versions["thyroid-fl"]),
        "repeats": Fact(f"Seeds times folds: {n_trained}.", "shows"),
        "uncertainty": Fact("95% intervals, and the method of each.", "methods"),
        "internal": Fact(_tested(counts["internal"]), models),
        "external": Fact(_tested(counts["external"]), models),
        "prediction": Fact(
            "By each trained model on the test pictures, which it has never seen.",
            "methods",
        ),
        "performance": Fact(" ".join(performance), models),
        "heterogeneity": Fact(
            "The result in each hospital; random-effects mean over hospitals, and the "
            "prediction interval of another such hospital.",
            hospitals,
        ),
        "limits": Fact("What split, preset and seeds can show, and what not.", "shows"),
        "specification": Fact("The weights of each model, in trainings/.", SETTINGS),
    }
    if "classification" in run.studies:
        facts["accuracy"] = Fact(
            "Sensitivity and specificity at Youden\u2019s threshold of the validation "
            "patients, with intervals.",
            "hospitals-classification",
        )
    return facts


def _everyone(run: Run) -> dict[str, Any]:
    """Return the counts of the first task, by stage and side."""
    return everyone(run.baseline[run.baseline["task"] == run.study.task])


def _source(run: Run) -> str:
    if run.provenance.get("cohort"):
        return "A synthetic cohort: pictures that a program drew."
    return f"A manifest with SHA-256 {run.provenance['manifest_sha256']}."


def _tested(counts: Any) -> str:
    if not counts.n_patients:
        return "None: there are no such test patients."
    return f"{counts.n_patients:,} patients of {counts.n_hospitals:,} hospitals."
