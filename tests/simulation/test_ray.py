"""Under Flower's own Ray runtime the same study gives the same model."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from thyroid_fl.settings import make_study
from thyroid_fl.simulation.arms import Training, train

RUNTIME = Path(__file__).parents[2] / "benchmarks" / "ray_runtime.py"
HOSPITALS = ("H0", "H1", "H2", "H3")


def run_under_ray(study, n_hospitals, out):
    spec = importlib.util.spec_from_file_location("ray_runtime", RUNTIME)
    runtime = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runtime)
    return runtime.run_under_ray(study, n_hospitals, out, noop=False)


@pytest.mark.slow
def test_ray_and_in_process_give_the_same_model_to_the_bit(small_manifest, tmp_path):
    pytest.importorskip("ray", reason="needs the extra 'simulation'")
    study = make_study(
        data=str(small_manifest), split="patient", image_px=32, rounds=2,
        local_epochs=1, threads=1,
    )  # fmt: skip
    here = Training(
        arm="federated", budget="", trained_on="all", hospitals=HOSPITALS, study=study
    )

    train(here, tmp_path / "here", lambda reply: None)
    run_under_ray(study, len(HOSPITALS), tmp_path / "ray")

    first, second = (
        load_file(tmp_path / name / "model.safetensors") for name in ("here", "ray")
    )
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    histories = [
        pd.read_csv(tmp_path / name / "history.csv").drop(columns="seconds")
        for name in ("here", "ray")
    ]
    pd.testing.assert_frame_equal(*histories)
    assert (histories[0]["n_hospitals"].iloc[1:] == 4).all()
