"""Options that say how overlays look, the same for each verb that draws them."""

from __future__ import annotations

import argparse
from typing import Any

from .parsing import finite_number

_STYLE = ("opacity", "borders", "names", "legend", "brighten")


def add_style_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each of `Segmentation.overlay`; what is not given stays as it is there."""
    parser.add_argument("--names", action="store_true", default=None, help="write the classes' names on overlays")
    parser.add_argument("--legend", action="store_true", default=None, help="put a key to the colours beside overlays")
    parser.add_argument(
        "--opacity",
        type=_share,
        metavar="O",
        help="of the colours: 0 shows the image alone, 1 the colours; default: 0.5",
    )
    parser.add_argument(
        "--borders",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw a line between classes (default), or none",
    )
    parser.add_argument(
        "--brighten", action="store_true", default=None, help="make dark colours of the palette lighter"
    )


def style_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what was said about the look of overlays, as arguments of `Segmentation.overlay`."""
    given = {name: getattr(options, name) for name in _STYLE}
    return {name: value for name, value in given.items() if value is not None}


def _share(text: str) -> float:
    number = finite_number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not between 0 and 1")
    return number
