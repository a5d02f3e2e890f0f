"""Which share of the machine's rate the network reaches: its multiply-adds beside products of large matrices.

    python -m benchmarks.rates

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from .pictures import make_pictures, parse_size
from .results import OURS, Row
from .runs import add_effort_options, add_network_options, add_run_options, run_measurement, tell, with_networks
from .runtimes import DTYPES, RUNTIMES, open_runtimes

SIDE = 2048
"""Of the square matrices whose product gives the machine's rate."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; the size as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rates",
        description="The network alone, beside the rate at which this machine multiplies matrices.",
    )
    add_network_options(parser, ("b0", "b2"))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--size", type=parse_size, default=(512, 512), help="height x width (default 512x512)")
    add_effort_options(parser)
    add_run_options(parser, name="latest-rates")
    return with_networks(parser.parse_args(arguments))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each network and runtime."""
    import numpy as np

    from segpipe.analysis.counting import count_macs

    from .contestants import require_transformers, use_threads
    from .networks import prepare_networks

    require_transformers()
    use_threads(options.threads)
    [picture] = make_pictures(options.size, 1)
    for network, model in prepare_networks(options, folder).items():
        contestants, missing = open_runtimes(options, model, [picture])
        prepared = {name: each.pipeline.preprocess(np.asarray(picture)) for name, each in contestants.items()}
        calls = {name: partial(each.pipeline.forward, [prepared[name]]) for name, each in contestants.items()}
        first = next(iter(contestants))
        size = prepared[first].input_size
        multiply_adds = count_macs(contestants[first].pipeline.configuration.model, size).total
        tell(f"rate of {network}")
        for name, runs in _time(options, calls, multiply_adds).items():
            yield Row(
                table="rate",
                network=network,
                size=size,
                what=name,
                unit="ms",
                runs=runs,
                multiply_adds=float(multiply_adds),
                notes=missing,
            )


def build_product(dtype: str) -> Callable[[], object]:
    """The product of two matrices of `SIDE` × `SIDE`."""
    import torch

    left, right = torch.randn(2, SIDE, SIDE).to(getattr(torch, dtype))
    return lambda: left @ right


def _time(
    options: argparse.Namespace, calls: Mapping[str, Callable[[], object]], multiply_adds: int
) -> dict[str, dict[str, tuple[float, ...]]]:
    """For each runtime the milliseconds of the network, and those of as many multiply-adds in a product of matrices."""
    from .timing import time_in_turn

    products = {dtype: build_product(dtype) for dtype in options.dtypes}
    times = time_in_turn({**calls, **products}, rounds=options.rounds, seconds=options.seconds)
    share = multiply_adds / SIDE**3
    return {
        name: {OURS: times[name], "matrix product": tuple(value * share for value in times[name.split()[1]])}
        for name in calls
    }


if __name__ == "__main__":
    raise SystemExit(main())
