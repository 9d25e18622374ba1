"""The sentences say what the intervals show, and no more."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from thyroid_fl.errors import ConfigError
from thyroid_fl.server.report.conclusions import headlines
from thyroid_fl.server.report.findings import (
    main_rows,
    measures,
    read_run,
    summary_rows,
    summary_table,
)
from thyroid_fl.server.report.words import (
    interval,
    split_words,
    verdict,
)

NAN = float("nan")


def comparison(name: str, difference: float, **columns: object) -> dict[str, object]:
    return {
        "task": "classification", "metric": "auc",
        "comparison": f"federated - {name}", "strategy": "fedavg", "trained_on": "all",
        "test_set": "external", "hospital": "all", "unit": "patient",
        "difference": difference, "low": difference - 0.03, "high": difference + 0.03,
        "p_value": 0.5, "n": 100, "n_positive": 60, "fold": "0", "seed": "1",
    } | columns  # fmt: skip


def said(*rows: dict[str, object]) -> str:
    return "\n".join(headlines(pd.DataFrame(rows)))


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.07, "federated better"),
        (-0.07, -0.01, "federated worse"),
        (-0.01, 0.07, "no difference shown"),
        (0.0, 0.07, "no difference shown"),
        (NAN, NAN, "cannot be computed"),
    ],
)
def test_only_an_interval_on_one_side_of_zero_shows_a_difference(low, high, words):
    assert verdict(low, high) == words


def test_a_sentence_names_test_set_opponent_difference_and_interval():
    text = said(comparison("single (tuned)", 0.04, trained_on="H007"))

    assert text == (
        "On hospitals that took no part in training (external), federated minus the "
        "best single hospital (H007, tuned): AUC +0.040 (95% CI +0.010 to +0.070): "
        "federated better."
    )


def test_the_hardest_tuned_hospital_counts_not_the_easiest_nor_a_matched_one():
    text = said(
        comparison("single (tuned)", 0.20, trained_on="H001"),
        comparison("single (tuned)", 0.02, trained_on="H002"),
        comparison("single (matched)", -0.10, trained_on="H003"),
    )

    assert "H002, tuned" in text
    assert "no difference shown" in text
    assert "H001" not in text
    assert "H003" not in text


def test_a_matched_hospital_carries_no_claim_of_superiority():
    text = said(comparison("single (matched)", 0.20, trained_on="H001"))

    assert "no claim of superiority" in text


def test_without_external_hospitals_it_is_said_first():
    text = said(comparison("pooled", -0.01, test_set="internal"))

    assert text.startswith("No hospital was kept out of training")
    assert "internal" in text.splitlines()[1]


def test_an_undefined_difference_is_said_to_be_so():
    text = said(comparison("pooled", NAN))

    assert "AUC \u2013: cannot be computed" in text


def test_image_level_and_single_hospital_rows_make_no_headline():
    rows = [
        comparison("pooled", 0.3, unit="image"),
        comparison("pooled", 0.3, hospital="H001"),
        comparison("pooled", 0.001),
    ]

    assert said(*rows).count("AUC") == 1
    assert "+0.001" in said(*rows)


def test_means_over_seeds_take_the_place_of_the_single_runs():
    rows = pd.DataFrame(
        [
            comparison("pooled", 0.1, seed="1"),
            comparison("pooled", 0.3, seed="2"),
            comparison("pooled", 0.2, seed="mean", fold="mean"),
            comparison("single (tuned)", 0.5, seed="1"),
        ]
    )

    assert sorted(summary_rows(rows)["difference"]) == [0.2, 0.5]


def test_a_measure_without_a_mean_row_is_averaged_and_an_undefined_run_not_hidden():
    run = {
        "task": "classification",
        "arm": "pooled", "strategy": "", "budget": "", "trained_on": "all",
        "hospital": "all", "test_set": "internal", "unit": "patient", "fold": "0",
        "metric": "sensitivity", "low": 0.5, "high": 0.9,
    }  # fmt: skip
    rows = [run | {"seed": "1", "value": 0.6}, run | {"seed": "2", "value": 0.8}]
    undefined = run | {"seed": "2", "value": NAN}

    assert measures(pd.DataFrame(rows))["value"].item() == pytest.approx(0.7)
    assert measures(pd.DataFrame([rows[0], undefined]))["value"].isna().all()


def test_numbers_are_read_with_their_interval():
    assert interval(0.8614, 0.8, 0.92) == "0.861 (0.800 to 0.920)"
    assert (
        interval(-0.01, -0.02, 0.0, sign=True) == "\u22120.010 (\u22120.020 to +0.000)"
    )
    assert interval(0.5, NAN, NAN) == "0.500"
    assert interval(NAN, NAN, NAN) == "\u2013"


def test_the_table_has_a_row_per_model_best_first_with_the_numbers_of_the_results(
    study_folder: Path,
):
    run = read_run(study_folder)
    aucs = main_rows(run.results).query("metric == 'auc' and test_set == 'external'")

    table = summary_table(run.results, run.comparisons)

    assert list(table.columns) == [
        "Model",
        "Internal AUC (95% CI)",
        "Internal patients (malignant)",
        "External AUC (95% CI)",
        "External patients (malignant)",
        "Federated minus it (external)",
    ]
    assert list(table["Model"][:3]) == [
        "Federated (FedAvg)", "Pooled", "H000 alone (tuned)",
    ]  # fmt: skip
    assert len(table) == 6
    pooled = aucs.query("arm == 'pooled'").iloc[0]
    assert table["External AUC (95% CI)"][1] == interval(
        pooled["value"], pooled["low"], pooled["high"]
    )
    assert table["External patients (malignant)"][1] == (
        f"{pooled['n']} ({pooled['n_positive']:.0f})"
    )
    matched = table["Model"].str.endswith("(matched)")
    assert list(matched) == sorted(matched)
    values = table["External AUC (95% CI)"][matched].tolist()
    assert values == sorted(values, reverse=True)


def test_tables_keep_hospitals_called_007_and_na(write_study: Callable[..., Path]):
    folder = write_study("names", seeds=1)
    table = pd.read_csv(folder / "results.csv", keep_default_na=False)
    table["hospital"] = table["hospital"].replace({"H001": "007", "H002": "NA"})
    table.to_csv(folder / "results.csv", index=False)

    hospitals = set(read_run(folder).results["hospital"])

    assert {"007", "NA", "all"} <= hospitals


def test_a_folder_without_a_finished_comparison_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"study\.json is missing"):
        read_run(tmp_path)


def test_a_random_split_is_never_called_external_validation():
    assert "known hospitals only" in split_words("patient")
    assert "external" not in split_words("patient")
    assert "external validation" in split_words("hospital")
    assert "GE" in split_words("vendor:GE")
    assert "inland" in split_words("region:inland")
    assert split_words("manifest")
