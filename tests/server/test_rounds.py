import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from flwr.app import Message, MetricRecord
from flwr.clientapp import ClientApp
from safetensors import safe_open
from safetensors.numpy import load_file

from thyroid_fl.errors import ConfigError, RoundError
from thyroid_fl.server.checkpoint import Progress
from thyroid_fl.server.hospitals import LATE_S
from thyroid_fl.server.rounds import learning_rate
from thyroid_fl.settings import Study, make_study
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.strategies.arrays import arrays_of_record, packed_record

Run = Callable[..., Progress]
MakeApp = Callable[..., ClientApp]

FIRST, SECOND, THIRD = 1001, 1002, 1003
HOSPITALS = [{"hospital": k, "target": float(k), "n": 10 * k} for k in (1, 2, 3)]


def test_learning_rate_rises_peaks_and_falls_but_never_to_zero() -> None:
    study = make_study(rounds=10, warmup_rounds=3, learning_rate=1.0)

    rates = [learning_rate(study, r) for r in range(1, 11)]

    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[7] == pytest.approx(0.5 * (1 + math.cos(math.pi * 4 / 7)))
    assert rates[-1] > 0


@pytest.mark.parametrize(("rounds", "warmup"), [(1, 0), (1, 1), (2, 5), (3, 3)])
def test_learning_rate_of_short_studies_is_positive(rounds: int, warmup: int) -> None:
    study = make_study(rounds=rounds, warmup_rounds=warmup)

    rates = [learning_rate(study, r) for r in range(1, rounds + 1)]

    assert all(0 < rate <= study.learning_rate for rate in rates)


def test_hospitals_are_told_round_and_rate(run: Run, toy_app: MakeApp) -> None:
    seen: list[tuple[str, dict[str, object]]] = []
    app = toy_app()

    def listening(message: Message, context: object) -> Message:
        config = dict(message.content["config"])
        seen.append((message.metadata.message_type, config))
        return app(message, context)

    grid = InProcessGrid(listening, HOSPITALS[:1])
    study = make_study(rounds=2, strategy="fedprox", proximal_mu=0.25)
    run(grid=grid, study=study)

    assert [kind for kind, _ in seen] == ["evaluate", *["train", "evaluate"] * 2]
    assert [config["server-round"] for _, config in seen] == [0, 1, 1, 2, 2]
    assert seen[1][1] == {
        "server-round": 1,
        "learning-rate": learning_rate(study, 1),
        "proximal-mu": 0.25,
    }


def test_history_and_files_of_a_study(run: Run, tmp_path: Path) -> None:
    progress = run()

    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert list(history["round"]) == [0, 1, 2, 3, 4]
    assert set(history["auc"]) == {0.75}
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    last = history.iloc[-1]
    assert (last["n_hospitals"], last["n_failed"], last["n_examples"]) == (3, 0, 60)
    assert (last["train_loss"], last["n_val_examples"]) == (0.5, 60)
    rate = learning_rate(make_study(rounds=4, learning_rate=0.05), 4)
    assert last["learning_rate"] == pytest.approx(rate)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "Not a medical device" in card
    assert f"round **{progress.best_round}**" in card
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        metadata = file.metadata()
    assert Study.from_json(metadata["study"]).rounds == 4
    assert metadata["round"] == str(progress.best_round)


def test_one_hospital_alone_is_its_own_training(run: Run, toy_app: MakeApp) -> None:
    progress = run(grid=InProcessGrid(toy_app(), HOSPITALS[2:]), rounds=1)

    rate = np.float32(10 * learning_rate(make_study(rounds=1, learning_rate=0.05), 1))
    noise = np.random.default_rng([1, 3]).normal(0, 0.01, 40)
    expected = (rate * np.float32(3) + noise).astype("f4")
    np.testing.assert_array_equal(arrays_of_record(progress.arrays)["w"], expected)


@pytest.fixture
def losses_app(reply_to: Any, initial: Any) -> Callable[[list[float]], ClientApp]:
    """Return a maker of apps whose model is the round and whose losses are given."""

    def make(losses: list[float]) -> ClientApp:
        app = ClientApp()

        @app.train()
        def train(message: Message, context: object) -> Message:
            value = message.content["config"]["server-round"]
            arrays = {
                name: np.full(a.shape, value, "f4") for name, a in initial.items()
            }
            return reply_to(
                message,
                a=packed_record(arrays, "fp32"),
                m=MetricRecord({"num-examples": 1}),
            )

        @app.evaluate()
        def evaluate(message: Message, context: object) -> Message:
            loss = losses[message.content["config"]["server-round"]]
            metrics = MetricRecord({"num-examples": 1, "loss": loss, "dice": loss})
            return reply_to(message, m=metrics)

        return app

    return make


@pytest.mark.parametrize(
    ("select_by", "losses", "best"),
    [
        ("loss", [0.1, 0.5, 0.3, 0.4], 2),
        ("dice", [0.9, 0.5, 0.3, 0.6], 3),
        ("last", [0.1, 0.1, 0.3, 0.4], 3),
        ("loss", [0.9, math.nan, 0.6, math.nan], 2),
        ("loss", [0.9, 0.7, 0.6, 0.5], 3),
        ("dice", [0.9, math.nan, math.nan, math.nan], 3),
    ],
)
def test_the_best_round_is_kept(
    run: Run,
    losses_app: Any,
    tmp_path: Path,
    select_by: str,
    losses: list[float],
    best: int,
) -> None:
    progress = run(losses_app(losses), rounds=3, select_by=select_by)

    model = load_file(tmp_path / "out" / "model.safetensors")
    assert progress.best_round == best
    assert set(model["w"]) == {best}


@pytest.mark.parametrize("select_by", ["sensitivity", "n_val_examples", "round"])
def test_an_unknown_selection_metric_stops_at_the_start(
    run: Run, tmp_path: Path, select_by: str
) -> None:
    with pytest.raises(ConfigError, match=r"use 'last' or one of: loss, auc"):
        run(select_by=select_by)

    assert not (tmp_path / "out").exists()


def failing(hospitals: set[int]) -> Callable[[int, int], None]:
    def fault(hospital: int, server_round: int) -> None:
        if hospital in hospitals and server_round == 2:
            raise RuntimeError("the disk is full")

    return fault


def test_a_failing_hospital_does_not_stop_the_round(
    run: Run, toy_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="thyroid_fl"):
        progress = run(toy_app(failing({2})), min_hospitals=2)

    assert progress.last_round == 4
    assert [row["n_failed"] for row in progress.history[1:]] == [0, 1, 0, 0]
    assert [row["n_examples"] for row in progress.history[1:]] == [60, 40, 60, 60]
    assert f"round 2, train: node {SECOND}: the disk is full" in caplog.text


def test_a_missed_quorum_says_who_failed_and_keeps_the_rounds_before(
    run: Run, toy_app: MakeApp
) -> None:
    with pytest.raises(RoundError) as caught:
        run(toy_app(failing({2, 3})), min_hospitals=2)

    for part in (
        "round 2: 1 hospitals",
        "disk is full",
        f"node {SECOND}, node {THIRD}",
    ):
        assert part in str(caught.value)
    assert run(min_hospitals=2).last_round == 4


def test_no_usable_update_is_an_error(run: Run, toy_app: MakeApp) -> None:
    with pytest.raises(RoundError, match="0 hospitals sent a usable update"):
        run(toy_app(failing({1, 2, 3})))


def test_no_hospital_that_can_validate_is_an_error(run: Run) -> None:
    with pytest.raises(RoundError, match="No evaluate function registered"):
        run(ClientApp(), select_by="last")


def test_too_few_hospitals_end_the_wait(run: Run) -> None:
    with pytest.raises(RoundError, match=r"3 hospitals were connected after 0.1 s"):
        run(min_hospitals=4)


class SlowGrid(InProcessGrid):
    """A grid in which one node answers no training, and the others after a while."""

    def __init__(self, app: ClientApp, lost: int) -> None:
        super().__init__(app, HOSPITALS)
        self.lost = lost
        self.lost_ids: set[str] = set()
        self.seen: set[str] = set()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        messages = list(messages)
        message_ids = super().push_messages(messages)
        self.lost_ids |= {
            message_id
            for message_id, message in zip(message_ids, messages, strict=True)
            if message.metadata.dst_node_id == self.lost
            and message.metadata.message_type == "train"
        }
        assert {message.metadata.ttl for message in messages} == {0.5 + LATE_S}
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        seen = {one for one in message_ids if one in self.seen}
        self.seen |= set(message_ids)
        return super().pull_messages(seen - self.lost_ids)


def test_a_straggler_costs_the_deadline_and_no_more(run: Run, toy_app: MakeApp) -> None:
    grid = SlowGrid(toy_app(), lost=THIRD)
    started = time.monotonic()

    progress = run(grid=grid, rounds=2, round_deadline_s=0.5, min_hospitals=2)

    assert 1.0 < time.monotonic() - started < 4
    assert [row["n_failed"] for row in progress.history[1:]] == [1, 1]
    assert [row["n_examples"] for row in progress.history[1:]] == [30, 30]
    assert [row["n_val_hospitals"] for row in progress.history] == [3, 3, 3]


def test_a_missed_quorum_by_the_deadline_names_the_straggler(
    run: Run, toy_app: MakeApp
) -> None:
    grid = SlowGrid(toy_app(), lost=FIRST)

    with pytest.raises(RoundError, match=f"no reply within 0.5 s .node {FIRST}"):
        run(grid=grid, round_deadline_s=0.5, min_hospitals=3)
