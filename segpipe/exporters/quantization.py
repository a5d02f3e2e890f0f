"""int8 files: what is quantised and what is not, ONNX Runtime's static quantiser, and the check of what came out.

Weights have a scale for each output channel and are symmetric. They have 7 bits, so that no processor saturates:
x86 without VNNI adds two products in 16 bits, which 2 · 255 · 127 exceeds. Activations have one scale for each tensor,
with a zero point, since those behind a GELU or a ReLU lie on one side of zero. Both are written as QuantizeLinear and
DequantizeLinear (QDQ), which ONNX Runtime and OpenVINO compute as products of int8.

SegFormer-B0 on CamVid's 101 validation pictures in ONNX Runtime, calibrated with 16 others, without padding: mIoU
62.98 → 62.97, a third of the bytes. It is not always faster: on a processor with AMX, OpenVINO took half the time of
its float32 but 1.2 times that of its bfloat16, and ONNX Runtime 1.6 times that of its float32. Where bfloat16 is
there, prefer it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe import advice
from segpipe.errors import InputError, NumericalError
from segpipe.extras import import_extra
from segpipe.inference import ExportedNetwork, open_session, pixel_array
from segpipe.models import SegpipeNetwork

from .calibration import Calibration, see_pictures
from .formats import Format, write_onnx
from .graph import INPUT_NAME, OUTPUT_NAME, trace_network
from .verification import Agreement

QUANTIZATION_VERSION = 2
"""To be raised when what is quantised changes, so that kept files are made again."""
MIN_AGREEMENT = 0.95
"""The share of cells of the network's grid that must keep their class on the pictures of the calibration."""
PRODUCTS = ("Conv", "MatMul", "Gemm")
"""What is quantised: where the time goes. All else keeps its floats: sums and norms decide between classes by small
differences of large numbers, a softmax has most of its values near zero, and resizing takes hardly any time."""


def quantized_format(format: Format) -> Format:
    """A format as it is for int8 files, which need ONNX Runtime's quantiser; InputError where there are none."""
    if format.from_onnx is None:
        raise InputError(
            f"The format {format.name!r} has no int8 files. Give {advice.argument('format', 'onnx')} or "
            f"{advice.argument('format', 'openvino')}."
        )
    packages = dict.fromkeys((*format.packages, "onnxruntime"))
    return replace(format, packages=tuple(packages), extra=",".join(dict.fromkeys(("onnx", format.extra))))


def write_quantized(
    network: SegpipeNetwork, path: Path, format: Format, *, pixels: torch.dtype, calibration: Calibration
) -> None:
    """An int8 file of a network, with two ONNX files beside it that nobody needs any more.

    Args:
        network: float32, on the processor, in evaluation mode.
        path: of the file.
        format: see `quantized_format`.
        pixels: the type of the pictures that the file takes.
        calibration: the pictures whose values give the ranges.
    """
    assert format.from_onnx is not None
    floats, integers = path.with_name("float.onnx"), path.with_name("int8.onnx")
    write_onnx(trace_network(network, pixels), floats)
    looks = see_pictures(network, calibration.pictures, calibration)
    quantize_onnx(floats, integers, (pixel_array(images, pixels) for images, _ in looks))
    format.from_onnx(integers, path)


def quantize_onnx(path: Path, target: Path, pictures: Iterator[np.ndarray]) -> None:
    """A QDQ file from an ONNX file of floats.

    Args:
        path: what `write_onnx` wrote.
        target: of the file that is written.
        pictures: (B, 3, H, W), as the file takes them; the least and the largest value of each tensor are its range.
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
            _Reader(pictures),
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
    """Names of the products with weights, but for the last one before the logits and for depthwise convolutions.

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


def measure_agreement(
    network: SegpipeNetwork, path: Path, format: Format, *, pixels: torch.dtype, calibration: Calibration
) -> tuple[Agreement, float, tuple[tuple[int, int], ...]]:
    """How an int8 file decides beside its network; the largest difference of a logit, as a share of the largest one,
    on the pictures of the calibration; and the sizes of those.

    Raises:
        NumericalError: less than `MIN_AGREEMENT` of the cells keep their class, or a logit is no number.
    """
    session = open_session(path, format=format.name, dtype="int8")
    exported = ExportedNetwork(session, network, tuple(network.pixel_mean.tolist()), pixels=pixels)
    seen = _compare(exported, see_pictures(network, calibration.pictures, calibration))
    if not seen.share >= MIN_AGREEMENT or not np.isfinite(seen.difference):
        raise NumericalError(
            f"Only {seen.share:.1%} of the cells of the logits' grid keep their class in int8, on the pictures of the "
            f"calibration; {MIN_AGREEMENT:.0%} is what a sound file keeps. Nothing was kept. "
            f"Calibrate with more images like those to come, or give {advice.argument('dtype', 'float32')}."
        )
    others = _compare(exported, see_pictures(network, calibration.others, calibration))
    has_others = bool(calibration.others)
    agreement = Agreement(
        len(calibration.pictures), seen.share, len(calibration.others), others.share if has_others else None
    )
    return agreement, seen.difference, seen.sizes


@dataclass(frozen=True)
class _Comparison:
    share: float
    difference: float
    sizes: tuple[tuple[int, int], ...]


@torch.inference_mode()
def _compare(exported: ExportedNetwork, looks: Iterator[tuple[Tensor, Tensor]]) -> _Comparison:
    same = cells = 0
    differences, sizes = [], []
    for images, expected in looks:
        found = exported(images)
        same += int((found.argmax(1) == expected.argmax(1)).sum())
        cells += found[:, 0].numel()
        differences.append(float((found - expected).abs().max() / expected.abs().max()))
        sizes.append((images.shape[-2], images.shape[-1]))
    largest = float(np.max(differences, initial=0.0))  # NaN where one is
    return _Comparison(same / max(cells, 1), largest, tuple(dict.fromkeys(sizes)))


def _last_products(graph: Any) -> set[str]:
    """Names of the products that the logits follow from without another product between."""
    makers = {output: node for node in graph.node for output in node.output}
    found, names, front = set(), set(), [OUTPUT_NAME]
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
    """What ONNX Runtime's quantiser asks for pictures."""

    def __init__(self, pictures: Iterator[np.ndarray]) -> None:
        self._pictures = pictures

    def get_next(self) -> dict[str, np.ndarray] | None:
        images = next(self._pictures, None)
        return None if images is None else {INPUT_NAME: images}


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """The quantiser talks to the root logger, which would get a handler for standard error by that."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
