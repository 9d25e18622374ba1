"""Hospitals that keep their predictions give the AUC of all predictions together."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from thyroid_fl.client.app import app
from thyroid_fl.client.inference import predict
from thyroid_fl.client.results import site_results
from thyroid_fl.client.site import open_archive
from thyroid_fl.evaluation.classification import patient_scores
from thyroid_fl.requests import Request
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.site_results import ask_results
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import FIRST_NODE_ID, InProcessGrid
from thyroid_fl.statistics import auc, within_site_auc
from thyroid_fl.tasks import build_model
from thyroid_fl.tasks.detection import best_box_iou
from thyroid_fl.weights import arrays_of

HOSPITALS = [f"H{k}" for k in range(5)]
NAMES = dict(enumerate(HOSPITALS, FIRST_NODE_ID))


@pytest.fixture(scope="module")
def study(small_manifest):
    return make_study(
        data=str(small_manifest), image_px=32, threads=1, split="patient", wait_s=0.1
    )


@pytest.fixture(scope="module")
def model(study):
    """A model whose scores spread, and that knows nothing."""
    model = build_model(study)
    with torch.no_grad():
        model.classifier[-1].weight *= 50
    return model


@pytest.fixture(scope="module")
def patients(study, model):
    """The predictions of all hospitals in one place."""
    archive = open_archive(study, study.data)
    rows = archive.rows("test")
    table = archive.table.iloc[rows][["hospital", "patient_id"]]
    found = patient_scores(table.join(predict(model, archive, rows, study)))
    assert found["hospital"].nunique() == 5
    return found


POLICY = """\
tasks = ["classification", "detection"]
strategies = ["fedavg"]
most_rounds = 99
most_local_epochs = 9
least_hospitals = 1
least_noise = 0.0
evaluation = "{}"
"""


def federated(study, model, out, levels):
    """Return the tables of a test in which each hospital has its level."""
    nodes = []
    for hospital, level in zip(HOSPITALS, levels, strict=True):
        policy = out / f"{hospital}.toml"
        policy.write_text(POLICY.format(level))
        nodes.append({"hospital": hospital, "policy": str(policy)})
    grid = InProcessGrid(app, nodes, {"study": study.to_json(), "out": str(out)})
    hospitals = Hospitals(grid=grid, study=study, names=lambda: NAMES)
    request = Request(study_id=32 * "a", server_round=1)
    ask_results(hospitals, request, arrays_of(model), out)
    tested = pd.read_csv(out / "test_results.csv").set_index("metric")
    return tested, pd.read_csv(out / "site_results.csv").set_index("hospital")


def test_scores_give_the_same_as_all_predictions_in_one_place(
    study, model, patients, tmp_path
):
    exact = auc(patients["malignant"], patients["score"])

    tested, sites = federated(study, model, tmp_path, ["scores"] * 5)

    found = tested.loc["auc"]
    assert found["estimate"] == pytest.approx(exact.value, abs=1e-12)
    assert found["variance"] == pytest.approx(exact.variance, abs=1e-12)
    assert (found["bound"], found["n"]) == (0, len(patients))
    for hospital, here in patients.groupby("hospital"):
        own = auc(here["malignant"], here["score"])
        assert sites.loc[hospital, ["estimate", "variance"]].tolist() == pytest.approx(
            [own.value, own.variance], abs=1e-12, nan_ok=True
        )


@pytest.mark.parametrize(
    "levels",
    [["histogram"] * 5, ["scores", "histogram", "scores", "histogram", "scores"]],
)
def test_from_histograms_the_truth_is_within_the_bound(
    study, model, patients, tmp_path, levels
):
    exact = roc_auc_score(patients["malignant"], patients["score"])

    tested, _ = federated(study, model, tmp_path, levels)

    found = tested.loc["auc"]
    assert abs(found["estimate"] - exact) <= found["bound"] + 1e-12
    assert found["bound"] < 0.05
    assert found["hospitals"] == "; ".join(HOSPITALS)


def test_within_hospitals_is_exact_when_some_tell_metrics_only(
    study, model, patients, tmp_path
):
    columns = (patients[name] for name in ("malignant", "score", "hospital"))
    exact = within_site_auc(*columns)

    levels = ["metrics", "metrics", "histogram", "scores", "metrics"]
    tested, sites = federated(study, model, tmp_path, levels)

    found = tested.loc["auc_within_site"]
    assert found["estimate"] == pytest.approx(exact.value, abs=1e-12)
    assert found["variance"] == pytest.approx(exact.variance, abs=1e-12)
    assert tested.loc["auc", "hospitals"] == "H2; H3"
    assert sites["level"].tolist() == levels


def test_a_hospital_without_test_cases_answers_with_zeros(study, model, tmp_path):
    archive = open_archive(study, study.data)

    for level in ("metrics", "histogram", "scores"):
        told = site_results(model, archive, "nobody", study, level)["results"]

        assert (told["n-images"], told["n-patients"], told["is-external"]) == (0, 0, 1)
        assert np.isnan(told["auc"])
        assert not any(told.get("benign-bins", []))


def test_detection_tells_sums_that_are_the_means_over_all_patients(
    small_manifest, tmp_path
):
    study = make_study(
        task="detection", data=str(small_manifest), image_px=64, threads=1,
        split="patient", wait_s=0.1,
    )  # fmt: skip
    model = build_model(study)
    archive = open_archive(study, study.data)
    rows = archive.rows("test")
    found = predict(model, archive, rows, study)
    patients = archive.table["patient_id"].iloc[rows]
    by_patient = best_box_iou(found).groupby(patients).mean()

    tested, sites = federated(study, model, tmp_path, ["metrics"] * 5)

    row = tested.loc["best_box_iou"]
    assert row["estimate"] == pytest.approx(by_patient.mean(), abs=1e-9)
    assert row["variance"] == pytest.approx(by_patient.sem() ** 2, rel=1e-6)
    assert (row["n"], row["bound"]) == (len(by_patient), 0)
    assert len(sites) == 10
    assert row["estimate"] > 0
