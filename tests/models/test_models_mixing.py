"""The depthwise convolution and its GELU in one pass against the same in two."""

import pytest
import torch
from torch.nn import functional

from segpipe.models import mixing


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("padding", [0, 1])
def test_one_pass_equals_two(dtype, padding, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 24, 9, 7, generator=generator).to(dtype, memory_format=torch.channels_last)
    weight, bias = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((24, 1, 3, 3), (24,)))
    found = mixing.mix(hidden, weight, bias, padding=padding)
    exact = [tensor.double() for tensor in (hidden, weight, bias)]
    expected = functional.gelu(functional.conv2d(*exact, padding=padding, groups=24))
    rounding = expected.abs().max() * torch.finfo(dtype).eps
    assert (found - expected).abs().max() <= 8 * rounding
    assert found.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(mixing, "_is_one_pass", lambda _: False)
    in_two = mixing.mix(hidden, weight, bias, padding=padding)
    assert (in_two - expected).abs().max() <= 8 * rounding


def test_without_onednn_it_is_done_in_two(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not mixing._is_one_pass.__wrapped__(torch.float32)
