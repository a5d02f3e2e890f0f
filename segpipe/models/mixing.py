"""The depthwise convolution of a Mix-FFN together with its GELU."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional


def mix(hidden: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    """GELU of the depthwise convolution, in one pass where oneDNN does it (as for torch's own compiler), where no
    gradient is asked for: in two, the GELU takes most of the time, and another map as large.

    Args:
        hidden: (B, E, H, W).
        weight: (E, 1, 3, 3).
        bias: (E,).
        padding: zeros around the map.
    """
    if _is_one_pass(hidden.dtype) and torch.backends.mkldnn.enabled:
        return torch.ops.mkldnn._convolution_pointwise(
            hidden, weight, bias, [padding, padding], [1, 1], [1, 1], len(bias), "gelu", [], "none"
        )
    return functional.gelu(functional.conv2d(hidden, weight, bias, padding=padding, groups=len(bias)))


@cache
def _is_one_pass(dtype: torch.dtype) -> bool:
    """Whether this torch has the operator, which is none of its public ones, and it is fast in that type here."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return False
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
