"""How a model keeps its signals in scale, as the study asks.

``batch`` keeps BatchNorm. ``group`` puts GroupNorm in its place. ``weight`` does
without normalisation layers: the kernels are standardised instead, so that nothing
depends on the other pictures of a batch or on a hospital's statistics (Zhuang & Lyu
2024, FedWon). Kernels of mean 0 do not see how bright a picture is as a whole, only how
its parts differ.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST_GROUPS = 32  # Wu & He 2018
# The ReLU of a standard normal has variance (1 - 1 / pi) / 2 (Brock et al. 2021).
RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
EPS = 1e-4


class StandardizedConv2d(nn.Conv2d):
    """Convolution with scaled weight standardisation (Brock et al. 2021, eq. 1).

    Before it is applied, the kernel of each output channel is brought to mean 0 and
    variance gain^2 / fan-in: signals keep their variance through ReLU and convolution.
    """

    scale: Tensor
    """(fan-in,): gain / sqrt(fan-in); not part of the model's state."""

    def __init__(self, layer: nn.Conv2d) -> None:
        """Take over a convolution's shape and weight; the bias starts at 0."""
        names = ("kernel_size", "stride", "padding", "dilation", "groups")
        shape: dict[str, Any] = {name: getattr(layer, name) for name in names}
        super().__init__(layer.in_channels, layer.out_channels, **shape)
        self.weight = layer.weight
        self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        fan_in = layer.weight[0].numel()
        scale = torch.full((fan_in,), RELU_GAIN / math.sqrt(fan_in))
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the convolution (B, C, H, W) with the standardised kernels."""
        kernels = self.weight.flatten(1)  # (C, fan-in)
        fan_in = kernels.shape[1]
        kernels = F.layer_norm(kernels, (fan_in,), self.scale, eps=EPS / fan_in)
        maps: Tensor = self._conv_forward(
            images, kernels.view_as(self.weight), self.bias
        )
        return maps


def with_norm(model: nn.Module, norm: Literal["batch", "group", "weight"]) -> nn.Module:
    """Return the model, its BatchNorm layers and convolutions as ``norm`` says.

    ``group``: the number of groups is the largest divisor of the channels up to 32
    that leaves at least two channels a group (Wu & He 2018); affine parameters keep
    their names. ``weight``: BatchNorm goes, every convolution is standardised and gets
    a bias; meant for models without residual sums, such as DenseNet.
    """
    if norm == "batch":
        return model
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            replaced = _group_norm(layer) if norm == "group" else nn.Identity()
            setattr(model, name, replaced)
        elif isinstance(layer, nn.Conv2d) and norm == "weight":
            setattr(model, name, StandardizedConv2d(layer))
        else:
            with_norm(layer, norm)
    return model


def batch_norm_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all BatchNorm layers' floating-point arrays."""
    return tuple(
        f"{layer_name}.{name}"
        for layer_name, layer in model.named_modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
        for name, tensor in layer.state_dict().items()
        if tensor.is_floating_point()
    )


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
