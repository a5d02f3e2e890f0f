"""The pipeline that a command's options describe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from segpipe.hub import ModelFolder

from .parsing import whole_number

if TYPE_CHECKING:
    from segpipe.pipelines import Pipeline

BUNDLED_MODEL = "segformer-b0-camvid"
"""Its weights come with the package."""


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say how a network runs."""
    parser.add_argument("--batch-size", type=whole_number, default=1, metavar="N", help="pictures at once; default: 1")
    add_reading_arguments(parser)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16", "int8"), help="default: float32")
    parser.add_argument(
        "--runtime",
        choices=("eager", "compiled", "onnxruntime", "openvino"),
        default="eager",
        help="what executes the network; the last two are exported on first use; default: eager",
    )
    parser.add_argument("--calibration", metavar="FOLDER", help="for int8: pictures like those to come, without labels")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration; may be repeated"
    )


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that say what the samples of pictures mean."""
    parser.add_argument(
        "--alpha", choices=("auto", "keep", "drop"), default="auto", help="of pictures: whether it is put on white"
    )
    parser.add_argument(
        "--bit-depth", type=_bit_depth, metavar="BITS", help="that images of 16 bits use, 8 to 16; or min-max"
    )


def open_pipeline(task: str, folder: ModelFolder, options: argparse.Namespace) -> Pipeline[Any]:
    """The pipeline of a task with a model, run as the options of `add_execution_arguments` say."""
    from segpipe.pipelines import pipeline

    return pipeline(
        task,
        folder,
        device=options.device,
        dtype=options.dtype,
        runtime=options.runtime,
        calibration=options.calibration,
        overrides=options.set,
        batch_size=options.batch_size,
        alpha=options.alpha,
        bit_depth=options.bit_depth,
    )


def _bit_depth(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
