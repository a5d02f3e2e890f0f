"""When a fast form can take a plain definition's place: on a CPU without gradients, on a GPU where Triton works."""

from __future__ import annotations

import functools
import importlib
import os
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from segpipe.log import get_logger

SWITCH = "SEGPIPE_FUSED"
"""Environment variable: 0 leaves everything to plain torch."""


def is_plain_cpu(features: Tensor) -> bool:
    """Return whether a tensor is on a CPU, outside of gradients, of compilation and of autocast."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return features.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def can_fuse(tensor: Tensor) -> bool:
    """Return whether a kernel can take this tensor: on a GPU with Triton, in at most 32 bits, not while torch compiles.

    The first question about a GPU compiles and runs a tiny kernel there. Where that fails, as without a C compiler,
    a warning is logged and the answer is False from then on.
    """
    if tensor.device.type != "cuda":
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or os.environ.get(SWITCH) == "0":
        return False
    if tensor.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return False
    return _is_working(tensor.device.index)


def launching_on(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's GPU the current one, on which Triton starts kernels. On a CPU nothing changes."""
    return torch.cuda.device_of(tensor)


@functools.cache
def _is_working(index: int) -> bool:
    try:
        importlib.import_module("triton")
    except ImportError:
        return False
    try:
        probe = importlib.import_module("segpipe.models.fast.triton_probe")
        return bool(probe.is_right_on(index))
    except Exception as error:  # a missing compiler, an old driver or GPU: each raises something else
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        get_logger(__name__).warning(
            "Triton is installed and cannot run on GPU %d (%s). Slower operations of plain torch take its place; "
            "set %s=0 to hide this line.",
            index,
            reason,
            SWITCH,
        )
        return False
