from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Message, MetricRecord
from flwr.clientapp import ClientApp
from safetensors.numpy import load_file

from thyroid_fl.server.app import app as server_app
from thyroid_fl.settings import make_study
from thyroid_fl.simulation.grid import run_in_process
from thyroid_fl.tasks import build_model
from thyroid_fl.weights import arrays_of


def test_the_server_app_trains_the_studys_model(tmp_path: Path, reply_to: Any) -> None:
    study = make_study(rounds=1, select_by="loss")
    app = ClientApp()

    @app.train()
    def train(message: Message, context: object) -> Message:
        metrics = MetricRecord({"num-examples": 3})
        return reply_to(message, a=message.content["arrays"], m=metrics)

    @app.evaluate()
    def evaluate(message: Message, context: object) -> Message:
        return reply_to(message, m=MetricRecord({"num-examples": 1, "loss": 0.5}))

    run_config = {"study": study.to_json(), "out": str(tmp_path / "out"), "test": False}
    run_in_process(server_app, app, [{}, {}], run_config)

    saved = load_file(tmp_path / "out" / "model.safetensors")
    initial = arrays_of(build_model(study))
    assert saved.keys() == initial.keys()
    for name, array in initial.items():
        np.testing.assert_array_equal(saved[name], array)
