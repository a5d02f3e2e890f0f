"""Run segpipe and transformers side by side and print latency, throughput, parts and memory.

    python -m benchmarks.inference

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .pictures import Size, make_pictures, parse_size
from .results import Row
from .runs import add_effort_options, add_network_options, add_run_options, run_measurement, tell, with_networks

if TYPE_CHECKING:
    from PIL import Image

TABLES = ("latency", "throughput", "parts", "memory")
PRESET = "cocostuff preset"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when label maps disagree or something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; sizes as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description="segpipe beside Hugging Face's transformers, on this machine.",
    )
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="these tables alone")
    add_network_options(parser, ("b0", "b2"))
    parser.add_argument("--classes", type=int, default=172, help="of the networks that are made here (default 172)")
    parser.add_argument(
        "--sizes", nargs="+", type=parse_size, default=[(480, 640), (2160, 3840)], help="height x width"
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    parser.add_argument("--count", type=int, default=8, help="pictures of the list for throughput (default 8)")
    add_effort_options(parser)
    add_run_options(parser, name="latest")
    return with_networks(parser.parse_args(arguments))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """All rows that the options ask for; model folders and pictures are kept in `folder`."""
    from .contestants import require_transformers
    from .networks import prepare_networks

    require_transformers()
    pictures = _draw_pictures(options)
    folders = prepare_networks(options, folder)
    for network, model in folders.items():
        yield from _measure_times(options, network, model, pictures)
    if "memory" in options.only:
        yield from _measure_memory(options, folders, pictures, folder)


def _measure_times(
    options: argparse.Namespace, network: str, model: Path, pictures: dict[Size, list[Image.Image]]
) -> Iterator[Row]:
    from .contestants import Segpipe, Transformers, use_threads
    from .measurements import Effort, Pair, measure_latency, measure_parts, measure_throughput

    if not {"latency", "throughput", "parts"} & set(options.only):
        return
    use_threads(options.threads)
    pair, effort = Pair(network, Segpipe(model), Transformers(model)), Effort(options.rounds, options.seconds)
    for size, of_size in pictures.items():
        if "latency" in options.only:
            tell(f"latency of {network} at {size[0]}×{size[1]}")
            yield measure_latency(pair, of_size, effort)
        if "parts" in options.only:
            tell(f"parts of {network} at {size[0]}×{size[1]}")
            yield from measure_parts(pair, of_size[0], effort)
    if "throughput" in options.only:
        tell(f"throughput of {network}")
        yield from measure_throughput(pair, next(iter(pictures.values())), effort)


def _measure_memory(
    options: argparse.Namespace, folders: dict[str, Path], pictures: dict[Size, list[Image.Image]], folder: Path
) -> Iterator[Row]:
    from .measurements import measure_memory
    from .memory import is_supported
    from .networks import NUM_CLASSES, write_cocostuff
    from .tables import CONTESTANTS

    if not is_supported():
        tell("memory is left out: it is read from Linux's /proc")
        return
    wanted = [(name, path, CONTESTANTS["memory"]) for name, path in folders.items()]
    if options.network and options.classes == NUM_CLASSES:
        write_cocostuff(folder / "cocostuff")
        wanted.append((PRESET, folder / "cocostuff", ("segpipe",)))
    for size, [picture, *_] in pictures.items():
        file = folder / f"{size[0]}x{size[1]}.png"
        picture.save(file, compress_level=1)
        for network, path, contestants in wanted:
            tell(f"memory of {network} at {size[0]}×{size[1]}")
            yield measure_memory(network, path, file, size, threads=options.threads, contestants=contestants)


def _draw_pictures(options: argparse.Namespace) -> dict[Size, list[Image.Image]]:
    """A list of pictures of the first size, one of each other."""
    tell("drawing pictures")
    first, *others = options.sizes
    pictures = {first: make_pictures(first, options.count, options.pictures)}
    return pictures | {size: make_pictures(size, 1, options.pictures) for size in others}


if __name__ == "__main__":
    raise SystemExit(main())
