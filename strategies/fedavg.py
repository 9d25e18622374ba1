"""FedAvg (McMahan et al. 2017): the hospitals' mean model, weighted by their cases."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from thyroid_fl.settings import Study
from thyroid_fl.strategies.arrays import Arrays, arrays_of_record, record_of
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
    """

    tally = Tally()
    """Which replies were used in the last aggregation; replaced by each."""
    _sent: Arrays | None = None

    @classmethod
    def from_study(cls, study: Study, **keywords: Any) -> Self:
        """Return the strategy that a study asks for; all connected hospitals take part.

        Flower's minimum is 1 here, since it waits for it for ever: quorum and the
        bounded wait are the round engine's.
        """
        return cls(
            min_train_nodes=1,
            min_evaluate_nodes=1,
            min_available_nodes=1,
            evaluate_metrics_aggr_fn=validation_metrics,
            **keywords,
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message a node; the caller's config stays as it is."""
        self._sent = arrays_of_record(arrays)
        config = ConfigRecord(dict(config))
        messages: Iterable[Message] = super().configure_train(
            server_round, arrays, config, grid
        )
        return messages

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Return one message a node; the caller's config stays as it is."""
        config = ConfigRecord(dict(config))
        messages: Iterable[Message] = super().configure_evaluate(
            server_round, arrays, config, grid
        )
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Return the mean model and metrics; None, None without a usable reply."""
        self.tally = Tally()
        sent = self._sent or {}
        mean = weighted_mean(
            usable(
                replies,
                self.weighted_by_key,
                self.tally,
                model=sent_model(sent) if sent else None,
            ),
            {k: a.dtype for k, a in sent.items() if np.issubdtype(a.dtype, np.inexact)},
        )
        if mean is None:
            return None, None
        return record_of(mean), self._mean_metrics(self.train_metrics_aggr_fn)

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
        """Return what the next round needs besides the model: nothing."""
        return {}

    def load_state_dict(self, state: Arrays) -> None:
        """Continue from what `state_dict` returned."""

    def _mean_metrics(self, aggr_fn: MetricsFn) -> MetricRecord:
        if aggr_fn is aggregate_metricrecords:  # Flower's default, spoilt by one NaN
            aggr_fn = mean_metrics
        records = [self.tally.told[node] for node in self.tally.used]
        return aggr_fn(records, self.weighted_by_key)
