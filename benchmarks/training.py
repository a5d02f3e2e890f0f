"""Train with segpipe and with transformers side by side and print pictures a second and memory.

    python -m benchmarks.training

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from .results import OURS, Row, spread_of
from .runs import add_run_options, run_measurement, tell

NETWORK_NAMES = ("b0", "b2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training",
        description="Training with segpipe beside Hugging Face's transformers, on this machine.",
    )
    parser.add_argument("--network", nargs="+", choices=NETWORK_NAMES, default=list(NETWORK_NAMES))
    parser.add_argument("--batch", type=int, default=2, help="pictures per step (default 2)")
    parser.add_argument("--size", type=int, default=512, help="side of the pictures (default 512)")
    parser.add_argument("--steps", type=int, default=4, help="rounds of one step each, at least 3 (default 4)")
    add_run_options(parser, name="latest-training")
    options = parser.parse_args(arguments)
    if options.batch < 1 or options.steps < 3 or options.size < 64:
        parser.error("--batch is 1 or more, --steps 3 or more and --size 64 or more.")
    return options


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Time and memory of each network's step, and data loading beside the fastest step."""
    from .contestants import require_transformers, use_threads
    from .loading import measure_loading, write_scenes
    from .networks import write_untrained

    require_transformers()
    use_threads(options.threads)
    timed = []
    for network in options.network:
        write_untrained(network, folder / network)
        timed.append(_measure_steps(options, network, folder / network))
        yield timed[-1]
        yield from _measure_memory(options, network, folder / network)
    tell("data loading")
    write_scenes(folder / "scenes")
    yield from measure_loading(folder / "scenes", fastest_of(timed), batch=options.batch, size=options.size)


def fastest_of(rows: Sequence[Row]) -> Row:
    """The row with the least time of segpipe's: the one that asks most of the loader."""
    return min(rows, key=lambda row: spread_of(row.runs[OURS]).median)


def _measure_steps(options: argparse.Namespace, network: str, folder: Path) -> Row:
    from .networks import NUM_CLASSES
    from .timing import time_in_turn
    from .training_steps import SegpipeSteps, TransformersSteps, check_losses, make_batch

    tell(f"training {network}")
    batch = make_batch(options.batch, options.size, NUM_CLASSES)
    ours, theirs = SegpipeSteps(folder), TransformersSteps(folder)
    check_losses(ours.evaluate(batch), theirs.evaluate(batch))
    calls = {OURS: partial(ours.step, batch), "transformers": partial(theirs.step, batch)}
    times = time_in_turn(calls, rounds=options.steps, seconds=float("inf"))
    return Row(
        table="training",
        network=network,
        size=(options.size, options.size),
        what=f"batch size {options.batch}",
        unit="ms",
        runs={name: tuple(value / options.batch for value in values) for name, values in times.items()},
    )


def _measure_memory(options: argparse.Namespace, network: str, folder: Path) -> Iterator[Row]:
    from .memory import is_supported
    from .training_steps import CONTESTANTS, measure_step_peak

    if not is_supported():
        tell("memory is left out: it is read from Linux's /proc")
        return
    tell(f"memory of training {network}")
    sizes = {"batch": options.batch, "size": options.size, "threads": options.threads}
    yield Row(
        table="training memory",
        network=network,
        size=(options.size, options.size),
        what=f"batch size {options.batch}",
        unit="MiB",
        runs={name: (measure_step_peak(name, folder, **sizes).beyond,) for name in CONTESTANTS},
    )


if __name__ == "__main__":
    raise SystemExit(main())
