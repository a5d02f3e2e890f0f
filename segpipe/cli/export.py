"""`segpipe export`: a model as a file for other runtimes, also in int8."""

from __future__ import annotations

import argparse
from pathlib import Path

from segpipe import data, evaluation, exporters, pipelines
from segpipe.exporters import FORMATS
from segpipe.text import format_bytes, format_fields

from .parsing import Command, UsageError, whole_number
from .printing import print_result
from .shared_options import add_dataset_option, add_json, add_overwrite, add_reading, parse_options

EXAMPLES = """  segpipe export segformer-b0-camvid street.onnx
  segpipe export ./my-model street.xml
  segpipe export ./my-model street.onnx --int8 ./images --data camvid ~/data/camvid
  segpipe export ./my-model street.pt2 --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="see segpipe models list; or a folder")
    parser.add_argument(
        "path", metavar="PATH", type=Path, help="the file to write: .onnx, .xml (OpenVINO, with a .bin) or .pt2 (torch)"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="onnx, openvino or torch; default: by the end of PATH")
    add_overwrite(parser)
    parser.add_argument("--int8", metavar="FOLDER", help="in int8, calibrated with images like those to come")
    parser.add_argument(
        "--samples", type=whole_number, metavar="N", help="images of FOLDER to calibrate with; default: 64"
    )
    add_reading(parser)
    parser.add_argument("--data", nargs=2, metavar=("NAME", "ROOT"), help="labeled images: what int8 costs in mIoU")
    add_dataset_option(parser)
    parser.add_argument("--split", default="val", metavar="NAME", help="of the data set; default: val")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.int8 is None and (options.samples is not None or options.data is not None):
        raise UsageError("--samples and --data are for int8. Give --int8 FOLDER, or leave them out.")
    format = options.format or exporters.format_for(options.path)
    dataset = None
    if options.data is not None:  # a mistake shows before the export
        name, root = options.data
        dataset = data.load_dataset(name, root, options.split, **parse_options(options.option))
    report = exporters.export(
        options.model,
        options.path,
        format=format,
        calibration=options.int8,
        samples=exporters.SAMPLES if options.samples is None else options.samples,
        alpha=options.alpha,
        bit_depth=options.bit_depth,
        overwrite=options.overwrite,
    )
    scores = None if dataset is None else pipelines.score_export(report, options.model, dataset)
    print_result(options, _document(report, scores), _text(report, scores))
    return 0


def _document(
    report: exporters.ExportReport, scores: tuple[evaluation.Scores, evaluation.Scores] | None
) -> dict[str, object]:
    document: dict[str, object] = {
        "path": str(report.path),
        "format": report.format,
        "size": report.num_bytes,
        "largest_difference": report.largest_difference,
        "sizes": [list(size) for size in report.sizes],
        "is_dynamic": report.is_dynamic,
        "min_size": report.min_size,
    }
    if report.agreement is not None:
        document["agreement"] = {
            "pictures": report.agreement.num_pictures,
            "share": report.agreement.share,
            "others": report.agreement.num_others,
            "share_of_others": report.agreement.share_of_others,
        }
    if scores is not None:
        before, after = (one.miou for one in scores)
        document["miou"] = {"float32": before, "int8": after, "loss": before - after}
    return document


def _text(report: exporters.ExportReport, scores: tuple[evaluation.Scores, evaluation.Scores] | None) -> str:
    sizes = " and ".join(f"{height} × {width}" for height, width in report.sizes[:2])
    more = f" and {len(report.sizes) - 2} more sizes" if len(report.sizes) > 2 else ""
    fields = [
        ("takes", f"images (B, 3, H, W) uint8 RGB, sides of at least {report.min_size}"),
        ("gives", "logits (B, h, w, K) float32 on the network's grid"),
        ("checked", f"at {sizes}{more}: off by {report.largest_difference:.1e} of the largest logit at most"),
    ]
    if report.agreement is not None:
        fields.append(("int8", _agreement_text(report.agreement)))
    if scores is not None:
        before, after = (100 * one.miou for one in scores)
        fields.append(("mIoU", f"{before:.2f} in float32, {after:.2f} in int8: a loss of {before - after:.2f} points"))
    return f"{report.path}  {report.format}, {format_bytes(report.num_bytes)}\n\n{format_fields(fields)}"


def _agreement_text(agreement: exporters.Agreement) -> str:
    text = f"{agreement.share:.1%} of the classes as in float32 on {agreement.num_pictures} images of the calibration"
    if agreement.share_of_others is None:
        return text
    return f"{text}, {agreement.share_of_others:.1%} on {agreement.num_others} others"


COMMANDS = {"export": Command(add_arguments, run, EXAMPLES)}
