"""How hospitals' updates become the next model: no I/O, no transport.

A new strategy is one new file and one line in `STRATEGIES`. Every strategy works in any
Flower app: ``FedAvg(fraction_train=0.5).start(grid, arrays, num_rounds=3)``.
"""

from thyroid_fl.settings import Study
from thyroid_fl.strategies.fedadam import FedAdam
from thyroid_fl.strategies.fedavg import FedAvg
from thyroid_fl.strategies.fedbn import FedBN
from thyroid_fl.strategies.fedprox import FedProx

__all__ = ["STRATEGIES", "FedAdam", "FedAvg", "FedBN", "FedProx", "make_strategy"]

STRATEGIES: dict[str, type[FedAvg]] = {
    "fedavg": FedAvg,
    "fedprox": FedProx,
    "fedadam": FedAdam,
    "fedbn": FedBN,
}


def make_strategy(study: Study) -> FedAvg:
    """Return the study's strategy, set as the study says."""
    return STRATEGIES[study.strategy].from_study(study)
