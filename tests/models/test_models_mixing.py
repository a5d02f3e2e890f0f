"""The depthwise convolution and its GELU in one pass, and in two."""

import pytest
import torch
from torch.nn import functional

from segpipe.models.fast import mit_block

DTYPES = torch.float32, torch.bfloat16, torch.float64


def material(dtype, size):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 24, *size, generator=generator).to(dtype, memory_format=torch.channels_last)
    return hidden, *(torch.randn(*shape, generator=generator).to(dtype) for shape in ((24, 1, 3, 3), (24,)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", [mit_block.mix, mit_block.mix_in_one_pass, mit_block.mix_in_two_passes])
@pytest.mark.parametrize(("size", "padding"), [((9, 7), 1), ((9, 7), 0), ((1, 6), 1), ((1, 1), 1)])
def test_every_way_equals_float64(way, dtype, size, padding):
    if way is mit_block.mix_in_one_pass and not mit_block._is_one_pass(dtype):
        pytest.skip("not in one pass here")
    hidden, weight, bias = material(dtype, size)
    found = way(hidden, weight, bias, padding=padding)
    expected = functional.gelu(
        functional.conv2d(hidden.double(), weight.double(), bias.double(), padding=padding, groups=24)
    )
    assert (found - expected).abs().max() <= 8 * expected.abs().max() * torch.finfo(dtype).eps


@pytest.mark.parametrize("broken", [None, lambda hidden, *_, **__: hidden])
def test_an_operator_that_is_not_there_or_wrong_is_not_used(broken, monkeypatch):
    monkeypatch.setattr(mit_block, "mix_in_one_pass", broken)
    assert not mit_block._is_one_pass.__wrapped__(torch.float32)


def test_who_disables_onednn_gets_two_passes(monkeypatch):
    monkeypatch.setattr(mit_block, "mix_in_one_pass", None)
    with torch.backends.mkldnn.flags(enabled=False):
        assert mit_block.mix(*material(torch.float32, (9, 7)), padding=1).shape == (2, 24, 9, 7)
