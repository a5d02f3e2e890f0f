"""ONNX files in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segpipe.extras import import_extra


def open_onnx(path: Path, dtype: str, device: torch.device) -> OnnxSession:
    """Open a session on the processor; ONNX Runtime computes in float32 there, and in int8 where the file says so."""
    runtime = import_extra("onnxruntime", extra="onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that spin after a call would take the processor from torch, which makes the label map.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return OnnxSession(runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))


class OnnxSession:
    """One file in ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(map(torch.from_numpy, self._session.run(None, {self._input: images.numpy()})))
