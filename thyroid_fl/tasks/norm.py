"""Normalisation layers of any model, as the study asks."""

from typing import Literal

from torch import nn

MOST_GROUPS = 32  # Wu & He 2018


def with_norm(model: nn.Module, norm: Literal["batch", "group"]) -> nn.Module:
    """Return the model, its BatchNorm layers replaced by GroupNorm if ``group``.

    The number of groups is the largest divisor of the channels up to 32 that leaves
    at least two channels a group (Wu & He 2018); affine parameters keep their names.
    """
    if norm == "batch":
        return model
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            setattr(model, name, _group_norm(layer))
        else:
            with_norm(layer, norm)
    return model


def _group_norm(layer: nn.BatchNorm2d) -> nn.GroupNorm:
    channels = layer.num_features
    groups = max(
        (
            g
            for g in range(1, MOST_GROUPS + 1)
            if channels % g == 0 and channels // g > 1
        ),
        default=1,
    )
    return nn.GroupNorm(groups, channels, eps=layer.eps)
