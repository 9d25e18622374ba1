"""FedProx (Li et al. 2020): hospitals are pulled towards the global model."""

from typing import Any, Self

from flwr.serverapp import strategy

from thyroid_fl.settings import Study
from thyroid_fl.strategies.fedavg import FedAvg


class FedProx(FedAvg, strategy.FedProx):
    """Flower's FedProx, with the same keywords, averaged as our FedAvg.

    It sends ``proximal-mu``; the hospital adds mu * (w - w_global) to its gradient.
    """

    @classmethod
    def from_study(cls, study: Study, **keywords: Any) -> Self:
        """Return the strategy with the study's ``proximal_mu``."""
        return super().from_study(study, proximal_mu=study.proximal_mu, **keywords)
