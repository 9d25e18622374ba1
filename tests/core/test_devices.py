"""Where and how a process computes."""

import os

import pytest
import torch
from torch import nn

from thyroid_fl.devices import autocast, choose_device, place, set_threads, uses_bf16
from thyroid_fl.errors import ConfigError
from thyroid_fl.settings import make_study

CPU = torch.device("cpu")
without_cuda = pytest.mark.skipif(
    torch.cuda.is_available(), reason="this machine has a CUDA device"
)


@pytest.fixture
def threads():
    """Give the process its threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@without_cuda
def test_auto_takes_the_cpu_where_there_is_no_cuda():
    assert choose_device("auto") == CPU
    assert choose_device("cpu") == CPU


@without_cuda
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(ConfigError, match=r"no CUDA device.*use device = 'auto'"):
        choose_device("cuda")


@pytest.mark.usefixtures("threads")
def test_threads_are_as_many_as_asked_for_or_as_there_are_cores():
    set_threads(1)
    assert torch.get_num_threads() == 1

    set_threads(0)
    assert torch.get_num_threads() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("precision", "dtype"), [
    ("fp32", torch.float32), ("bf16", torch.bfloat16),
])  # fmt: skip
def test_precision_decides_the_arithmetic_of_the_forward_pass(precision, dtype):
    study = make_study(precision=precision)
    layer = nn.Linear(4, 4)

    with autocast(study, CPU):
        outputs = layer(torch.rand(2, 4))

    assert outputs.dtype == dtype
    assert layer.weight.dtype == torch.float32


def test_auto_on_the_cpu_is_bf16_where_it_pays():
    has_bf16 = torch.cpu._is_avx512_bf16_supported()

    def chosen(norm, batch_size):
        study = make_study(norm=norm, batch_size=batch_size, image_px=64)
        return uses_bf16(study, CPU)

    assert chosen("batch", 16) == chosen("weight", 16) == has_bf16
    assert not chosen("group", 16)
    assert not chosen("weight", 8)


def test_a_placed_model_has_channels_last_convolutions():
    model = place(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), CPU)

    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
