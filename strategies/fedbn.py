"""FedBN (Li et al. 2021): each hospital keeps its own BatchNorm layers.

Their weights, biases and running statistics never leave the hospital and are not
averaged; the rest is as in FedAvg. So there is no model for a new hospital: it has no
layers of its own. What the centre sends of them are the initial ones, with which a
hospital begins.
"""

from collections.abc import Collection
from typing import Any, Self

from thyroid_fl.packing import Arrays
from thyroid_fl.settings import Study
from thyroid_fl.strategies.fedavg import FedAvg


class FedBN(FedAvg):
    """FedAvg over all arrays but those that stay in the hospitals.

    Args:
        local_names: the arrays that stay; of a study `thyroid_fl.tasks.local_names`.
        keywords: as FedAvg.
    """

    def __init__(self, *, local_names: Collection[str] = (), **keywords: Any) -> None:
        super().__init__(**keywords)
        self.local_names = frozenset(local_names)

    @classmethod
    def from_study(cls, study: Study, **keywords: Any) -> Self:
        """Return the strategy for the BatchNorm layers of the study's model."""
        from thyroid_fl.tasks import build_model, local_names  # torch: only if needed

        names = local_names(build_model(study), study)
        return super().from_study(study, local_names=names, **keywords)

    def _expected(self, current: Arrays) -> Arrays:
        return {n: a for n, a in current.items() if n not in self.local_names}

    def _next_model(self, mean: Arrays) -> Arrays:
        """Return the mean of what is shared, and the rest as it was."""
        # In the model's order, which tells a packed model's arrays apart.
        return {n: mean.get(n, a) for n, a in (self._current or mean).items()}
