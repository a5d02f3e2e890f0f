"""OpenVINO's files in OpenVINO.

A graph that is compiled for one size takes half the time of one for all sizes, and compiling takes some tenths of a
second. So the first image of a size goes through the graph for all sizes, and with the second one the graph is
compiled for it; the last few sizes are kept.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe.errors import InputError
from segpipe.extras import import_extra

SIZES_KEPT = 4
"""Input shapes whose own graph is kept; each holds the weights once more."""
SHAPES_REMEMBERED = 256


def open_openvino(path: Path, dtype: str, device: torch.device) -> OpenvinoSession:
    """Open a session on the processor; InputError where it does not compute in the dtype."""
    check_dtype(dtype)
    openvino = import_extra("openvino", extra="openvino")
    properties = {
        # What is not int8 in a file of int8 is bfloat16 where the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if dtype != "float32" and _has_bfloat16() else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    return OpenvinoSession(openvino, _shared_core().read_model(path), properties)


def check_dtype(dtype: str) -> None:
    """Raise InputError where the processor does not compute in the dtype."""
    if dtype == "bfloat16" and not _has_bfloat16():
        raise InputError(
            "This processor does not compute in bfloat16 (it has neither AVX-512 BF16 nor AMX). "
            "Leave the dtype out: float32."
        )


class OpenvinoSession:
    """One file in OpenVINO.

    Args:
        openvino: the package.
        model: the graph for all sizes.
        properties: how it is compiled.
    """

    def __init__(self, openvino: Any, model: Any, properties: dict[str, Any]) -> None:
        self._openvino, self._model, self._properties = openvino, model, properties
        self._lock = threading.Lock()
        self._general: Any = None
        self._seen: OrderedDict[tuple[int, ...], None] = OrderedDict()
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def run(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Session.run`. Calls of several threads wait for one another."""
        pixels = images.numpy()
        with self._lock:
            request = self._request_for(pixels.shape)
            if request is None:
                return self._run_general(pixels)
            arrays = [np.empty(output.shape, np.float32) for output in request.output_tensors]
            request.set_input_tensor(self._openvino.Tensor(pixels, shared_memory=True))
            for index, array in enumerate(arrays):
                request.set_output_tensor(index, self._openvino.Tensor(array, shared_memory=True))
            request.infer()
            return tuple(map(torch.from_numpy, arrays))

    def _request_for(self, shape: tuple[int, ...]) -> Any:
        """Return the request of the graph for one shape. The first time that the shape comes, return None."""
        request = self._compiled.get(shape)
        if request is not None:
            self._compiled.move_to_end(shape)
            return request
        if shape not in self._seen:
            self._seen[shape] = None
            while len(self._seen) > SHAPES_REMEMBERED:
                self._seen.popitem(last=False)
            return None
        model = self._model.clone()
        model.reshape(list(shape))
        self._compiled[shape] = request = self._compile(model)
        while len(self._compiled) > SIZES_KEPT:
            self._seen.pop(self._compiled.popitem(last=False)[0], None)
        return request

    def _run_general(self, pixels: np.ndarray) -> tuple[Tensor, ...]:
        if self._general is None:
            self._general = self._compile(self._model)
        outputs = self._general.infer([pixels], share_inputs=True, share_outputs=False)
        return tuple(torch.from_numpy(outputs[index]) for index in range(len(outputs)))

    def _compile(self, model: Any) -> Any:
        compiled = _shared_core().compile_model(model, "CPU", self._properties)
        return compiled.create_infer_request()


@functools.cache
def _shared_core() -> Any:
    """Return one for the process, which is never let go.

    The plugin of each core gives the thread that loads it another stack for signals. Where several cores go in another
    order than they came, a stack that is freed stays registered, and the next Ctrl-C is a segmentation fault.
    """
    return import_extra("openvino", extra="openvino").Core()


def _has_bfloat16() -> bool:
    return "BF16" in _shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
