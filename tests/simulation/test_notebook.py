from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "quickstart.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_shows_table_and_figure():
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(notebook, timeout=300).execute()

    shown = [
        output.data
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert any("External AUC" in data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    assert any("Estimate(value=0.88" in data.get("text/plain", "") for data in shown)


def test_the_notebook_is_executed_and_holds_nothing_of_this_machine():
    text = NOTEBOOK.read_text()
    cells = nbformat.reads(text, as_version=4).cells

    assert all(c.execution_count for c in cells if c.cell_type == "code")
    assert "/work/" not in text
    assert "/root/" not in text
