"""The tasks: what a model is for. A new task is one new file and one line in `TASKS`.

Its name also goes into `thyroid_fl.settings.TASK_NAMES`.

A `Task` is a frozen bundle of functions; the training loop, the strategies, the
simulation and the report know nothing else about it.
"""

from typing import Final

import torch
from torch import nn

from thyroid_fl.settings import Study
from thyroid_fl.tasks.classification import CLASSIFICATION
from thyroid_fl.tasks.detection import DETECTION
from thyroid_fl.tasks.norm import batch_norm_names
from thyroid_fl.tasks.segmentation import SEGMENTATION
from thyroid_fl.tasks.task import Task

TASKS: Final[dict[str, Task]] = {
    "detection": DETECTION,
    "segmentation": SEGMENTATION,
    "classification": CLASSIFICATION,
}

__all__ = ["TASKS", "Task", "build_model", "local_names"]


def build_model(study: Study) -> nn.Module:
    """Return the study's model on the CPU: random from its seed, or its weights.

    The global random state is left as it was.

    Raises:
        ConfigError: the file of weights is absent or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(study.seed)  # the CPU's alone
        return TASKS[study.task].build(study)


def local_names(model: nn.Module, study: Study) -> tuple[str, ...]:
    """Return the names of the arrays that stay in the hospitals: FedBN's layers."""
    return batch_norm_names(model) if study.strategy == "fedbn" else ()
