"""A stream of JPEG files through the pipeline's iterator, beside the network's time for one picture.

    python -m benchmarks.stream

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .pictures import make_pictures, parse_size
from .results import OURS, Row, spread_of
from .runs import add_network_options, add_run_options, run_measurement, tell, with_networks
from .runtimes import DTYPES, RUNTIMES

if TYPE_CHECKING:
    from PIL import Image

DIFFERENT = 32
"""Pictures that differ; the files beyond are copies."""
CALLS = 9
"""Of the network for one picture, in each round; their median counts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; the size as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stream",
        description="What a stream of JPEG files costs per picture, over the network's time for one picture.",
    )
    add_network_options(parser, ("b0",))
    parser.add_argument("--runtime", choices=RUNTIMES, default="eager")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--size", type=parse_size, default=(480, 640), help="height x width (default 480x640)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    parser.add_argument("--count", type=int, default=1000, help="files of the stream (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="into which the files are divided (default 5)")
    add_run_options(parser, name="latest-stream")
    options = with_networks(parser.parse_args(arguments))
    if not 1 <= options.rounds <= options.count:
        parser.error("--rounds is 1 or more, and --count at least as many.")
    return options


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each network."""
    from .contestants import Segpipe, require_transformers, use_threads
    from .networks import prepare_networks

    require_transformers()
    use_threads(options.threads)
    pictures = make_pictures(options.size, min(DIFFERENT, options.count), options.pictures)
    files = write_files(pictures, folder / "stream", options.count)
    for network, model in prepare_networks(options, folder).items():
        tell(f"stream through {network}")
        ours = Segpipe(model, options.runtime, options.dtype)
        yield Row(
            table="stream",
            network=network,
            size=options.size,
            what=f"{options.count} files, {options.runtime} {options.dtype}",
            unit="ms",
            runs=_time_rounds(ours.pipeline, files, pictures[0], options.rounds),
        )


def write_files(pictures: Sequence[Image.Image], folder: Path, count: int) -> list[Path]:
    """`count` JPEG files, the pictures one after the other and again."""
    folder.mkdir(parents=True)
    originals = []
    for index, picture in enumerate(pictures):
        originals.append(folder / f"{index:05}.jpg")
        picture.save(originals[-1], quality=92)
    files = list(originals)
    for index, original in zip(range(len(originals), count), itertools.cycle(originals), strict=False):
        files.append(folder / f"{index:05}.jpg")
        shutil.copyfile(original, files[-1])
    return files


def _time_rounds(
    pipeline: Any, files: Sequence[Path], picture: Image.Image, rounds: int
) -> dict[str, tuple[float, ...]]:
    """Milliseconds per picture of a part of the files, then of the network alone, in each round."""
    import numpy as np

    from .timing import measure_milliseconds

    prepared = [pipeline.preprocess(np.asarray(picture))]
    runs: dict[str, list[float]] = {OURS: [], "network": []}
    _consume(pipeline, files[: min(4, len(files))])  # does not count
    pipeline.forward(prepared)
    for number in range(rounds):
        part = files[number * len(files) // rounds : (number + 1) * len(files) // rounds]
        runs[OURS].append(measure_milliseconds(partial(_consume, pipeline, part)) / len(part))
        alone = [measure_milliseconds(partial(pipeline.forward, prepared)) for _ in range(CALLS)]
        runs["network"].append(spread_of(alone).median)
    return {name: tuple(values) for name, values in runs.items()}


def _consume(pipeline: Any, files: Sequence[Path]) -> None:
    """Ask for every result of a stream whose length the pipeline does not know, and keep none."""
    for result in pipeline(iter(files)):
        assert result.label_map is not None


if __name__ == "__main__":
    raise SystemExit(main())
