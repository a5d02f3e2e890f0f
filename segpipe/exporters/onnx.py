"""ONNX files: one of floats from a traced graph, and one of int8 from that by ONNX Runtime's static quantizer.

In int8, weights have a scale for each output channel and are symmetric. They have 7 bits, so that no processor
saturates: x86 without VNNI adds two products in 16 bits, which 2 · 255 · 127 exceeds. Activations have one scale for
each tensor, with a zero point, since those behind a GELU or a ReLU lie on one side of zero. Both are written as
QuantizeLinear and DequantizeLinear (QDQ), which ONNX Runtime and OpenVINO compute as products of int8.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from segpipe.errors import InputError
from segpipe.extras import import_extra

from .torch_export import INPUT_NAME, Trace, quiet_torch

PRODUCTS = ("Conv", "MatMul", "Gemm")
"""What is quantized: where the time goes. All else keeps its floats: sums and norms decide between classes by small
differences of large numbers, a softmax has most of its values near zero, and resizing takes hardly any time."""


def write_onnx(trace: Trace, path: Path) -> None:
    """Write an ONNX file with the weights inside."""
    with torch.no_grad(), quiet_torch():
        exported: Any = torch.onnx.export(
            trace.program, (), dynamo=True, input_names=[INPUT_NAME], output_names=list(trace.outputs), verbose=False
        )
    exported.save(path)


def quantize_onnx(path: Path, target: Path, images: Iterator[np.ndarray]) -> None:
    """Write a QDQ file from an ONNX file of floats.

    Args:
        path: what `write_onnx` wrote.
        target: the file that is written.
        images: (B, 3, H, W), as the file takes them; the least and the largest value of each tensor are its range.
    """
    onnx = import_extra("onnx", extra="onnx")
    quantization = import_extra("onnxruntime.quantization", extra="onnx")
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})  # else it advises to do so
    onnx.save(model, path)
    with _quiet_root_logger():
        quantization.quantize_static(
            path,
            target,
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(PRODUCTS),
            nodes_to_quantize=nodes_to_quantize(model.graph),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            reduce_range=True,  # 7 bits of the weights: 2 · 255 · 64 fits into 16 bits
            # What follows a product of matrices is a sum or a norm, in floats. ONNX Runtime wants it of convolutions.
            extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
        )


def nodes_to_quantize(graph: Any) -> list[str]:
    """Return the products with weights, but for the last one before each output and for depthwise convolutions.

    The last one decides between the classes. Depthwise convolutions have one weight per value and tap, so that rounding
    takes as long as computing. Products of two activations are those of attention: their inputs have no scale that is
    right for all tokens, and runtimes fuse them with the softmax between them.
    """
    weights, last = {weight.name for weight in graph.initializer}, _last_products(graph)
    products = [node for node in graph.node if node.op_type in PRODUCTS and node.input[1] in weights]
    names = [node.name for node in products if node.name not in last and not _is_grouped(node)]
    if not names:
        raise InputError("The network has no product but its classifier, so int8 gains nothing. Export it as it is.")
    return names


def _last_products(graph: Any) -> set[str]:
    """Return the products that the outputs follow from without another product between."""
    makers = {output: node for node in graph.node for output in node.output}
    found, names, front = set(), set(), [output.name for output in graph.output]
    while front:
        node = makers.get(front.pop())
        if node is None or node.name in names or node.op_type == "Shape":
            continue
        names.add(node.name)
        if node.op_type in PRODUCTS:
            found.add(node.name)
        else:
            front += node.input
    return found


def _is_grouped(node: Any) -> bool:
    return any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)


class _Reader:
    """The interface by which ONNX Runtime's quantizer asks for images."""

    def __init__(self, images: Iterator[np.ndarray]) -> None:
        self._images = images

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._images, None)
        return None if images is None else {INPUT_NAME: images}


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Give the root logger a handler that does nothing; the quantizer's first message would add one for stderr."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
