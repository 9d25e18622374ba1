"""What hospitals keep between rounds: FedBN's layers, what rounding cut off."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message

from thyroid_fl.client.app import app as client_app
from thyroid_fl.client.site import open_archive
from thyroid_fl.client.state import (
    layers_of,
    load_state,
    simulated_folder,
    study_folder,
)
from thyroid_fl.errors import ConfigError
from thyroid_fl.evaluation import comparisons_table, results_table
from thyroid_fl.server.app import app as server_app
from thyroid_fl.server.checkpoint import load_progress
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import Training, predictions, train
from thyroid_fl.simulation.grid import run_in_process
from thyroid_fl.tasks import build_model, local_names
from thyroid_fl.weights import arrays_of, read_weights

HOSPITALS = ("H0", "H1", "H2")


@pytest.fixture
def study(small_manifest):
    return make_study(
        data=str(small_manifest), split="patient", image_px=64, threads=1, rounds=3,
        local_epochs=1, norm="batch", strategy="fedbn",
    )  # fmt: skip


@pytest.fixture
def study_by_hospital(study):
    return dataclasses.replace(study, split="hospital")


def training(study, hospitals=HOSPITALS):
    return Training(
        arm="federated", budget="", trained_on="all", hospitals=hospitals, study=study
    )


def model(folder):
    state = read_weights(folder / "model.safetensors")
    return {name: tensor.numpy() for name, tensor in state.items()}


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def own_layers(folder, study, hospital):
    progress = load_progress(folder, study)
    states = study_folder(simulated_folder(folder, hospital), progress.study_id)
    return layers_of(load_state(states, progress.best_round))


@pytest.mark.parametrize("norm", ["group", "weight"])
def test_fedbn_needs_batch_norm(study, norm):
    with pytest.raises(ConfigError, match=r"fedbn.* set norm = 'batch'"):
        dataclasses.replace(study, norm=norm)


def test_no_layer_of_batch_norm_reaches_the_centre(study, tmp_path):
    initial = arrays_of(build_model(study))
    local = set(local_names(build_model(study), study))

    train(training(study), tmp_path, lambda reply: None)

    trained = model(tmp_path)
    assert any(name.endswith("running_var") for name in local)
    assert {n for n in trained if np.array_equal(trained[n], initial[n])} == local
    layers = [own_layers(tmp_path, study, name) for name in HOSPITALS]
    assert all(own.keys() == local for own in layers)
    assert not same(layers[0], layers[1])


def test_one_hospital_with_fedbn_has_the_model_of_fedavg(study, tmp_path):
    averaged = dataclasses.replace(study, strategy="fedavg", select_by="last")
    kept = dataclasses.replace(study, select_by="last")

    train(training(averaged, ("H1",)), tmp_path / "averaged", lambda reply: None)
    train(training(kept, ("H1",)), tmp_path / "kept", lambda reply: None)

    own = own_layers(tmp_path / "kept", kept, "H1")
    assert same(model(tmp_path / "kept") | own, model(tmp_path / "averaged"))


class Stop(Exception):
    """The ServerApp dies."""


@pytest.mark.parametrize(
    "change", [{}, {"strategy": "fedavg", "download": "bf16", "upload": "int8"}]
)
def test_a_round_that_is_repeated_gives_the_same_model(study, tmp_path, change):
    study = dataclasses.replace(study, **change)
    n_replies = 0

    def stop_in_the_second_round(reply: Message) -> None:
        nonlocal n_replies
        n_replies += 1
        if n_replies == 3 + 6 + 3 + 1:  # all have trained, and kept what they keep
            raise Stop

    train(training(study), tmp_path / "whole", lambda reply: None)
    with pytest.raises(Stop):
        train(training(study), tmp_path / "stopped", stop_in_the_second_round)
    assert load_progress(tmp_path / "stopped", study).last_round == 1
    train(training(study), tmp_path / "stopped", lambda reply: None)

    assert same(model(tmp_path / "stopped"), model(tmp_path / "whole"))


def test_a_new_hospital_has_no_model_and_its_rows_are_nan(study_by_hospital, tmp_path):
    study = study_by_hospital
    archive = open_archive(study, study.data)
    trainers = sorted(
        archive.table.loc[archive.table["split"] == "train", "hospital"].unique()
    )
    federated = training(study, tuple(trainers))
    averaged = training(dataclasses.replace(study, strategy="fedavg"), tuple(trainers))
    tables = []
    for number, one in enumerate((averaged, federated)):
        train(one, tmp_path / str(number), lambda reply: None)
        tables.append(predictions(one, tmp_path / str(number), archive))

    results = results_table(pd.concat(tables))
    compared = comparisons_table(pd.concat(tables))

    external = results.query("hospital == 'all' and test_set == 'external'")
    of_fedbn = external[external["strategy"] == "fedbn"]
    assert len(of_fedbn) > 3
    assert of_fedbn["value"].isna().all()
    assert (of_fedbn["n"] == 0).all()
    assert set(of_fedbn["method"]) == {"no model for these hospitals"}
    of_fedavg = external[external["strategy"] == "fedavg"]
    assert of_fedavg.set_index(["unit", "metric"]).loc[("patient", "auc"), "n"] > 0
    assert "external" not in set(compared["test_set"])


def test_states_of_a_simulation_lie_in_its_folder(study, tmp_path):
    nodes = [{"partition-id": k} for k in range(2)]  # as Flower's own runtime

    run_in_process(
        server_app,
        client_app,
        nodes,
        {"study": study.to_json(), "out": str(tmp_path), "test": False},
    )

    assert own_layers(tmp_path, study, "H0")
    assert own_layers(tmp_path, study, "H1")
