"""The table of the heat maps: means over pictures, intervals over patients."""

import numpy as np
import pandas as pd
import pytest

from thyroid_fl.evaluation.heat_maps import HEAT_COLUMNS, heat_table
from thyroid_fl.statistics import clustered_mean

RUN = {"task": "classification", "arm": "pooled", "strategy": "", "budget": ""}
RUN |= {"trained_on": "all", "fold": 0, "test_set": "external"}


def pictures(seed=1, n=40):
    """Two pictures a patient, with heat a bit more in the nodule than evenly spread."""
    rng = np.random.default_rng(seed)
    area = rng.uniform(0.05, 0.3, n)
    numbers = np.arange(n)
    return pd.DataFrame(
        {
            **RUN,
            "seed": seed,
            "image_id": [f"i{k}" for k in numbers],
            "patient_id": [f"p{k // 2}" for k in numbers],
            "malignant": numbers // 2 % 2,
            "in_mask": (area + rng.normal(0.1, 0.05, n)).clip(0, 1),
            "area": area,
        }
    )


def test_a_run_has_the_clustered_mean_of_all_and_of_each_class():
    cases = pictures()

    found = heat_table(cases)

    assert found.columns.tolist() == HEAT_COLUMNS
    table = found.set_index("pathology")
    for pathology, chosen in (
        ("all", cases),
        ("malignant", cases[cases["malignant"] == 1]),
        ("benign", cases[cases["malignant"] == 0]),
    ):
        row = table.loc[pathology]
        inside = clustered_mean(chosen["in_mask"], chosen["patient_id"])
        excess = clustered_mean(
            chosen["in_mask"] - chosen["area"], chosen["patient_id"]
        )
        assert row["in_mask"] == pytest.approx(inside.value)
        assert (row["low"], row["high"]) == pytest.approx((inside.low, inside.high))
        assert row["area"] == pytest.approx(chosen["area"].mean())
        assert (row["excess_low"], row["excess_high"]) == pytest.approx(
            (excess.low, excess.high)
        )
        assert (row["n"], row["n_patients"]) == (len(chosen), len(chosen) / 2)
    assert (table["n_without_heat"] == 0).all()


def test_a_picture_without_heat_is_left_out_and_counted():
    cases = pictures()
    cases.loc[[0, 1, 5], "in_mask"] = np.nan

    row = heat_table(cases).query("pathology == 'all'").iloc[0]

    known = cases.dropna()
    assert row["in_mask"] == pytest.approx(known["in_mask"].mean())
    assert row["area"] == pytest.approx(known["area"].mean())
    assert (row["n"], row["n_patients"], row["n_without_heat"]) == (37, 19, 3)


def test_without_any_heat_the_share_is_undefined_with_its_n():
    row = heat_table(pictures().assign(in_mask=np.nan)).iloc[0]

    assert np.isnan(
        row[["in_mask", "low", "high", "area", "excess"]].astype(float)
    ).all()
    assert (row["n"], row["n_patients"], row["n_without_heat"]) == (0, 0, 40)


def test_several_seeds_have_a_mean_row_and_do_not_multiply_the_pictures():
    second = pictures(seed=2).assign(area=pictures()["area"])
    second.loc[3, "in_mask"] = np.nan
    both = pd.concat([pictures(), second], ignore_index=True)

    table = heat_table(both).query("pathology == 'all'").set_index("seed")

    assert table.index.tolist() == ["1", "2", "mean"]
    assert table.loc["mean", ["n", "n_without_heat"]].tolist() == [39, 1]
    kept = both[both["image_id"] != "i3"]
    assert table.loc["mean", "in_mask"] == pytest.approx(kept["in_mask"].mean())
    assert table.loc["mean", "method"].startswith("mean of 2 models")
