"""The graph that every format is written from, traced by torch.export, and its .pt2 file.

Normalization and padding are inside, and the weights are folded as in evaluation.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from segpipe.models import SegpipeNetwork, as_tuple

GRAPH_VERSION = 1
"""To be raised when the graph of the same weights changes, so that kept files are made again."""
EXAMPLE_SHAPE = (2, 3, 131, 173)
"""Of the images that the graph is traced with; only their shape matters, and none of its sizes is special."""
INPUT_NAME = "images"


class Trace(NamedTuple):
    """A traced graph."""

    program: ExportedProgram
    outputs: tuple[str, ...]
    """The names of its outputs, see `SegpipeNetwork.output_names`."""


class ExportGraph(nn.Module):
    """(B, 3, H, W) RGB 0–255 → the output's tensors, maps channels last: mostly (B, h, w, K) float32 logits.

    Args:
        network: float32, in evaluation mode, its weights folded.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: SegpipeNetwork) -> None:
        super().__init__()
        # The network's own `normalise` decides by numbers whether to pad, and here sizes are symbols: the copy, which
        # has the same weights, gets images that are ready.
        self.network = copy.copy(network)
        self.network.__dict__["normalise"] = _as_it_is
        self.register_buffer("mean", network.pixel_mean.view(3, 1, 1).clone(), persistent=False)
        self.register_buffer("std", network.pixel_std.view(3, 1, 1).clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """See the class."""
        pixels = (images.to(torch.float32) - self.mean) / self.std
        height, width = images.shape[-2:]
        padding = (0, self._padded(width) - width, 0, self._padded(height) - height)
        tensors = as_tuple(self.network(functional.pad(pixels, padding)))
        outputs = tuple(tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor for tensor in tensors)
        return outputs if len(outputs) > 1 else outputs[0]

    def _padded(self, side: int) -> int:
        """Return `SegpipeNetwork.input_size` of one side, which may be a symbol."""
        multiple = self.network.size_multiple
        least = torch.sym_max(side, self.network.min_size) if self.network.min_size > 1 else side
        return (least + multiple - 1) // multiple * multiple


def trace_network(network: SegpipeNetwork, pixels: torch.dtype) -> Trace:
    """Trace a network for images in the type `pixels`, with symbols for their number, height and width."""
    graph = ExportGraph(network).eval()
    example = torch.zeros(EXAMPLE_SHAPE, dtype=pixels)
    shapes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    with torch.no_grad(), quiet_torch():
        program = torch.export.export(graph, (example,), dynamic_shapes=shapes, strict=False)
    return Trace(program, network.output_names)


def write_torch(trace: Trace, path: Path) -> None:
    """Write what `torch.export.load` opens."""
    content = io.BytesIO()
    with quiet_torch():
        torch.export.save(trace.program, content)
    path.write_bytes(content.getbuffer())  # by name, torch's writer would end the process on a full disk


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence what torch's exporters log and warn about their own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _as_it_is(images: Tensor) -> Tensor:
    return images
