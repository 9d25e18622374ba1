"""Where and how a process computes: device, threads, arithmetic."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import Study

LEAST_BF16_PIXELS = 16 * 64**2


def choose_device(name: str) -> torch.device:
    """Return the device for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: ``cuda`` is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device is 'cuda' but PyTorch sees no CUDA device: check the driver with "
            "nvidia-smi, or use device = 'auto'"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def set_threads(n_threads: int) -> None:
    """Give this process so many threads; 0 takes all cores it may run on."""
    wanted = n_threads or len(os.sched_getaffinity(0))
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)


def uses_bf16(study: Study, device: torch.device) -> bool:
    """Return whether the forward pass runs in bfloat16.

    ``auto`` says yes on CUDA, and on a CPU with bfloat16 instructions where it was
    faster (benchmarks/precision.py): not with GroupNorm, and not for small batches.
    """
    if study.precision != "auto":
        return study.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    n_pixels = study.batch_size * study.image_px**2
    pays = study.norm != "group" and n_pixels >= LEAST_BF16_PIXELS
    return pays and bool(torch.cpu._is_avx512_bf16_supported())


def autocast(study: Study, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which the model is called."""
    if not uses_bf16(study, device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move the model to the device, convolutions in channels-last layout."""
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
