"""`segpipe export`: a model as a file for other runtimes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .parsing import add_json
from .printing import format_bytes, format_fields, print_json

if TYPE_CHECKING:
    from segpipe.exporters import ExportReport

EXAMPLES = """  segpipe export segformer-b0-camvid street.onnx
  segpipe export ./my-model street.xml --format openvino
  segpipe export ./my-model street.pt2 --format torch --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="see segpipe models list; or a folder")
    parser.add_argument("path", metavar="PATH", type=Path, help="the file to write: .onnx, .xml or .pt2")
    parser.add_argument("--format", choices=("onnx", "openvino", "torch"), default="onnx", help="default: onnx")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from segpipe import export

    report = export(options.model, options.path, format=options.format)
    if options.json:
        print_json(_document(report))
    else:
        print(_text(report))
    return 0


def _document(report: ExportReport) -> dict[str, object]:
    return {
        "path": str(report.path),
        "format": report.format,
        "size": report.num_bytes,
        "largest_difference": report.largest_difference,
        "sizes": [list(size) for size in report.sizes],
        "is_dynamic": report.is_dynamic,
        "min_size": report.min_size,
    }


def _text(report: ExportReport) -> str:
    sizes = " and ".join(f"{height} × {width}" for height, width in report.sizes)
    fields = [
        ("takes", f"images (B, 3, H, W) uint8 RGB, sides of at least {report.min_size}"),
        ("gives", "logits (B, h, w, K) float32 on the network's grid"),
        ("checked", f"at {sizes}: off by {report.largest_difference:.1e} of the largest logit at most"),
    ]
    return f"{report.path}  {report.format}, {format_bytes(report.num_bytes)}\n\n{format_fields(fields)}"
