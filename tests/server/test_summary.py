"""The centre's question what data the hospitals have: replies, tables, figure."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from thyroid_fl.errors import ConfigError, RoundError
from thyroid_fl.server.app import app as server_app
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.report.charts import save_chart
from thyroid_fl.server.report.summary_figure import summary_figure
from thyroid_fl.server.report.summary_tables import (
    ages,
    counts,
    in_words,
    quartiles,
    table_1,
    table_2,
)
from thyroid_fl.server.summary import ask_hospitals, hospitals_table, summarise
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import InProcessGrid, run_in_process
from thyroid_fl.summary import (
    AGE_STRATA,
    N_AGE_CELLS,
    N_GREY_BINS,
    TABLES,
    WITHHELD,
    ages_key,
    counts_keys,
)

STUDY = make_study(wait_s=0.1)
TINY = {"min-cell": 5, "n-patients": WITHHELD}


def answer(n_patients=20, least=5, ages=None, **tables):
    """Return a valid answer, two pictures a patient; a table: patients by cell."""
    told = {"min-cell": least, "n-patients": n_patients, "n-images": 2 * n_patients}
    told["grey"] = [1.0] + [0.0] * (N_GREY_BINS - 1)
    for table, cells in TABLES.items():
        of_patients = tables.get(table, {cells[-1]: n_patients})
        numbers = [of_patients.get(cell, 0) for cell in cells]
        told |= dict(
            zip(
                counts_keys(table),
                (numbers, [n if n == WITHHELD else 2 * n for n in numbers]),
                strict=True,
            )
        )
    for stratum in AGE_STRATA:
        told[ages_key(stratum)] = [WITHHELD] * N_AGE_CELLS
    for stratum, numbers in (ages or {"all": {N_AGE_CELLS - 1: n_patients}}).items():
        cells = [numbers.get(cell, 0) for cell in range(N_AGE_CELLS)]
        told[ages_key(stratum)] = cells
    return told


def grid_of(*answers, study=STUDY):
    """Return hospitals that answer so; an exception is raised instead."""
    app = ClientApp()

    @app.query("summary")
    def tell(message, context):
        told = answers[context.node_config["number"]]
        if isinstance(told, Exception):
            raise told
        records = told if isinstance(told, RecordDict) else {"summary": record(told)}
        echo = {"request": message.content["request"]}
        return Message(RecordDict(dict(records) | echo), reply_to=message)

    def record(told):
        return told if isinstance(told, ArrayRecord) else MetricRecord(dict(told))

    grid = InProcessGrid(app, [{"number": i} for i in range(len(answers))])
    return Hospitals(grid=grid, study=study)


def told_by(*answers):
    summaries, failed = ask_hospitals(grid_of(*answers))
    assert failed == {}
    return summaries


def row(table, characteristic, cell):
    is_row = (table["characteristic"] == characteristic) & (table["cell"] == cell)
    (found,) = table[is_row].to_dict("records")
    return found


FAULTS = {
    "no such record": RecordDict({"m": MetricRecord({"min-cell": 5})}),
    "two records": RecordDict(
        {"summary": MetricRecord(answer()), "more": MetricRecord({})}
    ),
    "arrays": ArrayRecord(),
    "an entry too few": {k: v for k, v in answer().items() if k != "grey"},
    "an entry too many": answer() | {"names": [1]},
    "no minimum": {k: v for k, v in answer().items() if k != "min-cell"},
    "a minimum of 0": answer() | {"min-cell": 0},
    "a broken number of patients": answer() | {"n-patients": 20.5},
    "fewer patients than the minimum": answer() | {"n-patients": 4},
    "too many patients": answer() | {"n-patients": 10**12},
    "fewer images than patients": answer() | {"n-images": 19},
    "a list too short": answer() | {"class-patients": [10, 10]},
    "a number for a list": answer() | {"class-patients": 20},
    "a count below the minimum": answer() | {"class-patients": [17, 3, 0]},
    "a negative count": answer() | {"class-patients": [22, -2, 0]},
    "counts that are too many": answer() | {"class-patients": [15, 15, 0]},
    "counts that are too few": answer() | {"class-patients": [5, 5, 0]},
    "counts that are no whole numbers": answer() | {"class-patients": [9.5, 10.5, 0.0]},
    "images of a withheld cell": answer() | {"class-patients": [-1, -1, -1]},
    "too many images": answer() | {"class-images": [41, 0, 0]},
    "ages of too few": answer() | {"ages-all": [10] + [0] * (N_AGE_CELLS - 1)},
    "ages told twice": answer() | {"ages-F": [20] + [0] * (N_AGE_CELLS - 1)},
    "ages without a first": answer() | {"ages-all": [-1, 20] + [-1] * 23},
    "grey levels not finite": answer() | {"grey": [float("nan")] + [0.0] * 31},
    "grey levels that do not sum to 1": answer() | {"grey": [0.5] + [0.0] * 31},
    "grey levels below 0": answer() | {"grey": [1.5, -0.5] + [0.0] * 30},
    "more than the number of a tiny hospital": TINY | {"n-images": 9},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_odd_reply_costs_only_itself(fault):
    grid = grid_of(answer(), FAULTS[fault], RuntimeError("no space left"), TINY)

    summaries, failed = ask_hospitals(grid)

    assert [summary.n_patients for summary in summaries] == [20, WITHHELD]
    assert failed.keys() == {1002, 1003}
    assert "TypeError" not in failed[1002]
    assert "no space left" in failed[1003]


def test_the_helper_makes_valid_answers():
    assert len(told_by(answer(), answer(7, sex={"F": 7}), TINY)) == 3


def test_too_few_answers_end_with_an_error_that_names_them():
    study = make_study(wait_s=0.1, min_hospitals=2)

    with pytest.raises(RoundError, match=r"1 hospitals told .* min_hospitals is 2"):
        ask_hospitals(grid_of(answer(), ValueError("odd"), study=study))


def test_sums_and_limits_by_hand():
    summaries = told_by(
        answer(20, **{"class": {"benign": 12, "malignant": 8}}),
        answer(30, **{"class": {"benign": 20, "malignant": -1, "unknown": -1}}),
        answer(9, **{"class": {"malignant": 9}}),
        TINY,
    )

    table = counts(summaries, "class")

    assert table["patients_at_least"].tolist() == [32, 17, 0]
    assert table["patients_at_most"].tolist() == [32 + 4, 17 + 10 + 4, 0 + 10 + 4]
    assert table["images_at_least"].tolist() == [64, 34, 0]
    assert table["n_told"].tolist() == [3, 2, 2]
    assert table["n_withheld"].tolist() == [1, 2, 2]
    # Of the 29 patients in the two hospitals that told the whole table.
    np.testing.assert_allclose(table["percent"], [1200 / 29, 1700 / 29, 0])


def test_everyone_is_the_first_row_of_table_1():
    table = table_1(told_by(answer(20), answer(7), TINY))

    everyone = row(table, "patients", "all")
    assert everyone["patients_at_least"] == 27
    assert everyone["patients_at_most"] == 31
    assert (everyone["n_told"], everyone["n_withheld"]) == (2, 1)


def test_table_2_has_the_largest_vendor_first_and_the_nameless_last():
    table = table_2(
        told_by(
            answer(30, vendor={"Philips": 10, "Esaote": 20}),
            answer(50, vendor={"other": 50}),
        )
    )

    assert table["cell"].tolist() == ["Esaote", "Philips", "other", "unknown"]
    assert table["patients_at_least"].tolist() == [20, 10, 50, 0]
    assert table["percent"].tolist() == [25, 12.5, 62.5, 0]


def test_ages_that_all_tell_apart_are_summed_exactly():
    summaries = told_by(
        answer(20, ages={"F": {8: 12}, "M": {9: 6}, "unknown": {24: 2}}, least=1),
        answer(10, ages={"all": {8: 4, 10: 6}}, least=1),
    )

    everyone = ages(summaries, "all").patients

    assert everyone[[8, 9, 10, 24]].tolist() == [16, 6, 6, 2]
    assert everyone.sum() == 30
    assert ages(summaries, "F").patients.sum() == 12


def test_joined_ages_are_divided_as_the_federation_has_them():
    """12 and 18 in two bins, 10 more in either: 40 % and 60 % of these."""
    joined = answer(10)
    joined["ages-all"] = [0, *[-1] * 7, 10, -1, 0, *[-1] * 13, 0]
    summaries = told_by(answer(30, ages={"all": {8: 12, 9: 18}}), joined)

    found = ages(summaries, "all")

    assert found.patients[8:10] == pytest.approx([16, 24], abs=0.01)
    assert found.is_apart[9]


def test_quartiles_are_near_those_of_the_patients():
    years = np.random.default_rng(1).normal(46, 13, 4000).round().clip(18, 85)
    binned = np.bincount((years // 5).astype(int), minlength=N_AGE_CELLS).tolist()
    summaries = told_by(answer(4000, ages={"all": dict(enumerate(binned))}, least=1))

    found = quartiles(ages(summaries, "all"))

    np.testing.assert_allclose(found, np.quantile(years, [0.25, 0.5, 0.75]), atol=0.7)


def test_quartiles_are_undefined_where_nobody_told_ages_apart():
    everything = answer(30)
    everything["ages-all"] = [30, *[-1] * 24]
    unknown = answer(30)
    wide = answer(30)
    wide["ages-all"] = [10, *[-1] * 7, 10, 10, *[-1] * 14, 0]  # 0-39, 40-44, 45-119

    assert np.isnan(quartiles(ages(told_by(everything), "all"))).all()
    assert np.isnan(quartiles(ages(told_by(unknown), "all"))).all()
    assert np.isnan(quartiles(ages([], "all"))).all()
    first, median, third = quartiles(ages(told_by(wide), "all"))
    assert np.isnan([first, third]).all()
    assert median == pytest.approx(42, abs=0.1)


def test_tables_in_words_say_what_is_a_lower_limit():
    withheld = answer(30, sex={"F": 20, "M": -1, "unknown": -1})
    text = in_words(table_1(told_by(withheld, answer(20, sex={"F": 14, "M": 6}))))

    (female,) = text[text[""] == "sex: F"].to_dict("records")
    (male,) = text[text[""] == "sex: M"].to_dict("records")
    assert female["Patients (%)"] == "34 (70.0)"
    assert male["Patients (%)"] == "\u2265 6 (30.0)"
    assert (female["Withheld by"], male["Withheld by"]) == ("", "1 of 2")


def test_hospitals_are_listed_with_their_answer():
    grid = grid_of(
        answer(20, sex={"F": -1, "M": -1, "unknown": -1}), ValueError(), TINY
    )
    summaries, failed = ask_hospitals(grid)

    table = hospitals_table(summaries, failed)

    assert table["node"].tolist() == [1001, 1002, 1003]
    answers = table["answer"]
    assert answers[0] == "told"
    assert "ValueError" in answers[1]
    assert answers[2] == "fewer than 5 patients"
    assert table["n_patients"].isna().tolist() == [False, True, True]
    assert table["sex: F"].isna().all()
    assert table["class: unknown"].tolist()[0] == 20


def test_the_figure_shows_the_numbers_of_the_tables():
    summaries = told_by(
        answer(20, **{"class": {"benign": 12, "malignant": 8}}),
        answer(30, **{"class": {"benign": 20, "malignant": -1, "unknown": -1}}),
        TINY,
    )

    numbers = summary_figure(summaries).numbers.set_index(["panel", "label"])["value"]

    assert numbers["class", "malignant"].tolist() == [0, 8]
    assert numbers["class", "benign"].tolist() == [20, 12]
    assert numbers["class", "not told or unknown"].tolist() == [10, 0]
    assert numbers["vendor", "patients_at_most"].tolist() == [4, 54]
    assert numbers["grey"].groupby("label").sum().tolist() == [200]


def test_flowers_long_node_numbers_stay_exact(tmp_path):
    node = 2**64 - 3
    summaries = [dataclasses.replace(one, node=node) for one in told_by(answer())]

    save_chart(summary_figure(summaries), tmp_path)
    hospitals = hospitals_table(summaries, {node + 1: "no reply within 9 s"})

    drawn = pd.read_csv(tmp_path / "summary.csv", dtype={"node": "str"})
    assert set(drawn["node"].dropna()) == {str(node)}
    assert hospitals["node"].tolist() == [node, node + 1]


def test_hospitals_that_tell_nothing_still_give_files(tmp_path):
    summarise(grid_of(TINY, TINY), tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == {
        "table_1.csv", "table_2.csv", "hospitals.csv",
        "summary.svg", "summary.png", "summary.csv",
    }  # fmt: skip
    table = pd.read_csv(tmp_path / "table_1.csv")
    assert row(table, "patients", "all")["patients_at_most"] == 8
    assert table["percent"].isna().all()


def test_the_server_app_asks_instead_of_training(tmp_path):
    app = ClientApp()

    @app.query("summary")
    def tell(message, context):
        echo = message.content["request"]
        records = RecordDict({"summary": MetricRecord(answer()), "request": echo})
        return Message(records, reply_to=message)

    run_config = {"study": STUDY.to_json(), "out": str(tmp_path), "ask": "summary"}
    run_in_process(server_app, app, [{}, {}], run_config)

    assert len(pd.read_csv(tmp_path / "hospitals.csv")) == 2
    assert not (tmp_path / "model.safetensors").exists()


def test_another_question_is_refused(tmp_path):
    run_config = {"study": STUDY.to_json(), "out": str(tmp_path), "ask": "names"}

    with pytest.raises(ConfigError, match="ask is 'names'; expected training or"):
        run_in_process(server_app, ClientApp(), [{}], run_config)
