"""The report of a real federation: one HTML file from what its folder holds.

Who took part, how the model learned, what went over the lines, how good the model is on
the hospitals' test patients, and what left the hospitals. A section whose file is
absent says so in one sentence.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from thyroid_fl.server.federation import (
    Federation,
    is_ranking,
    mebibytes,
    read_federation,
)
from thyroid_fl.server.federation_gap import gap_table, worst_table
from thyroid_fl.server.report.charts import Chart, save_chart
from thyroid_fl.server.report.checklist import by_guideline, filled_checklist
from thyroid_fl.server.report.federation_facts import federation_facts
from thyroid_fl.server.report.federation_figures import (
    MOST_HOSPITALS,
    federation_steps,
    participation_figure,
    results_figure,
    rounds_figure,
)
from thyroid_fl.server.report.federation_tables import (
    failures_table,
    gap_words,
    hospitals_table,
    levels_table,
    results_table,
    rounds_table,
    sites_table,
    told_levels,
    worst_words,
)
from thyroid_fl.server.report.findings import each
from thyroid_fl.server.report.page import inline, write_page
from thyroid_fl.server.report.sections.communication import (
    communication_table,
    traffic_figure,
)
from thyroid_fl.server.report.sections.flow_figure import flow_figure
from thyroid_fl.server.report.words import (
    METRICS,
    STRATEGIES,
    TASKS,
    interval,
    number,
    split_words,
)


def write_federation_report(run_folder: Path) -> Path:
    """Write ``report.html``, its figures and tables into the folder; return its path.

    The tables: gap.csv, worst_hospitals.csv, checklist.csv.

    Raises:
        ConfigError: the folder holds no federation, or a file cannot be read.
    """
    federation = read_federation(run_folder)
    figures = {
        chart.name: inline(save_chart(chart, run_folder / "figures"), "federation")
        for chart in _charts(federation)
    }
    gap, worst = gap_table(federation), worst_table(federation)
    checklist = filled_checklist(federation_facts(federation))
    for name, table in (
        ("gap", gap),
        ("worst_hospitals", worst),
        ("checklist", checklist),
    ):
        table.to_csv(run_folder / f"{name}.csv", index=False)
    traffic = federation.traffic
    contents = {
        "federation": federation,
        "study": federation.study,
        "title": TASKS[federation.study.task],
        "strategy": STRATEGIES.get(
            federation.study.strategy, federation.study.strategy
        ),
        "figures": figures,
        "findings": list(_findings(federation)),
        "hospitals": hospitals_table(federation),
        "failures": failures_table(federation),
        "rounds": rounds_table(federation),
        "results": results_table(federation),
        "sites": sites_table(federation),
        "gap": gap_words(gap),
        "worst": worst_words(worst),
        "communication": None if traffic is None else communication_table(traffic),
        "checklists": by_guideline(checklist),
        "split_words": split_words(federation.study.split),
        "levels": levels_table(federation),
        "sends_scores": is_ranking(federation)
        and told_levels(federation).eq("scores").any(),
        "ranks": is_ranking(federation),
        "settings": asdict(federation.study),
        "most_hospitals": MOST_HOSPITALS,
    }
    return write_page("federation.html.jinja", run_folder / "report.html", contents)


def bound_words(metric: str, estimate: float, bound: float) -> str:
    """Return in words how far a pooled number can be from that of all scores together.

    >>> bound_words("AUC", 0.9, 0.01)
    'with all scores in one place the AUC would certainly lie between 0.890 and 0.910'
    """
    if pd.isna(bound):
        return "it cannot be computed"
    if bound == 0:
        return f"exactly the {metric} of all predictions in one place"
    low, high = max(estimate - bound, 0.0), min(estimate + bound, 1.0)
    return (
        f"with all scores in one place the {metric} would certainly lie between "
        f"{number(low)} and {number(high)}"
    )


def _charts(federation: Federation) -> Iterator[Chart]:
    if steps := federation_steps(federation):
        yield flow_figure(steps)
    yield rounds_figure(federation.study, federation.history)
    if federation.participation is not None:
        yield participation_figure(federation.participation)
    if federation.traffic is not None:
        yield traffic_figure(federation.traffic, federation.history)
    sites, tests = federation.sites, federation.tests
    if sites is not None and tests is not None and not tests.empty:
        yield results_figure(sites, tests)


def _findings(federation: Federation) -> Iterator[str]:
    """Yield the sentences at the top, the most important first."""
    study, tests = federation.study, federation.tests
    # Where no hospital told more than metrics, the pooled number has no patients.
    for row in each(tests[tests["n"] > 0].head(1)) if tests is not None else ():
        words = METRICS[row.metric]
        sentence = f"{words} {interval(row.estimate, row.low, row.high)}"
        covered = f"{row.n} test patients of {row.n_hospitals} hospitals"
        surely = bound_words(words, row.estimate, row.bound)
        yield f"{sentence} on {covered}, whose pictures never left them; {surely}."
    done = f"{federation.last_round} of {study.rounds} rounds are done"
    best = f"the model is that of round {federation.best_round}, by {study.select_by}"
    yield f"{done}; {best if federation.best_round else 'there is no model yet'}."
    rows = federation.participation
    if rows is not None:
        n_used = rows.loc[rows["outcome"] == "used", "hospital"].nunique()
        failed = rows[rows["outcome"] == "failed"]
        without = "no hospital failed in any round"
        if len(failed):
            n_rounds = failed["round"].nunique()
            without = f"in {n_rounds} of {rows['round'].nunique()} rounds one or more "
            without += "failed; the others went on"
        yield f"{n_used} hospitals trained together; {without}."
    if federation.traffic is not None:
        sent, received = federation.traffic[["sent_bytes", "received_bytes"]].sum()
        yield f"{mebibytes(sent)} went to the hospitals, {mebibytes(received)} back."
