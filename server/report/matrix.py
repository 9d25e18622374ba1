"""The page of a generalisation matrix."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

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
    contents = {
        "run": run,
        "matrix": matrix_part(run, folder, page_folder=folder),
        "is_synthetic": bool(run.provenance.get("cohort")),
        "settings": asdict(run.study),
        "provenance": {k: v for k, v in run.provenance.items() if k != "cohort"},
    }
    return write_page("matrix.html.jinja", folder / "report.html", contents)


def matrix_part(run: MatrixRun, folder: Path, *, page_folder: Path) -> dict[str, Any]:
    """Return what ``sections/matrix.html.jinja`` sets; write the figure.

    Args:
        run: a finished matrix.
        folder: its folder; the figure goes to ``figures/TASK`` there.
        page_folder: where the page will be that names the figure's files.
    """
    task = run.study.task
    figures = folder / "figures" / task
    chart = save_chart(matrix_figure(run.cells), figures)
    return {
        "by": run.by,
        "study": run.study,
        "n_seeds": run.n_seeds,
        "metric": run.metric,
        "headlines": run.headlines,
        "title": TASKS[task],
        "figure": inline(chart, f"{run.by}-{task}"),
        "files": figures.relative_to(page_folder),
        "paper_table": paper_table(run.cells),
        "own": _own_table(run),
        "cells": _cells_table(run),
        "differences": {
            words: _differences_table(run, name) for name, words in COMPARISONS.items()
        },
        "sources": _sources_table(run),
        "split_words": split_words(run.study.split),
    }


def _sources_table(run: MatrixRun) -> pd.DataFrame:
    """Return each source's patients and pictures as text: a row a source."""
    rows = run.sources
    table = pd.DataFrame({run.by.capitalize(): rows["source"]})
    sides = {"Training": "train", "Validation": "val", "Test": "test"}
    for words, side in sides.items():
        table[f"{words} patients"] = [
            f"{row[f'n_{side}_patients']} ({row[f'n_{side}_malignant']} malignant), "
            f"{row[f'n_{side}_images']} pictures"
            for _, row in rows.iterrows()
        ]
    return table


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
    lines: dict[str, dict[str, str]] = {name: {} for name in names.values()}
    for row in each(run.cells):
        spread = "" if pd.isna(row.seed_sd) else f" SD {row.seed_sd:.3f}"
        text = interval(row.value, row.low, row.high) + spread
        lines[names[row.kind, row.source]][row.column] = text
    table = pd.DataFrame.from_dict(lines, orient="index").reindex(columns=_columns(run))
    return table.fillna("\u2013").reset_index(names="Trained on")


def _differences_table(run: MatrixRun, comparison: str) -> pd.DataFrame:
    """Return one comparison as text: a row a source, a column a test set."""
    tests = run.differences[run.differences["comparison"] == comparison]
    lines: dict[str, dict[str, str]] = {}
    for row in each(tests):
        text = interval(row.difference, row.low, row.high, sign=True)
        if run.n_seeds > 1 and not pd.isna(row.p_holm):
            shown = "< 0.001" if row.p_holm < 0.001 else number(row.p_holm)
            text += f" P {shown}"
        lines.setdefault(row.source or "all", {})[row.column] = text
    table = pd.DataFrame.from_dict(lines, orient="index")
    table = table.reindex(columns=[c for c in _columns(run) if c in table])
    return table.fillna("\u2013").reset_index(names=run.by.capitalize())


def _columns(run: MatrixRun) -> list[str]:
    """Return the columns: the sources, the largest first, then mixed."""
    return [*run.sources["source"], MIXED, *({WITHIN} & set(run.cells["column"]))]
