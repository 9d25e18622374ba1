"""Who took part is written round by round, and told only in counts."""

import pandas as pd
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from thyroid_fl.server.participation import FILE, add_round
from thyroid_fl.strategies.replies import Tally


def told(**counts):
    records = {"metrics": MetricRecord({"num-examples": 1.0})}
    names = {f"n-{name}": n for name, n in counts.items()}
    return RecordDict(records | {"counts": ConfigRecord(names)})


def test_a_row_a_node_and_round_with_its_counts_and_outcome(tmp_path):
    tally = Tally(
        used=[2],
        told={
            2: told(registered=9, readable=8, usable=7, used=5),
            1: told(registered=3, readable=3, usable=0, used=0),
        },
        empty=[1],
    )

    add_round(tmp_path, 1, tally, {5: "too late"}, {2: "Hospital B"})

    table = pd.read_csv(tmp_path / FILE)
    assert table["node"].tolist() == [1, 2, 5]
    assert table["outcome"].tolist() == ["no training cases", "used", "failed"]
    assert table.loc[1].tolist()[5:] == [9, 8, 7, 5]
    assert table["hospital"].fillna("").tolist() == ["", "Hospital B", ""]
    assert table["reason"].fillna("").tolist() == ["", "", "too late"]
    assert table.loc[2, "n_registered":].isna().all()


def test_a_round_that_is_played_again_replaces_what_came_of_it_before(tmp_path):
    for server_round in (1, 2, 3, 2):
        add_round(
            tmp_path, server_round, Tally(used=[1], told={1: told(used=4)}), {}, {}
        )

    assert pd.read_csv(tmp_path / FILE)["round"].tolist() == [1, 2]


def test_a_hospital_called_na_keeps_its_name(tmp_path):
    for server_round in (1, 2):
        tally = Tally(used=[1], told={1: told(used=4)})
        add_round(tmp_path, server_round, tally, {}, {1: "NA"})

    table = pd.read_csv(tmp_path / FILE, keep_default_na=False)
    assert table["hospital"].tolist() == ["NA", "NA"]


def test_what_is_no_count_is_not_kept(tmp_path):
    odd = told(registered=-1, readable="/home/x", usable=2.5, used=10**12)

    add_round(tmp_path, 1, Tally(used=[1, 2], told={1: odd, 2: RecordDict()}), {}, {})

    table = pd.read_csv(tmp_path / FILE)
    assert table.loc[:, "n_registered":].isna().all(axis=None)
    assert "home" not in (tmp_path / FILE).read_text()
