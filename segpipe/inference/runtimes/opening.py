"""Opening an exported file in the runtime that runs its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .exported import Session
from .onnx_session import open_onnx
from .openvino_session import open_openvino
from .torch_session import open_torch

_OPENERS: dict[str, Callable[[Path, str], Session]] = {
    "onnx": open_onnx,
    "openvino": open_openvino,
    "torch": open_torch,
}


def open_session(path: Path, *, format: str, dtype: str = "float32") -> Session:
    """An exported file, ready to run on the processor with as many threads as torch uses.

    Args:
        path: what `exporters` wrote.
        format: "onnx", "openvino" or "torch".
        dtype: what the runtime computes in; pictures and logits stay as they are. "int8" is for files that say which of
            their products are in int8.

    Raises:
        MissingExtraError: the runtime is not installed.
        InputError: this processor does not compute in the dtype.
    """
    return _OPENERS[format](path, dtype)
