"""`segpipe convert`: a model folder from any checkpoint whose tensor names are known, and the way back."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from segpipe.text import format_bytes

from .download import folder_size
from .parsing import add_json, add_overwrite, whole_number
from .printing import print_json, print_note

EXAMPLES = """  segpipe convert iter_160000.pth my-model --labels classes.txt
  segpipe convert hf:owner/name my-model
  segpipe convert weights.safetensors my-model --architecture segformer-b2 --labels road,car
  segpipe convert my-model libai.pth --to-dialect libai"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help=".pth, .pt, .ckpt, .bin or .safetensors file, index of several (.index.json), folder or model's name",
    )
    parser.add_argument("to", metavar="TO", type=Path, help="the folder to make; with --to-dialect the file")
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help="segformer-b0 … b5, mit-b0 … b5, segmenter-tiny-mask … large-linear, segmenter-deit-base-mask …, "
        "unept-deit, unept-res50; default: what the tensors say",
    )
    parser.add_argument("--num-classes", type=whole_number, metavar="K", help="checked against the weights")
    parser.add_argument("--labels", metavar="FILE|A,B,C", help="names: a list, or a file with one a line or JSON")
    parser.add_argument("--preset", metavar="NAME", help="take the whole configuration from this preset")
    parser.add_argument(
        "--to-dialect",
        metavar="NAME",
        help="write a .pth or .safetensors file for another implementation: nvlabs, mmseg, easycv, huggingface "
        "(also a folder), libai, segmenter, unept; vit or resnet for the encoder alone",
    )
    add_overwrite(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    return _convert_here(options) if options.to_dialect is None else _convert_back(options)


def _convert_here(options: argparse.Namespace) -> int:
    from segpipe.checkpoints import convert

    folder = convert(
        options.source,
        options.to,
        architecture=options.architecture,
        num_classes=options.num_classes,
        labels=options.labels or None,
        preset=options.preset,
        overwrite=options.overwrite,
    )
    model, size = folder.configuration.model, folder_size(folder)
    if options.json:
        print_json({"path": str(folder.path), "size": size, "num_classes": model.num_classes})
        return 0
    print(f"{folder.path}  {model.variant}, {model.num_classes} classes, {format_bytes(size)}")
    return 0


def _convert_back(options: argparse.Namespace) -> int:
    if options.architecture or options.num_classes or options.labels or options.preset:
        print_note("segpipe convert: With --to-dialect the source says itself what it is. Leave the other options out.")
        return 2
    from segpipe.checkpoints import convert_back

    path = convert_back(options.source, options.to, dialect=options.to_dialect, overwrite=options.overwrite)
    from segpipe.checkpoints import sidecar_of

    beside = sidecar_of(path)
    files = [path] if os.path.isfile(path) else list(path.iterdir())
    size = sum(file.stat().st_size for file in files)
    if options.json:
        print_json({"path": str(path), "size": size, "dialect": options.to_dialect})
    else:
        print(f"{path}  in the names of {options.to_dialect}, {format_bytes(size)}")
        if os.path.isfile(path) and os.path.isfile(beside):
            print(f"{beside}  its configuration, from which convert makes the same model again")
    return 0
