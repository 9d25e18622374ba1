import dataclasses

import numpy as np
import pytest
import torch

from thyroid_fl.batches import training_batches
from thyroid_fl.client.app import round_seed
from thyroid_fl.client.site import open_archive, open_site
from thyroid_fl.client.training import local_update, make_optimizer
from thyroid_fl.devices import place, set_threads
from thyroid_fl.server.rounds import learning_rate
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import Training, plan, predictions, train
from thyroid_fl.tasks import TASKS, build_model
from thyroid_fl.weights import arrays_of, load_arrays, read_weights


@pytest.fixture
def study(small_manifest):
    return make_study(
        data=str(small_manifest),
        split="patient",
        image_px=32,
        rounds=3,
        local_epochs=1,
        threads=1,
        select_by="last",
    )


def federated(study, hospitals=("H0", "H1", "H2")):
    return Training(
        arm="federated",
        budget="",
        trained_on="all",
        hospitals=hospitals,
        study=study,
    )


def trained(training, folder, on_reply=lambda reply: None):
    train(training, folder, on_reply)
    return {
        name: tensor.numpy()
        for name, tensor in read_weights(folder / "model.safetensors").items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_one_hospital_federated_equals_central_training(study, tmp_path):
    set_threads(study.threads)  # as the app does: sums depend on their number
    centre = place(build_model(study), torch.device("cpu"))
    arrays = arrays_of(centre)
    site = open_site(study, {"hospital": "H1"})
    for server_round in (1, 2, 3):
        load_arrays(centre, arrays)
        seed = round_seed(study.seed, server_round, "H1")
        batches = training_batches(
            site.cases,
            site.train,
            batch_size=study.batch_size,
            epochs=study.local_epochs,
            rotation_deg=study.rotation_deg,
            flips=study.flips,
            seed=seed,
        )
        torch.manual_seed(int(seed.generate_state(1)[0]))
        optimizer = make_optimizer(
            centre, study, learning_rate(study, server_round), 0.0
        )
        local_update(centre, TASKS[study.task], batches, optimizer, study)
        arrays = arrays_of(centre)

    alone = trained(federated(study, ("H1",)), tmp_path)

    assert same(alone, arrays)


def test_the_same_seed_gives_the_same_model_and_another_seed_does_not(study, tmp_path):
    first = trained(federated(study), tmp_path / "first")
    again = trained(federated(study), tmp_path / "again")
    other = trained(federated(dataclasses.replace(study, seed=2)), tmp_path / "other")

    assert same(first, again)
    assert not same(first, other)


def test_the_order_of_the_hospitals_does_not_matter(study, tmp_path):
    forwards = trained(federated(study, ("H0", "H1", "H2")), tmp_path / "forwards")
    backwards = trained(federated(study, ("H2", "H1", "H0")), tmp_path / "backwards")

    assert same(forwards, backwards)


def test_fedprox_with_mu_zero_is_fedavg_to_the_bit(study, tmp_path):
    prox = dataclasses.replace(study, strategy="fedprox", proximal_mu=0.0)
    pulled = dataclasses.replace(prox, proximal_mu=1.0)

    fedavg = trained(federated(study), tmp_path / "fedavg")

    assert same(fedavg, trained(federated(prox), tmp_path / "zero"))
    assert not same(fedavg, trained(federated(pulled), tmp_path / "one"))


@pytest.mark.parametrize("strategy", ["fedavg", "fedadam"])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    study, tmp_path, strategy
):
    training = federated(dataclasses.replace(study, strategy=strategy))
    whole = trained(training, tmp_path / "whole")
    replies = []

    def interrupt(reply):
        replies.append(reply)
        if len(replies) == 13:  # in the third round
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training, tmp_path / "cut", interrupt)
    assert not (tmp_path / "cut" / "model.safetensors").exists()

    assert same(whole, trained(training, tmp_path / "cut"))


def test_the_plan_gives_every_arm_its_budget(study):
    archive = open_archive(study, study.data)
    study = dataclasses.replace(study, min_hospitals=3, local_epochs=2)

    trainings = plan(
        study, archive, strategies=("fedavg", "fedprox"), n_singles=2, n_tuned=1
    )

    assert [(t.arm, t.strategy, t.budget) for t in trainings] == [
        ("federated", "fedavg", ""),
        ("federated", "fedprox", ""),
        ("pooled", "", ""),
        ("single", "", "tuned"),
        ("single", "", "matched"),
        ("single", "", "matched"),
    ]
    assert len({t.folder for t in trainings}) == 6
    federation, pooled, tuned = trainings[0], trainings[2], trainings[3]
    assert federation.hospitals == ("H0", "H1", "H2", "H3", "H4")
    assert pooled.hospitals == ("all",)
    n_own = len(archive.rows("train", tuned.trained_on))
    n_all = len(archive.rows("train"))
    assert tuned.study.local_epochs == study.local_epochs * (n_all // n_own)
    assert {t.study.rounds for t in trainings} == {3}
    assert tuned.study.min_hospitals == 1


def test_the_pooled_arm_holds_all_training_cases(study):
    archive = open_archive(study, study.data)

    everything = open_site(study, {"hospital": "all"})
    parts = [open_site(study, {"hospital": f"H{k}"}) for k in range(5)]

    assert sorted(everything.train) == sorted(archive.rows("train"))
    assert sorted(np.concatenate([part.train for part in parts])) == sorted(
        everything.train
    )


def test_predictions_have_one_row_per_held_out_picture(study, tmp_path):
    training = federated(study)
    archive = open_archive(study, study.data)
    train(training, tmp_path, lambda reply: None)

    table = predictions(training, tmp_path, archive)

    held_out = archive.table["split"].isin(["val", "test"])
    assert (
        table["image_id"].tolist() == archive.table.loc[held_out, "image_id"].tolist()
    )
    assert table["score"].between(0, 1).all()
    assert set(table["arm"]) == {"federated"}
    assert set(table.loc[table["split"] == "test", "test_set"]) == {"internal"}
