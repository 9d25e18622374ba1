"""A model's floating-point arrays: all that a federation exchanges.

Integer buffers (BatchNorm's ``num_batches_tracked``) stay where they are.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from thyroid_fl.errors import ConfigError, RoundError

Arrays = Mapping[str, NDArray[np.floating]]


def float_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the floating-point tensors of the model's state, by name, not copied."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }


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
