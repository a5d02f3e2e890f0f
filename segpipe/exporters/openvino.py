"""OpenVINO's files: an .xml with its .bin beside it."""

from __future__ import annotations

from pathlib import Path

from segpipe.extras import import_extra

from .onnx import write_onnx
from .torch_export import Trace


def write_openvino(trace: Trace, path: Path) -> None:
    """Write a traced graph by way of ONNX: OpenVINO's converter from torch reports home."""
    between = path.with_suffix(".onnx")
    write_onnx(trace, between)
    try:
        convert_to_openvino(between, path)
    finally:
        between.unlink()


def convert_to_openvino(source: Path, path: Path) -> None:
    """Write an ONNX file as OpenVINO's."""
    openvino = import_extra("openvino", extra="openvino")
    openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=False)
