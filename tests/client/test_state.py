"""What a hospital keeps between rounds: the last two and the best, and no others."""

import numpy as np
import pytest

from thyroid_fl.client.state import (
    layers_of,
    load_state,
    save_state,
    simulated_folder,
    study_folder,
)
from thyroid_fl.errors import ConfigError


def kept(folder):
    return [int(path.stem) for path in sorted(folder.iterdir())]


def state(value):
    return {"layer/bn.weight": np.full(3, value, "f4")}


@pytest.fixture
def played(tmp_path):
    """Return a folder after five rounds, the second of which is the best."""
    for number in range(1, 6):
        save_state(tmp_path, number, state(number), best_round=min(number - 1, 2))
    return tmp_path


def test_the_last_two_rounds_and_the_best_are_kept(played):
    assert kept(played) == [2, 4, 5]


def test_a_repeated_round_starts_from_the_round_before(played):
    before = load_state(played, 4)["layer/bn.weight"]

    save_state(played, 5, state(55), best_round=2)

    assert set(before) == {4}
    assert set(load_state(played, 5)["layer/bn.weight"]) == {55}
    assert kept(played) == [2, 4, 5]


def test_a_missed_round_has_the_state_of_an_earlier_one(played):
    assert set(load_state(played, 3)["layer/bn.weight"]) == {2}
    assert set(load_state(played, 9)["layer/bn.weight"]) == {5}
    assert load_state(played, 1) == {}
    assert load_state(played / "absent", 3) == {}


def test_rounds_that_the_centre_has_given_up_are_forgotten(played):
    save_state(played, 4, state(44), best_round=2)

    assert kept(played) == [2, 4]


def test_only_its_owner_may_look(tmp_path):
    save_state(tmp_path / "states/one", 1, state(1), best_round=0)

    assert (tmp_path / "states/one").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("study_id", ["", "..", "../../etc", "abc/def0123", "G" * 32])
def test_a_studys_name_leads_nowhere_else(tmp_path, study_id):
    with pytest.raises(ConfigError, match="hexadecimal"):
        study_folder(tmp_path, study_id)


@pytest.mark.parametrize("name", ["..", "/etc", "Klinik A/B", ""])
def test_a_simulated_hospitals_folder_lies_in_the_studys(tmp_path, name):
    folder = simulated_folder(tmp_path, name)

    assert folder.resolve().parent == tmp_path / "state"


def test_layers_are_told_from_the_rest():
    assert layers_of({"layer/a.b": np.ones(1), "cut-off/a.b": np.ones(2)}) == {
        "a.b": np.ones(1)
    }
