"""A model's floating-point arrays: all that a federation exchanges.

Integer buffers (BatchNorm's ``num_batches_tracked``) stay where they are.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from thyroid_fl.errors import ConfigError, RoundError
from thyroid_fl.packing import Shapes

logger = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[np.floating]]


def float_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of the model's state, by name, not copied."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


def model_shapes(model: nn.Module) -> Shapes:
    """Return names and shapes of the model's floating-point arrays, in its order."""
    state = float_state(model)
    return tuple((name, tuple(tensor.shape)) for name, tensor in state.items())


def views_of(model: nn.Module) -> dict[str, NDArray[np.floating]]:
    """Return the model's floating-point arrays by name, not copied on the CPU."""
    return {
        name: tensor.detach().cpu().numpy()
        for name, tensor in float_state(model).items()
    }


def arrays_of(model: nn.Module) -> dict[str, NDArray[np.floating]]:
    """Return copies of the model's floating-point arrays, row-major, by name."""
    return {name: array.copy() for name, array in views_of(model).items()}


@torch.no_grad()
def load_arrays(model: nn.Module, arrays: Arrays) -> None:
    """Copy the arrays into the model, in place.

    Raises:
        RoundError: a name is missing or too many, or a shape differs.
    """
    state = float_state(model)
    if state.keys() != arrays.keys():
        differing = sorted(state.keys() ^ arrays.keys())
        raise RoundError(
            f"the received model differs from the one built here in {len(differing)} "
            f"arrays, first {differing[0]!r}: use the same task, preset and version"
        )
    for name, tensor in state.items():
        array = arrays[name]
        if tuple(tensor.shape) != array.shape:
            raise RoundError(
                f"array {name!r} has shape {array.shape}; this model expects "
                f"{tuple(tensor.shape)}: use the same task, preset and version"
            )
        if tensor.device.type == "cpu":
            np.copyto(tensor.numpy(), array)  # received arrays are read-only
        else:
            tensor.copy_(torch.from_numpy(array.copy()))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a safetensors file or a torch state_dict.

    Raises:
        ConfigError: the file is absent or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on a foreign file
        raise ConfigError(
            f"weights {path}: cannot be read ({type(error).__name__}); expected a "
            ".safetensors file or a state_dict saved with torch.save"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ConfigError(f"weights {path}: expected a state_dict (name -> tensor)")
    return state


def load_pretrained(
    model: nn.Module, path: Path, *, stem: str, needed: str, expected: str
) -> None:
    """Load what fits of a pretrained model; its RGB kernels are summed for grey.

    The file may be of the model or of the part that its stem lies in: of names such as
    ``encoder.features.conv0.weight`` it may leave out the first.

    Args:
        model: of one input channel.
        path: as `read_weights` takes it.
        stem: name of the first convolution's weight.
        needed: pattern of the names' beginnings that have to be in the file.
        expected: what the file should hold, for the message.

    Raises:
        ConfigError: an array that is needed is absent or of another shape.
    """
    own = model.state_dict()
    part = stem.partition(".")[0] + "."
    fitting = {}
    for name, tensor in read_weights(path).items():
        known = _modern_name(name.removeprefix("module."))
        known = known if known in own else part + known
        if known == stem and tensor.ndim == 4 and tensor.shape[1] == 3:
            tensor = tensor.sum(1, keepdim=True)  # (C, 1, height, width)
        if known in own and own[known].shape == tensor.shape:
            fitting[known] = tensor
    absent = [n for n in own if re.match(needed, n) and n not in fitting]
    if absent:
        raise ConfigError(
            f"weights {path}: {len(absent)} arrays of the model's features are absent "
            f"or of another shape, first {absent[0]!r}; expected {expected}"
        )
    model.load_state_dict(fitting, strict=False)
    if left := len(own) - len(fitting):
        logger.info("weights %s: %d of %d arrays stay random", path, left, len(own))


def _modern_name(name: str) -> str:
    """Return the name as torchvision writes it since 0.3 (norm.1 -> norm1)."""
    return re.sub(r"\.(norm|relu|conv)\.([12])\.", r".\1\2.", name)
