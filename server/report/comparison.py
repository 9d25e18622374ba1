"""The report of a comparison: one HTML file that needs nothing outside itself.

``write_report`` draws the figures, writes them beside the report with their numbers,
and sets text, tables and figures by ``comparison.html.jinja``. The words of what was
found are those of `findings`, which the terminal prints too.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from thyroid_fl.evaluation import EVALUATIONS
from thyroid_fl.server.report.charts import Chart, save_chart
from thyroid_fl.server.report.checklist import by_guideline, filled_checklist
from thyroid_fl.server.report.comparison_facts import comparison_facts
from thyroid_fl.server.report.conclusions import SECTIONS, conclusions
from thyroid_fl.server.report.curves import curve_figure
from thyroid_fl.server.report.figures import (
    MOST_HOSPITALS,
    difference_figure,
    hospital_figure,
    learning_figure,
    sizes_figure,
)
from thyroid_fl.server.report.findings import (
    Run,
    each,
    main_rows,
    measures,
    read_run,
    summary_table,
)
from thyroid_fl.server.report.page import inline, write_page
from thyroid_fl.server.report.sections.communication import (
    strategies_table,
    time_table,
    traffic_figure,
)
from thyroid_fl.server.report.sections.flow_figure import comparison_steps, flow_figure
from thyroid_fl.server.report.sections.heat_maps import heat_map_part
from thyroid_fl.server.report.sections.patients import (
    characteristics_table,
    vendors_table,
)
from thyroid_fl.server.report.sections.studies import studies
from thyroid_fl.server.report.words import (
    METRICS,
    STRATEGIES,
    TASKS,
    TEST_SETS,
    interval,
    model_name,
    opponent,
    p_text,
    split_words,
)


def write_report(folder: Path) -> Path:
    """Write ``report.html``, figures and checklist of a comparison; return its path.

    Raises:
        ConfigError: the folder holds no finished comparison, or a study in one of its
            sub-folders does not belong to it.
    """
    run = read_run(folder)
    parts = [_part(part, folder / "figures") for part in run.by_task()]
    for part in parts:
        task = part["task"]
        part["heat_maps"] = heat_map_part(folder, task, folder / "figures" / task)
    checklist = filled_checklist(comparison_facts(run))
    checklist.to_csv(folder / "checklist.csv", index=False)
    contents = {
        "parts": parts,
        "checklists": by_guideline(checklist),
        "studies": studies(folder, run.provenance["manifest_sha256"]),
        **_contents(run),
    }
    return write_page("comparison.html.jinja", folder / "report.html", contents)


def _charts(run: Run) -> Iterator[Chart]:
    """Yield the figures of one task."""
    task, tested = run.study.task, set(run.predictions["test_set"])
    yield flow_figure(comparison_steps(run.baseline, run.left_out))
    for test_set in (name for name in TEST_SETS if name in tested):
        yield curve_figure(task, run.predictions, test_set)
    yield difference_figure(run.comparisons)
    yield hospital_figure(run.results)
    yield learning_figure(run.history)
    yield sizes_figure(run.hospitals)
    federated = run.history[run.history["arm"] == "federated"]
    yield traffic_figure(run.traffic, federated)


def _part(run: Run, folder: Path) -> dict[str, Any]:
    """Return what the template sets of one task, its figures in ``folder/TASK``."""
    task = run.study.task
    folder = folder / task
    sections = {name: section(run) for name, section in SECTIONS.items()}
    drawn = [chart for section in sections.values() for chart in section.charts]
    charts = {c.name: save_chart(c, folder) for c in [*_charts(run), *drawn]}
    characteristics = characteristics_table(run.baseline)
    vendors = vendors_table(run.baseline)
    for name, table in (("table_1", characteristics), ("table_2", vendors)):
        table.to_csv(folder / f"{name}.csv", index=False)
    shown = main_rows(run.results)
    return {
        "task": task,
        "title": TASKS[task],
        "metric": METRICS[EVALUATIONS[task].metric],
        "study": run.study,
        "figures": {name: inline(path, task) for name, path in charts.items()},
        "headlines": conclusions(run),
        "sections": sections,
        "shows_p": run.shows_p,
        "has_external": "external" in set(shown["test_set"]),
        "characteristics": characteristics,
        "vendors": vendors,
        "communication": strategies_table(run.traffic),
        "times": time_table(run.history),
        "summary": summary_table(run.results, run.comparisons),
        "differences": _differences_table(run.comparisons, shows_p=run.shows_p),
        "measures": _measures_table(run.results),
        "hospitals": _hospitals_table(run.hospitals),
        "cohort_counts": _cohort_counts(run.hospitals),
        "settings": asdict(run.study),
    }


def _contents(run: Run) -> dict[str, Any]:
    """Return what the template sets of the whole, by name."""
    return {
        "run": run,
        "study": run.study,
        "is_synthetic": bool(run.provenance.get("cohort")),
        "bayes_auc": run.provenance.get("bayes_auc"),
        "split_words": split_words(run.study.split),
        "n_seeds": run.n_seeds,
        "n_folds": run.history["fold"].nunique(),
        "provenance": {k: v for k, v in run.provenance.items() if k != "cohort"},
        "most_hospitals": MOST_HOSPITALS,
    }


def _differences_table(comparisons: pd.DataFrame, *, shows_p: bool) -> pd.DataFrame:
    """Return one row per comparison, over all hospitals, as text."""
    rows = main_rows(comparisons).sort_values(
        ["test_set", "difference"],
        ascending=[False, True],  # internal first
    )
    lines: dict[str, dict[str, str]] = {}
    for row in each(rows):
        first = STRATEGIES.get(row.strategy, row.strategy)
        name = f"{first} \u2212 {opponent(row.comparison, row.trained_on)}"
        metric = METRICS[row.metric]
        line = lines.setdefault(name, {f"Difference in {metric}": name})
        test_set = row.test_set.capitalize()
        text = interval(row.difference, row.low, row.high, sign=True)
        line[f"{test_set} (95% CI)"] = text
        line[f"P ({row.test_set})"] = p_text(row.p_value, shows_p)
    return pd.DataFrame(list(lines.values())).fillna("\u2013")


def _measures_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model and test set, a column per metric, as text."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in each(measures(results)):
        name = model_name(row.arm, row.strategy, row.budget, row.trained_on)
        empty = {"Model": name, "Test set": row.test_set}
        line = lines.setdefault((name, row.test_set), empty)
        metric = METRICS.get(row.metric, row.metric)
        metric += " per image" if row.unit == "image" else ""
        line[metric] = interval(row.value, row.low, row.high)
    table = pd.DataFrame(list(lines.values())).fillna("\u2013")
    known = [name for name in ("Model", "Test set", *METRICS.values()) if name in table]
    return table[[*known, *table.columns.difference(known, sort=False)]]


def _hospitals_table(hospitals: pd.DataFrame) -> pd.DataFrame:
    names = {
        "hospital": "Hospital",
        "role": "Part in the study",
        "region": "Region",
        "vendor": "Main vendor",
        "n_patients": "Patients",
        "n_malignant_patients": "Malignant",
        "n_registered": "Images",
        "n_readable": "Readable",
        "n_usable": "Usable",
        "n_train": "Training",
        "n_val": "Validation",
        "n_test": "Test",
    }
    table = hospitals.rename(columns=names)[list(names.values())]
    return table.sort_values("Patients", ascending=False)


def _cohort_counts(hospitals: pd.DataFrame) -> list[tuple[str, int]]:
    """Return the numbers of the cohort with their names."""
    n_by_role = hospitals["role"].value_counts()
    without = [("without a usable picture", int(n_by_role.get("none", 0)))]
    return [
        ("hospitals", len(hospitals)),
        ("of them trained", int(n_by_role.get("trainer", 0))),
        ("for external test only", int(n_by_role.get("external test", 0))),
        *(without if without[0][1] else []),
        ("patients", int(hospitals["n_patients"].sum())),
        ("images", int(hospitals["n_images"].sum())),
    ]
