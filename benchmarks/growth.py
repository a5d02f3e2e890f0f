"""How the cost of a call grows with the picture, the classes and the number of pictures; with a plot.

    python -m benchmarks.growth

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .pictures import Size, make_pictures
from .results import Row
from .runs import RESULTS, add_effort_options, add_run_options, run_measurement, tell

if TYPE_CHECKING:
    from PIL import Image

    from .contestants import Segpipe, Transformers

WAYS = ("size", "classes", "pictures")
SIZES = (256, 512, 1024, 2048)
"""Sides of the pictures."""
CLASSES = (19, 150, 172, 1000)
COUNTS = (1, 2, 4, 8)
PICTURE = (480, 640)
NETWORK, NUM_CLASSES = "b0", 172


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write and plot; 1 when something got worse than recorded."""
    from .plots import write_plot
    from .results import read_result

    options = parse_arguments(arguments)
    status = run_measurement(options, measure)
    picture = write_plot(read_result(RESULTS / f"{options.name}.json").rows, RESULTS / f"{options.name}.png")
    print(f"\nThe plot: {picture}")
    return status


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description="How the cost of a call grows, segpipe beside Hugging Face's transformers.",
    )
    parser.add_argument("--only", nargs="+", choices=WAYS, default=WAYS, help="these ways to grow alone")
    parser.add_argument("--side", nargs="+", type=int, default=SIZES, help="sides of the square pictures")
    parser.add_argument("--classes", nargs="+", type=int, default=CLASSES)
    parser.add_argument("--count", nargs="+", type=int, default=COUNTS, help="pictures of a list")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    add_effort_options(parser)
    parser.set_defaults(rounds=7, seconds=10.0)
    add_run_options(parser, name="latest-growth")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each point of the plot; its values are milliseconds of a whole call."""
    from .contestants import require_transformers, use_threads

    require_transformers()
    use_threads(options.threads)
    if "size" in options.only:
        yield from _grow_sizes(options, folder)
    if "classes" in options.only:
        yield from _grow_classes(options, folder)
    if "pictures" in options.only:
        yield from _grow_lists(options, folder)


def _grow_sizes(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    ours, theirs = _open(folder, NUM_CLASSES)
    for side in options.side:
        [picture] = make_pictures((side, side), 1, options.pictures)
        yield _time(options, (side, side), "size", _calls(ours, theirs, picture))


def _grow_classes(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    [picture] = make_pictures(PICTURE, 1, options.pictures)
    for num_classes in options.classes:
        ours, theirs = _open(folder, num_classes)
        yield _time(options, PICTURE, f"{num_classes} classes", _calls(ours, theirs, picture))


def _grow_lists(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    ours, theirs = _open(folder, NUM_CLASSES)
    pictures = make_pictures(PICTURE, max(options.count), options.pictures)
    for count in options.count:
        calls: dict[str, Callable[[], object]] = {
            "segpipe": partial(ours.run_list, pictures[:count], 1),
            "transformers": partial(theirs.run_list, pictures[:count], 1),
            "transformers lean": partial(_run_each, theirs, pictures[:count]),
        }
        yield _time(options, PICTURE, f"{count} pictures", calls)


def _open(folder: Path, num_classes: int) -> tuple[Segpipe, Transformers]:
    from .contestants import Segpipe, Transformers
    from .networks import NETWORKS

    path = folder / f"{NETWORK}-{num_classes}"
    if not path.is_dir():
        NETWORKS[NETWORK](path, num_classes)
    return Segpipe(path), Transformers(path)


def _calls(ours: Segpipe, theirs: Transformers, picture: Image.Image) -> dict[str, Callable[[], object]]:
    return {
        "segpipe": partial(ours.run, picture),
        "transformers": partial(theirs.run, picture),
        "transformers lean": partial(theirs.run_lean, picture),
    }


def _run_each(theirs: Transformers, pictures: Sequence[Image.Image]) -> None:
    for picture in pictures:
        theirs.run_lean(picture)


def _time(options: argparse.Namespace, size: Size, what: str, calls: dict[str, Callable[[], object]]) -> Row:
    from .timing import time_in_turn

    tell(f"growth: {what} at {size[0]}×{size[1]}")
    times = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds)
    return Row(table="growth", network=NETWORK, size=size, what=what, unit="ms", runs=times)


if __name__ == "__main__":
    raise SystemExit(main())
