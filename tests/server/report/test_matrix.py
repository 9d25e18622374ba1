"""The page of a matrix: its sentences are what the cells say."""

import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.matrix import write_matrix_report
from thyroid_fl.server.report.matrix_findings import read_matrix


@pytest.fixture
def headlines(write_matrix):
    def said(folder, **changes):
        return " ".join(read_matrix(write_matrix(folder, **changes)).headlines)

    return said


def test_the_sentences_say_what_the_cells_hold(tmp_path, headlines):
    said = headlines(tmp_path / "run")

    assert "AUC 0.900 on new patients of its own vendor and 0.800 on the others" in said
    assert "own minus others +0.100 (from +0.100" in said
    assert (
        "beside models of one source, the mixed model has the best mean AUC: 0.890, "
        "against 0.833"
    ) in said
    assert "the mixed model has the best minimum AUC: 0.890, against 0.800" in said
    assert "within the 95% interval of mixed in 4 of 4 test sets." in said
    assert (
        "(diversity): +0.050 on average over 3 sources; the interval is above 0 for 3"
        in said
    )
    assert (
        "(size): +0.050 on average over 3 sources; the interval is above 0 for 0"
        in said
    )
    assert (
        "trained on all the others reaches 0.780, that vendor's own model 0.900" in said
    )
    assert "seed" not in said


def test_several_vendors_in_one_are_not_counted_as_a_vendor(tmp_path, write_matrix):
    folder = write_matrix(tmp_path / "run", **{"single NA NA": 0.6})
    cells = (folder / "matrix.csv").read_text("utf-8")
    (folder / "matrix.csv").write_text(cells.replace(",NA", ",Other"))

    said = read_matrix(folder).headlines[0]

    assert "means over 2: own minus others +0.100 (from +0.100" in said
    assert "; Other, which is several vendors and not counted here, has -0.200." in (
        said.replace("\u2212", "-")
    )


def test_where_mixed_does_not_win_is_said_with_the_difference(tmp_path, headlines):
    said = headlines(tmp_path / "run", **{"mixed  Philips": 0.7})

    assert "the mixed model does not have the best minimum AUC: 0.700" in said
    assert (
        "Mixed does not win Philips: the model trained on Philips has 0.900, mixed "
        "0.700; mixed minus it +0.050 (\u22120.100 to +0.090): no difference shown."
    ) in said
    assert "Mixed does not win GE <b>: the model trained on GE <b>" in said


def test_a_federated_model_outside_the_interval_is_named(tmp_path, headlines):
    said = headlines(tmp_path / "run", **{"federated  NA": 0.5})

    assert "in 3 of 4 test sets; outside: NA (0.500 against 0.890 (0.860 to" in said


def test_one_seed_shows_no_p_value(tmp_path, read_page, write_matrix):
    folders = write_matrix(tmp_path / "one", n_seeds=1), write_matrix(tmp_path / "3")
    one, three = (write_matrix_report(each).read_text("utf-8") for each in folders)

    assert "One training of each model" in one
    assert "P 0.040" not in read_page(one).text
    assert "P 0.040" in read_page(three).text


def test_the_page_is_whole_and_escapes_names(tmp_path, read_page, write_matrix):
    path = write_matrix_report(write_matrix(tmp_path / "run"))
    page = read_page(path.read_text("utf-8"))

    assert page.tags["svg"] == 1
    assert page.tags["b"] == 0
    assert page.text.count("GE <b> alone") >= 2  # in the figure and the table
    assert "mixed, as many as NA" in page.text
    assert page.text.count("90 (45 malignant), 180 pictures") == 3 * 3
    for name in ("matrix.svg", "matrix.png", "matrix.csv"):
        assert (tmp_path / "run/figures/classification" / name).stat().st_size > 0


def test_an_unfinished_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no finished matrix here"):
        read_matrix(tmp_path)
