"""FedAvg (McMahan et al. 2017): the hospitals' mean model, weighted by their cases."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from thyroid_fl.packing import Arrays, Encoding, shapes_of
from thyroid_fl.settings import Study
from thyroid_fl.strategies.arrays import (
    arrays_of_record,
    l2_norm,
    packed_record,
    record_of,
    unpacked,
)
from thyroid_fl.strategies.averaging import (
    mean_metrics,
    validation_metrics,
    weighted_mean,
)
from thyroid_fl.strategies.replies import Tally, sent_model, usable

MetricsFn = Callable[[list[RecordDict], str], MetricRecord]


class FedAvg(strategy.FedAvg):
    """Flower's FedAvg, with the same keywords and records, for many large replies.

    Replies are an iterable that is read once, one reply at a time: memory is that of a
    few models, however many hospitals reply. A faulty reply is left out and named in
    the log, and the round goes on; Flower's own ends the run. Floating-point arrays are
    averaged and keep their type; of any other the first reply's is taken.

    Args:
        download: how the model travels to the hospitals, packed as one array; None: as
            Flower has it, array by array.
        upload: how it travels back; other than ``fp32`` it is the difference from what
            was sent, see `thyroid_fl.packing`.
        keywords: Flower's own.
    """

    tally = Tally()
    """Which replies were used in the last aggregation; replaced by each."""
    _current: Arrays | None = None
    """The model at the centre."""
    _sent: Arrays | None = None
    """That model as the hospitals see it: rounded where the download is."""
    _usual_norm = 0.0
    """Median norm of the models that counted in the last round; 0 before the first."""

    def __init__(
        self,
        *,
        download: Encoding | None = None,
        upload: Encoding | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(**keywords)
        self.download = download
        self.upload = upload

    @classmethod
    def from_study(cls, study: Study, **keywords: Any) -> Self:
        """Return the strategy that a study asks for; all connected hospitals take part.

        Flower's minimum is 1 here, since it waits for it for ever: quorum, share of
        hospitals and the bounded wait are the round engine's.
        """
        return cls(
            min_train_nodes=1,
            min_evaluate_nodes=1,
            min_available_nodes=1,
            evaluate_metrics_aggr_fn=validation_metrics,
            download=study.download,
            upload=study.upload,
            **keywords,
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message a node; the caller's config stays as it is."""
        config = ConfigRecord(dict(config))
        messages = super().configure_train(server_round, arrays, config, grid)
        self._current = arrays_of_record(arrays)
        record = self._packed(arrays)
        self._sent = self._current
        if self.download == "bf16":
            self._sent = unpacked(record, "bf16", shapes_of(self._current))
        return self._carrying(record, messages)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message a node; the caller's config stays as it is."""
        config = ConfigRecord(dict(config))
        messages = super().configure_evaluate(server_round, arrays, config, grid)
        return self._carrying(self._packed(arrays), messages)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the mean model and metrics; None, None without a usable reply."""
        self.tally = Tally()
        expected = self._expected(self._current or {})
        known = self._usual_norm or l2_norm(expected)
        mean = weighted_mean(
            usable(
                replies,
                self.weighted_by_key,
                self.tally,
                model=sent_model(expected) if expected else None,
                read=self._read if self.upload else None,
                usual_norm=known or inf,
            ),
            _float_types(expected),
        )
        if mean is None:
            return None, None
        self._usual_norm = float(np.median(self.tally.norms))
        metrics = self._mean_metrics(self.train_metrics_aggr_fn)
        return record_of(self._next_model(mean)), metrics

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the mean metrics; None without a usable reply."""
        self.tally = Tally()
        for _ in usable(replies, self.weighted_by_key, self.tally, with_arrays=False):
            pass
        if not self.tally.used:
            return None
        return self._mean_metrics(self.evaluate_metrics_aggr_fn)

    def state_dict(self) -> Arrays:
        """Return what the next round needs besides the model."""
        return {"usual_norm": np.array(self._usual_norm)}

    def load_state_dict(self, state: Arrays) -> None:
        """Continue from what `state_dict` returned."""
        self._usual_norm = float(state["usual_norm"])

    def _expected(self, current: Arrays) -> Arrays:
        """Return those of the model's arrays that the hospitals send back: all."""
        return current

    def _next_model(self, mean: Arrays) -> Arrays:
        """Return the centre's next model, made of the hospitals' mean: the mean."""
        return mean

    def _packed(self, arrays: ArrayRecord) -> ArrayRecord:
        """Return the model as it travels."""
        if self.download is None:
            return arrays
        return packed_record(arrays_of_record(arrays), self.download)

    def _carrying(
        self, record: ArrayRecord, messages: Iterable[Message]
    ) -> Iterable[Message]:
        messages = list(messages)
        for message in messages:
            message.content[self.arrayrecord_key] = record
        return messages

    def _read(self, record: ArrayRecord) -> Arrays:
        """Return the model that a hospital's packed record makes of the centre's.

        What comes is the hospital's model, or its difference from what was sent; the
        centre's own model is not rounded, so that small changes are not lost.
        """
        current, sent = self._current or {}, self._sent or {}
        expected = self._expected(current)
        encoding = self.upload or "fp32"
        came = unpacked(record, encoding, shapes_of(expected))
        if encoding != "fp32":
            return {name: expected[name] + change for name, change in came.items()}
        if self.download == "fp32":
            return came
        return {name: expected[name] + (a - sent[name]) for name, a in came.items()}

    def _mean_metrics(self, aggr_fn: MetricsFn) -> MetricRecord:
        if aggr_fn is aggregate_metricrecords:  # Flower's default, spoilt by one NaN
            aggr_fn = mean_metrics
        records = [self.tally.told[node] for node in self.tally.used]
        return aggr_fn(records, self.weighted_by_key)


def _float_types(arrays: Arrays) -> dict[str, np.dtype[Any]]:
    floats = {k: a for k, a in arrays.items() if np.issubdtype(a.dtype, np.inexact)}
    return {name: array.dtype for name, array in floats.items()}
