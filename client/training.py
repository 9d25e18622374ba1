"""The one local-update loop: every task, strategy, arm and privacy setting uses it."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thyroid_fl.batches import Batch
from thyroid_fl.devices import autocast
from thyroid_fl.errors import RoundError
from thyroid_fl.settings import Study
from thyroid_fl.tasks import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalUpdate:
    """What a hospital's training in one round came to; the model holds the weights."""

    n_steps: int
    loss: float
    """Mean loss over all pictures of all steps, each before its step; NaN if none."""


def local_update(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    study: Study,
) -> LocalUpdate:
    """Train the model in place on the batches, one optimizer step each.

    Nothing is read back from the device before the end.

    Raises:
        RoundError: the weights or the loss are no longer finite.
    """
    model.train()
    n_steps, n_pictures, total = 0, 0, torch.zeros(())
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        with autocast(study, batch.images.device):
            outputs = model(batch.images)
        loss = task.loss(outputs.float(), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        total = total.to(loss.device) + loss.detach() * len(batch.images)
        n_steps, n_pictures = n_steps + 1, n_pictures + len(batch.images)
    if not bool(_finite(model, total)):
        raise RoundError(
            "training diverged: the loss or the weights are not finite; "
            "lower learning_rate, or use precision = 'fp32'"
        )
    loss_mean = total.item() / n_pictures if n_pictures else float("nan")
    return LocalUpdate(n_steps=n_steps, loss=loss_mean)


def make_optimizer(
    model: nn.Module, study: Study, learning_rate: float, proximal_mu: float
) -> torch.optim.Optimizer:
    """Return a fresh optimizer, with FedProx's pull if ``proximal_mu`` is not zero."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if study.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            trained,
            learning_rate,
            momentum=study.momentum,
            weight_decay=study.weight_decay,
            fused=True,
        )
    else:
        optimizer = torch.optim.AdamW(
            trained, learning_rate, weight_decay=study.weight_decay, fused=True
        )
    if proximal_mu:
        pull_towards_start(optimizer, trained, proximal_mu)
    return optimizer


def pull_towards_start(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], mu: float
) -> None:
    """Add FedProx's gradient mu (w - w_global) before every step (Li et al. 2020).

    In a step hook, not in the loss: Opacus rebuilds the gradient from per-case
    gradients, so a term in the loss would be dropped without a word.
    The parameters' values now are w_global.
    """
    start = [p.detach().clone() for p in parameters]

    @torch.no_grad()
    def add_pull(*_: object) -> None:
        for parameter, anchor in zip(parameters, start, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(parameter - anchor, alpha=mu)

    optimizer.register_step_pre_hook(add_pull)


def _finite(model: nn.Module, total: Tensor) -> Tensor:
    """Return one boolean on the device: all weights and the loss are finite."""
    norms = torch._foreach_norm([p.detach() for p in model.parameters()])
    return torch.isfinite(
        torch.stack([n.to(total.device) for n in norms]).sum() + total
    )
