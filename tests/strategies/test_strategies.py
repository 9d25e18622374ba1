"""Our strategies in the hands of a plain Flower app."""

import logging
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import (
    Array,
    ConfigRecord,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.serverapp import strategy as flower

from thyroid_fl.settings import STRATEGY_NAMES, make_study
from thyroid_fl.simulation.grid import InProcessGrid
from thyroid_fl.strategies import STRATEGIES, FedAdam, FedAvg, FedProx, make_strategy
from thyroid_fl.strategies.arrays import Arrays, arrays_of_record, record_of

GRID = InProcessGrid(ClientApp(), [{}, {}, {}])


def answer(
    node: int, arrays: Arrays | None, n: object = 10, **metrics: float
) -> Message:
    asked = Message(RecordDict(), dst_node_id=node, message_type="train")
    records = RecordDict({"metrics": MetricRecord({"num-examples": n, **metrics})})
    if arrays is not None:
        records["arrays"] = record_of(arrays)
    return Message(records, reply_to=asked)


def model(value: float) -> Arrays:
    return {"w": np.full((2, 3), value, "f4"), "b": np.array(value, "f4")}


def train(strategy: FedAvg, start: Arrays, replies: list[Message]) -> Arrays:
    list(strategy.configure_train(1, record_of(start), ConfigRecord(), GRID))
    record, _ = strategy.aggregate_train(1, replies)
    assert record is not None
    return arrays_of_record(record)


def error(node: int) -> Message:
    asked = Message(RecordDict(), dst_node_id=node, message_type="train")
    return Message(Error(2, "out of memory"), reply_to=asked)


def boasting(node: int) -> Message:
    reply = answer(node, model(1), n=1000)
    reply.content["counts"] = ConfigRecord({"n-used": 999})
    return reply


def broken(node: int) -> Message:
    reply = answer(node, model(1))
    whole = reply.content["arrays"]["w"]
    reply.content["arrays"]["w"] = Array(
        whole.dtype, whole.shape, whole.stype, b"nonsense"
    )
    return reply


FAULTY = {
    "nan": answer(9, {"w": np.full((2, 3), np.nan, "f4"), "b": np.array(1, "f4")}),
    "infinite": answer(9, {"w": np.full((2, 3), np.inf, "f4"), "b": np.array(1, "f4")}),
    "shape": answer(9, {"w": np.ones((3, 2), "f4"), "b": np.array(1, "f4")}),
    "broadcast": answer(9, {"w": np.ones((1, 3), "f4"), "b": np.array(1, "f4")}),
    "missing": answer(9, {"w": np.ones((2, 3), "f4")}),
    "too many": answer(9, {**model(1), "extra": np.ones(1, "f4")}),
    "type": answer(9, {"w": np.ones((2, 3), "i4"), "b": np.array(1, "f4")}),
    "bytes": broken(9),
    "no arrays": answer(9, None),
    "n negative": answer(9, model(1), n=-5),
    "n nan": answer(9, model(1), n=float("nan")),
    "n implausible": answer(9, model(1), n=1e9),
    "n above its counts": boasting(9),
    "n a list": answer(9, model(1), n=[1, 2]),
    "error": error(9),
}


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("position", [0, 2])
def test_a_faulty_reply_costs_one_hospital_not_the_round(
    fault: str, name: str, position: int, caplog: pytest.LogCaptureFixture
) -> None:
    good = [answer(1, model(2), n=1), answer(2, model(6), n=3)]
    without = train(STRATEGIES[name](min_available_nodes=1), model(0), good)
    strategy = STRATEGIES[name](min_available_nodes=1)
    replies = [*good[:position], FAULTY[fault], *good[position:]]

    with caplog.at_level(logging.WARNING, logger="thyroid_fl"):
        result = train(strategy, model(0), replies)

    assert result.keys() == without.keys()
    for key, array in without.items():
        np.testing.assert_array_equal(result[key], array)
    assert strategy.tally.used == [1, 2]
    assert list(strategy.tally.left_out) == [9]
    assert "node 9 is left out: " in caplog.text


@pytest.mark.parametrize("position", [0, 1, 2])
def test_without_a_sent_model_most_replies_say_what_it_is(position: int) -> None:
    replies = [answer(1, model(2)), answer(2, model(6))]
    replies.insert(position, FAULTY["shape"])

    record, _ = FedAvg().aggregate_train(1, replies)

    assert record is not None
    np.testing.assert_array_equal(record["w"].numpy(), np.full((2, 3), 4, "f4"))


def test_a_hospital_without_examples_is_no_fault() -> None:
    strategy = FedAvg()
    replies = [answer(1, model(2)), answer(2, {}, n=0), answer(3, model(6), n=0.0)]

    result = train(strategy, model(0), replies)

    assert result["w"][0, 0] == 2
    assert strategy.tally.empty == [2, 3]
    assert strategy.tally.left_out == {}


def test_no_usable_reply_gives_no_model() -> None:
    assert FedAvg().aggregate_train(1, [error(1), answer(2, model(1), n=0)]) == (
        None,
        None,
    )
    assert FedAvg().aggregate_evaluate(1, [error(1)]) is None


def test_a_stream_of_replies_is_read_once_and_each_is_freed_before_the_next() -> None:
    made: list[weakref.ref[object]] = []

    def stream() -> Iterator[Message]:
        for node in range(50):
            assert [ref for ref in made if ref() is not None] == []
            reply = answer(node, model(node))
            made.append(weakref.ref(reply.content["arrays"]["w"]))
            yield reply
            del reply

    record, _ = FedAvg().aggregate_train(1, stream())

    assert record is not None
    assert record["b"].numpy() == 24.5
    assert len(made) == 50


def test_as_flowers_own_on_floats() -> None:
    rng = np.random.default_rng(3)
    replies = [
        answer(
            k,
            {"w": rng.normal(size=(50, 3)).astype("f4"), "b": rng.normal(size=4)},
            n=int(rng.integers(1, 99)),
            loss=float(rng.normal()),
        )
        for k in range(20)
    ]

    ours, our_metrics = FedAvg().aggregate_train(1, replies)
    theirs, their_metrics = flower.FedAvg().aggregate_train(1, replies)

    assert ours is not None
    assert theirs is not None
    assert our_metrics is not None
    assert their_metrics is not None
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name].numpy(), theirs[name].numpy(), atol=1e-6)
    assert our_metrics.keys() == their_metrics.keys()
    assert our_metrics["loss"] == pytest.approx(their_metrics["loss"])


def test_the_users_metrics_function_is_honoured() -> None:
    def worst(records: list[RecordDict], key: str) -> MetricRecord:
        assert key == "num-examples"
        return MetricRecord(
            {"worst": max(float(r["metrics"]["loss"]) for r in records)}
        )

    strategy = FedAvg(train_metrics_aggr_fn=worst, evaluate_metrics_aggr_fn=worst)
    replies = [answer(1, model(1), loss=0.5), answer(2, model(2), loss=0.75)]

    _, trained = strategy.aggregate_train(1, replies)
    evaluated = strategy.aggregate_evaluate(1, replies)

    assert trained == {"worst": 0.75}
    assert evaluated == {"worst": 0.75}


def test_fedprox_sends_mu_and_leaves_the_callers_config_alone() -> None:
    config = ConfigRecord({"lr": 0.1})

    messages = list(
        FedProx(proximal_mu=0.5).configure_train(3, record_of(model(0)), config, GRID)
    )

    assert dict(config) == {"lr": 0.1}
    assert len(messages) == 3
    assert dict(messages[0].content["config"]) == {
        "lr": 0.1,
        "proximal-mu": 0.5,
        "server-round": 3,
    }


def with_buffers(value: float) -> Arrays:
    return {
        "w": np.full(2, value, "f4"),
        "bn.running_mean": np.full(2, value, "f4"),
        "bn.running_var": np.full(2, value, "f4"),
        "bn.num_batches_tracked": np.array(int(value)),
    }


def test_fedadam_moves_parameters_as_worked_by_hand_and_averages_buffers() -> None:
    strategy = FedAdam(eta=0.1, beta_1=0.9, beta_2=0.99, tau=1e-3)

    first = train(strategy, with_buffers(1), [answer(1, with_buffers(3))])
    second = train(strategy, first, [answer(1, with_buffers(3))])

    # delta 2: m = .2, v = .04, eta_1 = .1 * sqrt(.01) / .1 = .1; .1 * .2 / (.2 + .001)
    w_1 = 1 + 0.1 * 0.2 / 0.201
    np.testing.assert_allclose(first["w"], w_1, rtol=1e-6)
    delta = 3 - w_1
    m, v = 0.9 * 0.2 + 0.1 * delta, 0.99 * 0.04 + 0.01 * delta**2
    eta = 0.1 * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    w_2 = w_1 + eta * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(second["w"], w_2, rtol=1e-6)
    for result in (first, second):
        assert {a.dtype for a in result.values()} == {np.dtype("f4"), np.dtype("i8")}
        np.testing.assert_array_equal(result["bn.running_var"], np.full(2, 3, "f4"))
        assert result["bn.num_batches_tracked"] == 3


def test_flowers_fedadam_has_the_faults_that_ours_mends() -> None:
    theirs = flower.FedAdam(eta=1.0)
    start = {"w": np.ones(2, "f4"), "bn.running_var": np.full(2, 0.1, "f4")}
    reply = {"w": np.full(2, 3, "f4"), "bn.running_var": np.full(2, 0.01, "f4")}
    list(theirs.configure_train(1, record_of(start), ConfigRecord(), GRID))

    record, _ = theirs.aggregate_train(1, [answer(1, reply), answer(2, reply)])

    assert record is not None
    assert record["w"].numpy().dtype == np.float64
    assert (record["bn.running_var"].numpy() < 0).all()


def test_fedadam_takes_other_names_for_buffers() -> None:
    strategy = FedAdam(buffer_names={"w"})

    result = train(strategy, with_buffers(1), [answer(1, with_buffers(3))])

    np.testing.assert_array_equal(result["w"], np.full(2, 3, "f4"))
    assert (result["bn.running_var"] < 3).all()


def test_fedadam_continues_from_its_state() -> None:
    rng = np.random.default_rng(4)
    updates = [{"w": rng.normal(size=30).astype("f4")} for _ in range(4)]
    whole, before, after = FedAdam(), FedAdam(), FedAdam()
    expected = resumed = {"w": np.zeros(30, "f4")}

    for update in updates:
        expected = train(whole, expected, [answer(1, update)])
    for update in updates[:2]:
        resumed = train(before, resumed, [answer(1, update)])
    after.load_state_dict(before.state_dict())
    for update in updates[2:]:
        resumed = train(after, resumed, [answer(1, update)])

    np.testing.assert_array_equal(resumed["w"], expected["w"])
    assert after.state_dict().keys() == {"usual_norm", "n_updates", "m/w", "v/w"}


def test_the_names_that_are_known_without_flower_are_those_of_the_strategies() -> None:
    assert tuple(STRATEGIES) == STRATEGY_NAMES


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_study_makes_its_strategy(name: str) -> None:
    study = make_study(
        strategy=name, proximal_mu=0.3, server_learning_rate=0.7, norm="batch"
    )

    strategy = make_strategy(study)

    assert type(strategy) is STRATEGIES[name]
    assert strategy.min_available_nodes == 1
    assert getattr(strategy, "proximal_mu", 0.3) == 0.3
    assert getattr(strategy, "eta", 0.7) == 0.7


def to_target_app() -> ClientApp:
    """Return an app whose hospitals move all arrays half the way to their target."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        target = float(context.node_config["target"])
        arrays = {
            k: a.numpy() + 0.5 * (target - a.numpy())
            for k, a in message.content["arrays"].items()
        }
        records = RecordDict(
            {
                "arrays": record_of(arrays),
                "metrics": MetricRecord({"num-examples": 5, "loss": target}),
            }
        )
        return Message(records, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        value = float(message.content["arrays"]["w"].numpy().mean())
        metrics = MetricRecord({"num-examples": 5, "value": value})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def test_a_plain_flower_app_gets_the_same_from_ours_as_from_flowers() -> None:
    targets = [{"target": t} for t in (1.0, 2.0, 6.0)]
    initial = record_of({"w": np.zeros((4, 2), "f4"), "b": np.zeros(3, "f8")})
    results = [
        strategy.start(InProcessGrid(to_target_app(), targets), initial, num_rounds=4)
        for strategy in (FedAvg(), flower.FedAvg())
    ]

    ours, theirs = results
    assert ours.arrays["w"].numpy() == pytest.approx(3 * (1 - 0.5**4), abs=1e-6)
    for name in ("w", "b"):
        np.testing.assert_allclose(
            ours.arrays[name].numpy(), theirs.arrays[name].numpy(), atol=1e-6
        )
    assert ours.train_metrics_clientapp == theirs.train_metrics_clientapp
    assert ours.evaluate_metrics_clientapp[4]["value"] == pytest.approx(2.8125)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_runs_in_a_plain_flower_app(name: str) -> None:
    targets = [{"target": t} for t in (1.0, 2.0, 6.0)]
    initial = record_of({"w": np.zeros((4, 2), "f4"), "0d": np.array(0, "f4")})

    result = STRATEGIES[name]().start(
        InProcessGrid(to_target_app(), targets), initial, num_rounds=3
    )

    assert 0 < result.arrays["w"].numpy().mean() < 3
    assert result.arrays["w"].numpy().dtype == np.float32


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.float64(3.5),
        np.zeros((0, 4), np.float32),
        np.arange(3, dtype=np.int64),
        np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2],
    ],
)
def test_an_array_is_sent_as_flower_sends_it(array):
    ours = record_of({"w": array})["w"]
    theirs = Array(np.ascontiguousarray(array).reshape(np.shape(array)))

    assert (ours.dtype, ours.shape, ours.stype, ours.data) == (
        theirs.dtype, theirs.shape, theirs.stype, theirs.data
    )  # fmt: skip
