"""What the tests of the Triton kernels share: the kernels on a GPU, or in Triton's interpreter where there is none."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

import pytest
import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
needs_gpu = pytest.mark.skipif(DEVICE.type != "cuda", reason="needs a GPU")


def import_kernels(name: str) -> Any:
    """A module of kernels; skips without Triton, or when somebody imported it before for a GPU that is not there."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton")
    if DEVICE.type == "cuda":
        return importlib.import_module(name)
    if "triton" not in sys.modules:
        os.environ["TRITON_INTERPRET"] = "1"  # for good: parts of Triton look again when a kernel runs
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("triton was imported before, for a GPU")
    return importlib.import_module(name)


def on_device(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Copies on the device that the kernels run on."""
    return tuple(tensor.to(DEVICE) for tensor in tensors)
