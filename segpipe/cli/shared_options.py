"""The options that several verbs have, with their choices from the registries, and their values as arguments."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from typing import Any, get_args

from segpipe import advice
from segpipe.configuration import parse_value
from segpipe.data import Alpha
from segpipe.errors import InputError
from segpipe.inference import DTYPES, RUNTIMES

from .parsing import finite_number, whole_number

_STYLE = ("opacity", "borders", "names", "legend", "brighten")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there; default: refuse")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="cpu, cuda, cuda:1, …; default: a GPU if there is one")


def add_launcher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local-rank", "--local_rank", type=int, help=argparse.SUPPRESS)


def apply_launcher(options: argparse.Namespace) -> None:
    """Take the argument of torch's old launcher, and let the first process alone log messages."""
    from segpipe.distributed import read_ranks

    if options.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    if read_ranks().rank != 0:
        logging.getLogger("segpipe").setLevel(logging.ERROR)


def add_set(parser: argparse.ArgumentParser) -> None:
    help_text = "change the configuration; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=help_text)


def add_dataset_option(
    parser: argparse.ArgumentParser, help_text: str = "of the data set, e.g. names=sky,road"
) -> None:
    """Add --option, arguments of `load_dataset`; see `parse_options`."""
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=help_text)


def add_execution(parser: argparse.ArgumentParser) -> None:
    """Add the options on how a network runs; see `pipeline_options`."""
    parser.add_argument("--batch-size", type=whole_number, default=1, metavar="N", help="images at once; default: 1")
    add_reading(parser)
    add_device(parser)
    parser.add_argument("--dtype", choices=DTYPES, help="default: float32")
    parser.add_argument(
        "--runtime",
        choices=tuple(RUNTIMES),
        default="eager",
        help="what executes the network; the last two are exported on first use; default: eager",
    )
    parser.add_argument("--calibration", metavar="FOLDER", help="for int8: images like those to come, without labels")
    add_set(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alpha", choices=get_args(Alpha), default="auto", help="of images: whether it is put on white"
    )
    parser.add_argument(
        "--bit-depth", type=_bit_depth, metavar="BITS", help="that images of 16 bits use, 8 to 16; or min-max"
    )


def pipeline_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_execution` parsed as arguments of `segpipe.pipeline`."""
    names = ("device", "dtype", "runtime", "calibration", "batch_size", "alpha", "bit_depth")
    return {**{name: getattr(options, name) for name in names}, "overrides": options.set}


def add_style(parser: argparse.ArgumentParser) -> None:
    """Add an option for each argument of `Segmentation.overlay`. What is not given stays as it is there."""
    parser.add_argument("--names", action="store_true", default=None, help="write the classes' names on overlays")
    parser.add_argument("--legend", action="store_true", default=None, help="put a key to the colors beside overlays")
    parser.add_argument(
        "--opacity",
        type=_opacity,
        metavar="O",
        help="of the colors: 0 shows the image alone, 1 the colors; default: 0.5",
    )
    parser.add_argument(
        "--borders",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw a line between classes (default), or none",
    )
    parser.add_argument("--brighten", action="store_true", default=None, help="make dark colors of the palette lighter")


def style_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_style` parsed as arguments of `Segmentation.overlay`."""
    given = {name: getattr(options, name) for name in _STYLE}
    return {name: value for name, value in given.items() if value is not None}


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the options of a data set from KEY=VALUE, the last of each key; for values see `parse_value`."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise InputError(
                f"--option is {pair!r}; KEY=VALUE is needed. Write e.g. {advice.option('names', ['road', 'sky'])}."
            )
        parsed[key] = parse_value(text)
    return parsed


def _opacity(text: str) -> float:
    number = finite_number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not between 0 and 1")
    return number


def _bit_depth(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
