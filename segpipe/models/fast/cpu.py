"""When a network may take its fastest way on a CPU: products written in place, maps made in strips."""

from __future__ import annotations

import torch
from torch import Tensor


def is_plain_cpu(features: Tensor) -> bool:
    """Whether the tensor is on a CPU and nobody asks for gradients, a graph of operations or another number type."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    return features.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
