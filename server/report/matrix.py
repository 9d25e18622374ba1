"""The page of a generalisation matrix."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from thyroid_fl.evaluation.matrix import MIXED, WITHIN, own_minus_others, paper_table
from thyroid_fl.server.report.charts import save_chart
from thyroid_fl.server.report.findings import each
from thyroid_fl.server.report.matrix_figure import matrix_figure, row_names
from thyroid_fl.server.report.matrix_findings import MatrixRun, read_matrix
from thyroid_fl.server.report.page import inline, write_page
from thyroid_fl.server.report.words import TASKS, interval, number, split_words

COMPARISONS = {
    "diversity": "Diversity: mixed of the same size \u2212 alone",
    "size": "Size: mixed, all \u2212 mixed of the same size",
    "mixed - single": "Mixed, all \u2212 alone",
    "mixed - others": "Mixed, all \u2212 all but it",
    "others - single": "All but it \u2212 alone",
    "federated - single": "Federated \u2212 alone",
    "federated - mixed": "Federated \u2212 mixed, all",
}


def write_matrix_report(folder: Path) -> Path:
    """Write ``report.html`` and the figure of a finished matrix; return its path.

    Raises:
        ConfigError: the folder holds no finished matrix.
    """
    run = read_matrix(folder)
    chart = save_chart(matrix_figure(run.cells), folder / "figures" / run.study.task)
    contents = {
        "run": run,
        "title": TASKS[run.study.task],
        "is_synthetic": bool(run.provenance.get("cohort")),
        "figure": inline(chart, run.study.task),
        "paper_table": paper_table(run.cells),
        "own": _own_table(run),
        "cells": _cells_table(run),
        "tests": {
            words: _tests_table(run, name) for name, words in COMPARISONS.items()
        },
        "sources": run.sources,
        "split_words": split_words(run.study.split),
        "settings": asdict(run.study),
        "provenance": {k: v for k, v in run.provenance.items() if k != "cohort"},
    }
    return write_page("matrix.html.jinja", folder / "report.html", contents)


def _own_table(run: MatrixRun) -> pd.DataFrame:
    table = own_minus_others(run.cells)
    return pd.DataFrame(
        {
            f"Trained on one {run.by}": table["source"],
            f"On its own {run.by}": table["own"].map(number),
            "On the others, mean": table["others"].map(number),
            "Own minus others": [number(d, sign=True) for d in table["difference"]],
        }
    )


def _cells_table(run: MatrixRun) -> pd.DataFrame:
    """Return every cell as text: value, interval, spread over the seeds."""
    names = row_names(run.cells)
    columns = [column for column in run.cells["column"].unique() if column != WITHIN]
    order = sorted(columns, key=lambda name: name == MIXED)
    lines: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for row in each(run.cells):
        spread = "" if pd.isna(row.seed_sd) else f" SD {row.seed_sd:.3f}"
        text = interval(row.value, row.low, row.high) + spread
        lines[names[row.kind, row.source]][row.column] = text
    table = pd.DataFrame.from_dict(lines, orient="index").reindex(
        columns=[*order, *({WITHIN} & set(run.cells["column"]))]
    )
    return table.fillna("\u2013").reset_index(names="Trained on")


def _tests_table(run: MatrixRun, comparison: str) -> pd.DataFrame:
    """Return one comparison as text: a row a source, a column a test set."""
    tests = run.tests[run.tests["comparison"] == comparison]
    lines: dict[str, dict[str, str]] = {}
    for row in each(tests):
        text = interval(row.difference, row.low, row.high, sign=True)
        if run.n_seeds > 1 and not pd.isna(row.p_holm):
            shown = "< 0.001" if row.p_holm < 0.001 else number(row.p_holm)
            text += f" P {shown}"
        lines.setdefault(row.source or "all", {})[row.column] = text
    table = pd.DataFrame.from_dict(lines, orient="index")
    table = table.reindex(columns=sorted(table.columns, key=lambda c: c == MIXED))
    return table.fillna("\u2013").reset_index(names=run.by.capitalize())
