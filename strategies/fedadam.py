"""FedAdam (Reddi et al. 2021, algorithm 2): Adam at the centre.

The mean of the hospitals' updates, delta = mean - current, takes the gradient's place::

    m = beta_1 m + (1 - beta_1) delta
    v = beta_2 v + (1 - beta_2) delta^2
    x = x + eta sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + tau)

with t = 1 at the first update: Adam's bias correction (Kingma and Ba 2015), which the
paper leaves out. It differs from Flower's FedAdam (1.41), which

- moves every array, so that BatchNorm's running variance can turn negative; here
  buffers are plain averages and only the other floating-point arrays are moved;
- corrects the bias with t + 1, so that the first step is .74 of what it should be, and
  counts t from 1 again after a resume; here t is part of the state;
- turns a float32 model into float64 after the first round, twice the traffic.
"""

from collections.abc import Collection
from typing import Any, Self

import numpy as np
from flwr.serverapp import strategy
from flwr.serverapp.exception import AggregationError
from numpy.typing import NDArray

from thyroid_fl.packing import Arrays
from thyroid_fl.settings import Study
from thyroid_fl.strategies.fedavg import FedAvg

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
"""PyTorch's names for what a normalisation layer counts rather than learns."""


class FedAdam(FedAvg, strategy.FedAdam):
    """Flower's FedAdam, with the same keywords, averaged as our FedAvg.

    Args:
        buffer_names: arrays that are averaged and not moved by Adam, by their whole
            name or its last dotted part; None: `BUFFERS`.
        keywords: Flower's own.
    """

    def __init__(
        self, *, buffer_names: Collection[str] | None = None, **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        self.buffer_names = frozenset(BUFFERS if buffer_names is None else buffer_names)
        self.n_updates = 0

    @classmethod
    def from_study(cls, study: Study, **keywords: Any) -> Self:
        """Return the strategy with the study's ``server_learning_rate``."""
        return super().from_study(study, eta=study.server_learning_rate, **keywords)

    def state_dict(self) -> Arrays:
        """Return the moments and the number of updates so far, for a checkpoint."""
        return super().state_dict() | {
            "n_updates": np.array(self.n_updates),
            **{f"m/{name}": m for name, m in (self.m_t or {}).items()},
            **{f"v/{name}": v for name, v in (self.v_t or {}).items()},
        }

    def load_state_dict(self, state: Arrays) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state)
        self.n_updates = int(state["n_updates"])
        self.m_t = {k[2:]: a for k, a in state.items() if k.startswith("m/")}
        self.v_t = {k[2:]: a for k, a in state.items() if k.startswith("v/")}

    def _next_model(self, mean: Arrays) -> Arrays:
        """Return the current model, moved by one step of Adam."""
        if self.current_arrays is None:
            raise AggregationError(reason="call configure_train before aggregate_train")
        self.n_updates += 1
        return {
            name: self._step(name, self.current_arrays[name], array)
            if self._is_parameter(name, array)
            else array
            for name, array in mean.items()
        }

    def _is_parameter(self, name: str, array: NDArray[Any]) -> bool:
        return (
            np.issubdtype(array.dtype, np.floating)
            and name not in self.buffer_names
            and name.rpartition(".")[2] not in self.buffer_names
        )

    def _step(
        self, name: str, current: NDArray[Any], mean: NDArray[Any]
    ) -> NDArray[Any]:
        """Return the array after one step; the moments keep its type, as all else."""
        self.m_t, self.v_t = self.m_t or {}, self.v_t or {}
        delta = mean - current
        m = self.m_t[name] = np.asarray(
            self.beta_1 * self.m_t.get(name, 0.0) + (1 - self.beta_1) * delta
        )
        v = self.v_t[name] = np.asarray(
            self.beta_2 * self.v_t.get(name, 0.0) + (1 - self.beta_2) * delta**2
        )
        # A Python float: a numpy one would turn float32 arrays into float64.
        eta = float(
            self.eta
            * np.sqrt(1 - self.beta_2**self.n_updates)
            / (1 - self.beta_1**self.n_updates)
        )
        return np.asarray(current + eta * m / (np.sqrt(v) + self.tau))
