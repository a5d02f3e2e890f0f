"""A tiny kernel that shows whether Triton works on a GPU. Importing this imports Triton."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .choosing import launching_on

LENGTH = 16


def is_right_on(index: int) -> bool:
    """Return whether the GPU of this index computes what it should."""
    return is_right(torch.arange(LENGTH, dtype=torch.float32, device=f"cuda:{index}"))


def is_right(values: Tensor) -> bool:
    """Return whether a kernel doubles these `LENGTH` numbers."""
    doubled = torch.empty_like(values)
    with launching_on(values):
        _double[(1,)](values, doubled, LENGTH=LENGTH, enable_fp_fusion=True)
    return torch.equal(doubled, 2 * values)


@triton.jit
def _double(values, doubled, LENGTH: tl.constexpr):
    place = tl.arange(0, LENGTH)
    tl.store(doubled + place, 2 * tl.load(values + place))
