"""The section of the heat maps: its numbers, its limits, and pictures only if asked."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.evaluation.heat_maps import heat_table
from thyroid_fl.evaluation.predictions import Model
from thyroid_fl.server.report.comparison import write_report
from thyroid_fl.server.report.sections.heat_maps import picture_figure, share_figure

FEDERATED = Model("federated", "fedavg", "", "all")
ALONE = Model("single", "", "tuned", "NA")  # a hospital of this name is no missing one
REAL = {"cohort": None, "bayes_auc": None}


def shares(models=(FEDERATED, ALONE), n=30) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    numbers = np.arange(n)
    parts = [
        pd.DataFrame(
            {
                "task": "classification",
                **model._asdict(),
                "fold": 0,
                "seed": seed,
                "test_set": test_set,
                "image_id": [f"{test_set}-{k}" for k in numbers],
                "patient_id": [f"{test_set}-p{k // 2}" for k in numbers],
                "malignant": numbers % 2,
                "in_mask": rng.uniform(0.2, 0.6, n),
                "area": 0.25,
            }
        )
        for model in models
        for seed in (1, 2)
        for test_set in ("internal", "external")
    ]
    return pd.concat(parts, ignore_index=True)


def shown(n=2, px=32) -> dict[str, np.ndarray]:
    masks = np.zeros((n, px, px), np.uint8)
    masks[:, 8:20, 10:24] = 1
    rng = np.random.default_rng(1)
    return {
        "models": np.array([FEDERATED, ("pooled", "", "", "all")]),
        "malignant": np.arange(n) % 2,
        "area": masks.mean((1, 2)),
        "in_mask": np.array([[0.5] * n, [np.nan] * n]),
        "pictures": rng.integers(0, 255, (n, px, px)).astype(np.uint8),
        "masks": masks,
        "overlays": rng.integers(0, 255, (2, n, px, px, 3)).astype(np.uint8),
    }


@pytest.fixture
def with_heat(write_study: Callable[..., Path], request) -> Callable[..., Path]:
    """Return a function that writes a study with heat maps, and its report."""

    def write(n_cells: int = 16, n_shown: int = 0, **provenance: object) -> Path:
        name = f"{request.node.name}-{n_cells}-{n_shown}"
        folder = write_study(name, seeds=1, provenance=provenance)
        table = heat_table(shares()).assign(n_cells=n_cells)
        table.to_csv(folder / "heat_maps.csv", index=False)
        if n_shown:
            np.savez(folder / "heat_maps_shown.npz", **shown(n_shown))
        write_report(folder)
        return folder

    return write


def test_the_section_has_numbers_a_chart_and_what_they_do_not_show(
    with_heat, read_page
):
    folder = with_heat(**REAL)
    page = read_page((folder / "report.html").read_text("utf-8"))

    row = heat_table(shares()).query(
        "arm == 'federated' and test_set == 'external' and seed == 'mean'"
    )
    row = row[row["pathology"] == "all"].iloc[0]
    assert f"{row.in_mask:.3f} ({row.low:.3f} to {row.high:.3f})" in page.text
    assert "NA alone (tuned)" in page.text
    assert "16 \u00d7 16 cells" in page.text
    assert "no proof that the model reasons as a radiologist" in page.text
    assert "Nothing follows from it" not in page.text
    for ending in ("svg", "png", "csv"):
        path = folder / "figures" / "classification" / f"heat_in_nodule.{ending}"
        assert path.stat().st_size > 0


def test_a_grid_as_coarse_as_a_nodule_is_said_to_tell_nothing(with_heat, read_page):
    folder = with_heat(n_cells=2)

    text = read_page((folder / "report.html").read_text("utf-8")).text

    assert "only 2 \u00d7 2 cells" in text
    assert "Nothing follows from it" in text


def test_pictures_of_patients_come_with_a_warning(with_heat, read_page):
    folder = with_heat(n_shown=2, **REAL)
    page = read_page((folder / "report.html").read_text("utf-8"))

    links = page.values("xlink:href") + page.values("href")
    outside = [link for link in links if link[0] != "#" and link != "data:,"]
    assert len(outside) == 6
    assert all(link.startswith("data:image/png;base64,") for link in outside)
    assert "This page shows pictures of patients. Do not pass it on" in page.text


def test_synthetic_pictures_are_those_of_no_patient(with_heat, read_page):
    folder = with_heat(n_shown=2)

    text = read_page((folder / "report.html").read_text("utf-8")).text

    assert "of each class those whose share of heat" in text
    assert "shows pictures of patients" not in text


def test_real_pictures_are_not_shown_of_themselves(with_heat, read_page):
    folder = with_heat(**REAL)
    page = read_page((folder / "report.html").read_text("utf-8"))

    assert page.tags["image"] == 0
    assert "The page shows no pictures" in page.text


def test_a_comparison_without_heat_maps_has_no_section(study_folder, read_page):
    html = write_report(study_folder).read_text("utf-8")

    assert "Where the models look" not in read_page(html).text


def test_the_chart_shows_the_shares_and_the_area_of_each_model():
    table = heat_table(shares()).query("seed == 'mean'")

    chart = share_figure(table)

    (axis,) = chart.figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["Federated (FedAvg)", "NA alone (tuned)"]
    drawn = sorted(x for line in axis.lines for x in line.get_xdata()[:1])
    expected = table[table["pathology"] == "all"]
    both = [*expected["in_mask"], *expected["area"]]
    assert drawn == pytest.approx(sorted(both))
    assert len(chart.numbers) == 4


def test_the_panel_has_a_row_a_picture_and_says_the_shares():
    chart = picture_figure(shown())

    assert len(chart.figure.axes) == 2 * 3
    texts = [axis.get_xlabel() for axis in chart.figure.axes]
    assert texts[1:3] == ["50% of heat inside", "no heat"]
    assert chart.numbers.columns.tolist() == [
        "picture", "pathology", "model", "in_mask", "area",
    ]  # fmt: skip
