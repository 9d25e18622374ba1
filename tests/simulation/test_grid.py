import logging
import time
import tracemalloc

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from thyroid_fl.simulation.grid import InProcessGrid, run_in_process
from thyroid_fl.strategies import FedAvg
from thyroid_fl.strategies.arrays import Arrays, arrays_of_record, record_of


def echo_app() -> ClientApp:
    """Return an app that sends the model back, counts calls, and fails on demand."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        calls = int(context.state["calls"]["n"]) if context.state else 0
        context.state["calls"] = MetricRecord({"n": calls + 1})
        if context.node_config.get("fails"):
            raise RuntimeError("no space left")
        message.content["config"]["mine"] = context.node_id
        metrics = MetricRecord({"num-examples": 7, "calls": calls + 1})
        records = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
        return Message(records, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 7, "loss": 0.5})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def model(n_arrays: int, n_numbers: int) -> Arrays:
    rng = np.random.default_rng(0)
    size = n_numbers // n_arrays
    return {f"a{k}": rng.normal(size=size).astype("f4") for k in range(n_arrays)}


def instructions(grid: InProcessGrid) -> list[Message]:
    records = RecordDict({"arrays": record_of(model(2, 10)), "config": ConfigRecord()})
    return [Message(records, node, "train") for node in grid.get_node_ids()]


def test_a_reply_is_made_when_it_is_pulled() -> None:
    seen: list[int] = []
    grid = InProcessGrid(
        echo_app(), [{}, {}, {}], on_reply=lambda m: seen.append(m.metadata.src_node_id)
    )

    first, second, third = grid.push_messages(instructions(grid))
    assert seen == []
    (reply,) = grid.pull_messages([second])
    (other,) = grid.pull_messages([second, third, first])

    assert seen == [1002, 1003]
    assert reply.metadata.reply_to_message_id == second
    assert other.metadata.reply_to_message_id == third
    assert reply.metadata.message_type == "train"
    assert grid.pull_messages([second, "unknown"]) == []


def test_state_lasts_and_is_each_nodes_own() -> None:
    grid = InProcessGrid(echo_app(), [{}, {}])

    for _ in range(2):
        grid.send_and_receive(instructions(grid)[:1])
    last = grid.send_and_receive(instructions(grid))

    assert [reply.content["metrics"]["calls"] for reply in last] == [3, 1]


def test_what_one_client_changes_no_other_sees() -> None:
    grid = InProcessGrid(echo_app(), [{}, {}])
    messages = instructions(grid)

    grid.send_and_receive(messages)

    assert dict(messages[0].content["config"]) == {}


def test_exceptions_become_error_replies() -> None:
    grid = InProcessGrid(echo_app(), [{}, {"fails": True}])

    good, bad = grid.send_and_receive(instructions(grid))

    assert good.has_content()
    assert bad.has_error()
    assert bad.error.code == 2
    assert bad.error.reason == "<class 'RuntimeError'>:<'no space left'>"
    assert bad.metadata.src_node_id == 1002


def test_a_client_that_returns_no_message_is_an_error() -> None:
    app = ClientApp()
    app.train()(lambda message, context: None)
    grid = InProcessGrid(app, [{}])

    (reply,) = grid.send_and_receive(instructions(grid))

    assert "not a Message" in str(reply.error.reason)


def test_messages_of_a_round_that_was_given_up_are_dropped() -> None:
    grid = InProcessGrid(echo_app(), [{}, {}])
    messages = instructions(grid)
    for message in messages:
        message.metadata.ttl = 0.01
    old = grid.push_messages(messages)
    time.sleep(0.02)

    grid.push_messages(instructions(grid))

    assert grid.pull_messages(old) == []


def test_a_server_app_runs_and_flower_is_quiet(
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = {}
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg()
        initial = record_of(model(2, 10))
        result["result"] = strategy.start(grid, initial, num_rounds=2)
        result["config"] = context.run_config

    with caplog.at_level(logging.INFO):
        run_in_process(server_app, echo_app(), [{}, {}], {"study": "{}"})

    assert result["config"] == {"study": "{}"}
    assert result["result"].evaluate_metrics_clientapp[2]["loss"] == 0.5
    assert [r for r in caplog.records if r.name == "flwr"] == []


def test_what_the_server_app_raises_comes_out() -> None:
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        raise ValueError("a fault of the centre")

    with pytest.raises(ValueError, match="a fault of the centre"):
        run_in_process(server_app, echo_app(), [{}], {})


def play(grid: InProcessGrid, arrays: Arrays, rounds: int) -> FedAvg:
    """Train and validate on all nodes, streaming, as the round engine does."""
    strategy = FedAvg(min_available_nodes=1)
    record = record_of(arrays)
    for server_round in range(1, rounds + 1):
        asked = strategy.configure_train(server_round, record, ConfigRecord(), grid)
        ids = grid.push_messages(asked)
        averaged, _ = strategy.aggregate_train(
            server_round, (m for k in ids for m in grid.pull_messages([k]))
        )
        assert averaged is not None
        record = averaged
        asked = strategy.configure_evaluate(server_round, record, ConfigRecord(), grid)
        ids = grid.push_messages(asked)
        strategy.aggregate_evaluate(
            server_round, (m for k in ids for m in grid.pull_messages([k]))
        )
    return strategy


def test_208_hospitals_and_3_rounds_cost_seconds() -> None:
    grid = InProcessGrid(echo_app(), [{} for _ in range(208)])
    started = time.process_time()

    strategy = play(grid, model(160, 330_000), rounds=3)

    assert len(strategy.tally.used) == 208
    assert time.process_time() - started < 3  # .7 s on an idle core


def peak_in_models(n_hospitals: int, arrays: Arrays, rounds: int) -> float:
    """Return the peak over idle while every hospital sends new arrays."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        received = arrays_of_record(message.content["arrays"])
        trained = record_of({k: a + np.float32(1) for k, a in received.items()})
        metrics = MetricRecord({"num-examples": 7})
        records = RecordDict({"arrays": trained, "metrics": metrics})
        return Message(records, reply_to=message)

    app.evaluate()(lambda message, context: Message(RecordDict(), reply_to=message))
    grid = InProcessGrid(app, [{} for _ in range(n_hospitals)])
    tracemalloc.start()
    try:
        play(grid, arrays, rounds)
        return tracemalloc.get_traced_memory()[1] / sum(
            a.nbytes for a in arrays.values()
        )
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_hospitals() -> None:
    arrays = model(20, 1_000_000)

    few, many = peak_in_models(4, arrays, 2), peak_in_models(40, arrays, 2)

    assert many < 10
    assert many < few + 1


@pytest.mark.slow
def test_memory_of_208_replies_of_densenet121() -> None:
    assert peak_in_models(208, model(364, 7_250_000), rounds=1) < 10
