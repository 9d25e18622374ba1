"""Xu et al. 2023: what follows from its own counts, and what does not.

docs/paper.md tells the same in words; every number there is computed here.
"""

import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri
from scipy.stats import chi2_contingency

from thyroid_fl.statistics import auc, proportion

PAPER = Path(__file__).parents[2] / "../shared/paper"
needs_tables = pytest.mark.skipif(
    not PAPER.is_dir(), reason=f"no {PAPER}: the paper's tables are not here"
)


def published(name: str) -> pd.DataFrame:
    """A table of "0.75 (0.73, 0.78)" cells as value, low and high, by column."""
    table = pd.read_csv(PAPER / name, header=1, index_col=0)
    numbers = {
        column: [[float(x) for x in re.findall(r"\d\.\d+", cell)] for cell in cells]
        for column, cells in table.items()
    }
    return pd.DataFrame(numbers, index=table.index)


def table_1() -> pd.DataFrame:
    """The counts of Table 1, without percentages, by row and column."""
    table = pd.read_csv(PAPER / "table1_baseline.csv", skiprows=2, header=None)
    table.columns = [
        "row", "total", "seg train", "seg val", "seg test", "cls train", "cls val",
        "cls test",
    ]  # fmt: skip
    counts = table[~table["row"].str.contains("Age|Overall")].set_index("row")
    counts = counts.replace(r"\(.*\)", "", regex=True).replace(r"\s", "", regex=True)
    return counts.astype(int)


def hanley_mcneil(area: float, m: float, n: float) -> float:
    """The standard error of an AUC from its value alone (Radiology 1982;143:29)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)
    return math.sqrt(spread / (m * n))


def could_round_to(area: float, low: float, high: float, m: int, n: int) -> bool:
    """Whether an AUC that rounds to `area` has an interval that rounds to the other."""
    for exact in np.arange(area - 0.005, area + 0.005, 0.0001):
        half = 1.959964 * hanley_mcneil(exact, m, n)
        if (round(exact - half, 2), round(exact + half, 2)) == (low, high):
            return True
    return False


def test_the_splits_add_up() -> None:
    assert 5478 == 3857 + 1076 + 545
    assert 10023 == 7016 + 1987 + 1020
    assert 24944 == 18477 + 4563 + 1904
    assert 10512 == 7390 + 2065 + 1057
    assert 490 + 530 == 1020


@needs_tables
def test_table_1_adds_up() -> None:
    counts = table_1()
    rows = counts.index.tolist()
    patients = counts[~counts.index.str.contains("images")]
    images = counts[counts.index.str.contains("images")]

    assert rows[0::2] == patients.index.tolist()
    sizes = [10023, 3857, 1076, 545, 7016, 1987, 1020]
    assert patients.iloc[:2].sum().tolist() == sizes  # malignant and benign
    assert patients.iloc[2:].sum().tolist() == sizes  # men and women
    assert images.iloc[:2].sum().tolist() == images.iloc[2:].sum().tolist()
    splits = counts[["cls train", "cls val", "cls test"]].sum(axis=1)
    assert splits.tolist() == counts["total"].tolist()


@needs_tables
def test_table_2_adds_up_to_its_percentages() -> None:
    table = pd.read_csv(PAPER / "table2_vendors.csv", index_col=0)

    for column, total in zip(table, (10023, 24944), strict=True):
        cells = table[column].str.extract(r"(\d+) \(([\d.]+)\)").astype(float)
        assert cells[0].sum() == total
        assert (100 * cells[0] / total).round(2).tolist() == cells[1].tolist()


def test_two_percentages_are_wrong() -> None:
    # Table 1: 473 (44.08) benign validation patients beside 603 (56.04).
    assert round(100 * 473 / 1076, 2) == 43.96
    assert round(100 * 603 / 1076, 2) == 56.04
    # The text: GE Healthcare (1344 of 10023 patients, 14%).
    assert round(100 * 1344 / 10023) == 13


@pytest.mark.parametrize(
    ("found", "n", "value", "interval"),
    [
        (1025, 1057, 0.97, (0.95, 0.99)),  # nodules detected
        (1088, 1237, 0.88, (0.81, 0.91)),  # sensitivity by image
        (588, 639, 0.92, (0.84, 0.96)),  # sensitivity by patient
    ],
)
def test_the_sensitivities_are_reproducible_and_their_intervals_are_not(
    found: int, n: int, value: float, interval: tuple[float, float]
) -> None:
    wilson = proportion(found, n)

    assert round(wilson.value, 2) == value
    for method in ("wilson", "clopper_pearson", "wald", "agresti_coull", "jeffreys"):
        binomial = proportion(found, n, method=method)  # type: ignore[arg-type]
        assert (round(binomial.low, 2), round(binomial.high, 2)) != interval
    # They are wider than any of these, two of them more than twice.
    widths = (interval[1] - interval[0]) / (wilson.high - wilson.low)
    assert widths > (1.8 if n == 1057 else 2.5)


@pytest.mark.parametrize(
    ("area", "interval", "m", "n"),
    [
        (0.87, (0.86, 0.89), 1237, 667),  # all pictures, as if independent
        (0.90, (0.88, 0.92), 639, 381),  # patients
        (0.85, (0.83, 0.87), 1237, 667),  # reader 6 by image
        (0.90, (0.88, 0.93), 332, 198),  # from 45 years, at the cohort's prevalence
    ],
)
def test_the_aucs_intervals_are_delongs_of_independent_pictures(
    area: float, interval: tuple[float, float], m: int, n: int
) -> None:
    # Scores at normal quantiles have very nearly the binormal AUC.
    malignant = ndtri((np.arange(m) + 0.5) / m) + math.sqrt(2) * ndtri(area)
    benign = ndtri((np.arange(n) + 0.5) / n)
    found = auc(np.repeat([1, 0], [m, n]), np.concatenate([malignant, benign]))

    assert could_round_to(area, *interval, m, n)
    assert found.value == pytest.approx(area, abs=1e-3)
    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * hanley_mcneil(area, m, n), rel=0.07)
    assert half == pytest.approx((interval[1] - interval[0]) / 2, abs=0.005)


def test_the_interval_of_the_younger_is_not_reproducible() -> None:
    # .90 (.87, .94) of 490 patients needs fewer of one class than the cohort has.
    assert not could_round_to(0.90, 0.87, 0.94, 307, 183)


def test_the_test_patients_are_no_random_part() -> None:
    def p_value(table: list[list[int]]) -> float:
        return float(chi2_contingency(table, correction=False).pvalue)

    per_patient = [18477 / 7016, 4563 / 1987, 1904 / 1020]
    men = [[1609, 7016 - 1609], [467, 1987 - 467], [278, 1020 - 278]]
    malignant = [[4332, 2684], [1217, 770], [639, 381]]

    assert np.round(per_patient, 2).tolist() == [2.63, 2.30, 1.87]
    assert round(p_value(men), 3) == 0.010
    assert round(p_value([men[0], men[2]]), 3) == 0.002
    assert round(p_value(malignant), 2) == 0.76
    shares = [round(100 * found / (found + others), 1) for found, others in men]
    assert shares == [22.9, 23.5, 27.3]
    # The annotated patients are less often malignant than the others.
    assert p_value([[3152, 2326], [3036, 1509]]) < 1e-20
    assert round(100 * 3152 / 5478, 1) == 57.5
    assert round(100 * 3036 / 4545, 1) == 66.8
    # Among these the split is compatible with chance.
    assert p_value([[2228, 1629], [603, 473], [321, 224]]) > 0.4
    assert p_value([[893, 2964], [283, 793], [119, 426]]) > 0.05


def test_the_ratio_is_7_2_1_of_patients_and_not_of_pictures() -> None:
    of_patients = np.array([7016, 1987, 1020]) / 10023
    of_pictures = np.array([18477, 4563, 1904]) / 24944

    assert (100 * of_patients).round(1).tolist() == [70.0, 19.8, 10.2]
    of_annotated = np.array([3857, 1076, 545]) / 5478
    assert (100 * of_annotated).round(1).tolist() == [70.4, 19.6, 9.9]
    assert round(1020 - 0.1 * 10023) == 18
    assert (100 * of_pictures).round(1).tolist() == [74.1, 18.3, 7.6]
    assert round(667 / 381, 2) == 1.75  # "typically at least" two pictures


def test_vendors_of_883_patients_belong_to_no_test_set() -> None:
    assert 492 + 145 + 132 + 114 == 883  # Toshiba, Samsung, Supersonic, Hitachi
    assert 10023 - 2592 - 2517 - 1945 - 1344 - 541 - 883 == 201  # the three "Other"


@needs_tables
def test_the_mixed_vendor_model_is_worse_on_all_vendors_than_on_each() -> None:
    table = published("table4_auc_by_vendor.csv")

    values = {column: table.loc["Mixed", column][0] for column in table}
    assert values.pop("Mixed") == 0.85
    assert min(values.values()) == 0.88
    # And not the best on every column, as the discussion has it.
    assert table.loc["Philips", "Siemens"][0] > values["Siemens"]


@needs_tables
def test_the_widths_of_table_3_depend_on_the_column_alone() -> None:
    table = published("table3_dice_by_vendor.csv")

    halves, spread = {}, []
    for column in table:
        cells = np.array(table[column].tolist())
        half = (cells[:, 2] - cells[:, 1]) / 2
        assert half.std() < 0.003  # a rounded cell alone varies by that much
        assert np.ptp(cells[:, 0]) >= 0.07  # while Dice differs
        spread.append(np.ptp(cells[:, 0]))
        halves[column] = round(float(half.mean()), 3)
    assert halves == {
        "GE": 0.024, "Philips": 0.04, "Esaote": 0.038, "Mindray": 0.029,
        "Siemens": 0.056, "Other": 0.04, "Mixed": 0.015,
    }  # fmt: skip
    assert max(spread) == pytest.approx(0.21)
    # .015 at 1057 pictures is a standard deviation of .25; .86 (.86, .87) is .17.
    assert 0.015 * math.sqrt(1057) / 1.96 == pytest.approx(0.25, abs=0.005)
    assert 0.01 * math.sqrt(1057) / 1.96 == pytest.approx(0.166, abs=0.001)


@needs_tables
def test_the_test_sets_of_tables_4_and_5_are_smaller_than_the_test_set() -> None:
    sizes = {}
    for name in ("table4_auc_by_vendor.csv", "table5_auc_by_region.csv"):
        table = published(name)
        for column in table:
            cells = np.array(table[column].tolist())
            sizes[column] = _implied_size(cells[cells[:, 2] < 0.995])

    assert {name: round(size) for name, size in sizes.items()} == {
        "GE": 177, "Philips": 433, "Esaote": 272, "Mindray": 445, "Siemens": 41,
        "Other": 191, "Mixed": 1301, "East Coast": 725, "Inland": 660,
        "Nationwide": 1442,
    }  # fmt: skip
    assert max(sizes.values()) < 1904


def _implied_size(cells: np.ndarray) -> float:
    """How many pictures, 65 % malignant, make the column's intervals as wide."""
    halves = (cells[:, 2] - cells[:, 1]) / 2

    def misfit(log_size: float) -> float:
        m, n = 0.65 * math.exp(log_size), 0.35 * math.exp(log_size)
        errors = [1.96 * hanley_mcneil(area, m, n) for area in cells[:, 0]] - halves
        return float(errors @ errors)

    return math.exp(minimize_scalar(misfit, bounds=(2, 9), method="bounded").x)


def test_f1_and_recall_imply_the_false_positives() -> None:
    recall = 1025 / 1057
    implied = {}
    for f1 in (0.955, 0.96, 0.965):
        precision = f1 * recall / (2 * recall - f1)
        implied[f1] = (round(precision, 3), round(1025 / precision - 1025))

    assert implied == {0.955: (0.941, 65), 0.96: (0.95, 53), 0.965: (0.96, 42)}


def test_p_925_of_the_ages_needs_two_equal_aucs() -> None:
    spread = math.hypot(hanley_mcneil(0.9, 307, 183), hanley_mcneil(0.9, 332, 198))

    difference = -ndtri(0.925 / 2) * spread

    assert 2 * ndtr(-difference / spread) == pytest.approx(0.925)
    assert difference == pytest.approx(0.0018, abs=1e-4)


def test_the_median_age_needs_these_many_young() -> None:
    # The median 46 of 10 023 needs 5012 patients up to 46. Training (7016, median 47)
    # has at most 3508 of them and validation (1987, median 48) at most 993.
    assert (10023 + 1) // 2 - 7016 // 2 - 1987 // 2 == 511
    # Their median 45 lies between the 510th and the 511th; 490 are younger.
    assert 511 - 490 == 21
