"""A toy federation: hospitals move a vector towards their own target."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from thyroid_fl.packing import shapes_of
from thyroid_fl.server.checkpoint import Progress
from thyroid_fl.server.hospitals import Hospitals
from thyroid_fl.server.rounds import run_rounds
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.strategies import make_strategy
from thyroid_fl.strategies.arrays import packed_record, record_of, unpacked

INITIAL = {
    "w": np.zeros(40, "f4"),
    "bn.running_var": np.ones(3, "f4"),
    "scalar": np.array(0.5, "f4"),
}
HOSPITALS = [{"hospital": k, "target": float(k), "n": 10 * k} for k in (1, 2, 3)]


def reply_to(message: Message, **records: Any) -> Message:
    """Return a reply that repeats the request's record, as every hospital's does."""
    content = RecordDict({"request": message.content["request"], **records})
    return Message(content, reply_to=message)


def no_fault(hospital: int, server_round: int) -> None:
    """Let every hospital train."""


def make_app(fault: Callable[[int, int], None] = no_fault) -> ClientApp:
    """Return the hospitals' app; ``fault(hospital, round)`` may raise in training."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config, site = message.content["config"], context.node_config
        fault(site["hospital"], config["server-round"])
        rng = np.random.default_rng([config["server-round"], site["hospital"]])
        received = unpacked(message.content["arrays"], "fp32", shapes_of(INITIAL))
        arrays = {
            k: a + np.float32(10 * config["learning-rate"]) * (site["target"] - a)
            + rng.normal(0, 0.01, a.shape)
            for k, a in received.items()
        }  # fmt: skip
        metrics = MetricRecord({"num-examples": site["n"], "train-loss": 0.5})
        arrays = packed_record(arrays, "fp32")
        return reply_to(message, arrays=arrays, metrics=metrics)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        w = unpacked(message.content["arrays"], "fp32", shapes_of(INITIAL))["w"]
        metrics = {
            "num-examples": context.node_config["n"],
            "loss": float(np.mean((w - context.node_config["target"]) ** 2)),
            "auc-sum": 3.0,
            "auc-n": 4.0,
        }
        return reply_to(message, m=MetricRecord(metrics))

    return app


def run_study(
    out: Path,
    app: ClientApp | None = None,
    grid: Grid | None = None,
    study: Study | None = None,
    **settings: Any,
) -> Progress:
    """Run a toy study of 4 rounds in a folder."""
    given = {"rounds": 4, "learning_rate": 0.05, "wait_s": 0.1, **settings}
    study = study or make_study(**given)
    grid = grid or InProcessGrid(app or make_app(), HOSPITALS)
    hospitals = Hospitals(grid=grid, study=study)
    return run_rounds(hospitals, make_strategy(study), record_of(INITIAL), out)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Progress]:
    """Return `run_study`; its folder is named by ``out``."""
    return lambda app=None, out="out", **given: run_study(tmp_path / out, app, **given)


@pytest.fixture
def toy_app() -> Callable[..., ClientApp]:
    """Return `make_app`."""
    return make_app


@pytest.fixture(name="reply_to")
def reply_to_fixture() -> Callable[..., Message]:
    """Return `reply_to`."""
    return reply_to


@pytest.fixture
def initial() -> dict[str, np.ndarray]:
    """Return the toy model at its start."""
    return INITIAL
