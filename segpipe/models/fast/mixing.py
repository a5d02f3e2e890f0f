"""The depthwise convolution of a Mix-FFN together with its GELU."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


def mix(hidden: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    """GELU of the depthwise convolution, where no gradient is asked for.

    In one pass where oneDNN does it, which takes two thirds of the time and makes one map instead of two.

    Args:
        hidden: (B, E, H, W).
        weight: (E, 1, 3, 3).
        bias: (E,).
        padding: zeros around the map.
    """
    if torch.backends.mkldnn.enabled and _is_one_pass(hidden.dtype):
        return mix_in_one_pass(hidden, weight, bias, padding=padding)
    return mix_in_two_passes(hidden, weight, bias, padding=padding)


def mix_in_one_pass(hidden: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    """By the operator that torch's compiler puts in place of the two; it is none of torch's public ones."""
    mixed: Tensor = torch.ops.mkldnn._convolution_pointwise(
        hidden, weight, bias, [padding, padding], [1, 1], [1, 1], len(bias), "gelu", [], "none"
    )
    return mixed


def mix_in_two_passes(hidden: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    """By torch's convolution and GELU."""
    return functional.gelu(functional.conv2d(hidden, weight, bias, padding=padding, groups=len(bias)))


@cache
def _is_one_pass(dtype: torch.dtype) -> bool:
    """Whether this torch has the operator, on a processor for which oneDNN makes it fast, and it is right."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    generator = torch.Generator().manual_seed(0)
    shapes = (1, 8, 5, 4), (8, 1, 3, 3), (8,)
    hidden, weight, bias = (torch.randn(*shape, generator=generator).to(dtype) for shape in shapes)
    expected = mix_in_two_passes(hidden.double(), weight.double(), bias.double(), padding=1)
    try:
        found = mix_in_one_pass(hidden, weight, bias, padding=1)
    except Exception:  # not there, with other arguments, not in this type: each raises something else
        return False
    return bool((found - expected).abs().max() <= 8 * torch.finfo(dtype).eps * expected.abs().max())
