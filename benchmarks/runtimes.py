"""Every runtime of segpipe beside transformers' pipeline, and beside ONNX Runtime and OpenVINO on transformers' graph.

    python -m benchmarks.runtimes

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .pictures import make_pictures, parse_size
from .results import AGREEMENT_WANTED, AGREEMENT_WANTED_OF_HALF, OURS, Row
from .runs import add_effort_options, add_network_options, add_run_options, run_measurement, tell, with_networks

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from .contestants import Segpipe, Transformers
    from .exported import Exported

RUNTIMES = ("eager", "compiled", "onnxruntime", "openvino")
DTYPES = ("float32", "bfloat16")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when label maps disagree or something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; the size as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtimes",
        description="segpipe's runtimes beside transformers, and beside ONNX Runtime and OpenVINO on its graph.",
    )
    add_network_options(parser, ("b0", "b2"))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--size", type=parse_size, default=(480, 640), help="height x width (default 480x640)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    parser.add_argument("--count", type=int, default=8, help="pictures whose label maps are compared (default 8)")
    add_effort_options(parser)
    add_run_options(parser, name="latest-runtimes")
    return with_networks(parser.parse_args(arguments))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each network and runtime; all contestants of a network run in turn."""
    from .contestants import require_transformers, use_threads
    from .networks import prepare_networks

    require_transformers()
    use_threads(options.threads)
    pictures = make_pictures(options.size, options.count, options.pictures)
    for network, model in prepare_networks(options, folder).items():
        yield from _measure_network(options, network, model, pictures)


def open_runtimes(
    options: argparse.Namespace, model: Path, pictures: Sequence[Image.Image]
) -> tuple[dict[str, Segpipe], tuple[str, ...]]:
    """segpipe with each runtime and dtype that works here, warm; and why the others are left out."""
    from segpipe.errors import SegpipeError

    from .contestants import Segpipe

    opened, missing = {}, []
    for name in [f"{runtime} {dtype}" for dtype in options.dtypes for runtime in options.runtimes]:
        tell(f"opening {name}")
        try:
            opened[name] = Segpipe(model, *name.split())
            opened[name].run(pictures[0])
        except SegpipeError as error:
            opened.pop(name, None)
            missing.append(f"{name} is left out: {str(error).splitlines()[0]}")
    if not opened:
        raise SystemExit("None of the runtimes works here:\n" + "\n".join(missing))
    return opened, tuple(missing)


def _measure_network(
    options: argparse.Namespace, network: str, model: Path, pictures: Sequence[Image.Image]
) -> Iterator[Row]:
    from .contestants import Transformers
    from .timing import time_in_turn

    theirs = Transformers(model)
    expected = [theirs.run_lean(picture) for picture in pictures]
    graphs, way = _open_graphs(theirs, model, pictures, expected, options.threads)
    ours, missing = open_runtimes(options, model, pictures)
    tell(f"runtimes of {network}")
    calls: dict[str, Callable[[], object]] = {name: partial(each.run, pictures[0]) for name, each in ours.items()}
    calls["transformers"] = partial(theirs.run, pictures[0])
    calls |= {name: partial(graph.run, pictures[0]) for name, graph in graphs.items()}
    times = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds * 2)
    rivals = {name: values for name, values in times.items() if name not in ours}
    for name, each in ours.items():
        yield Row(
            table="runtimes",
            network=network,
            size=options.size,
            what=name,
            unit="ms",
            runs={OURS: times[name], **rivals},
            agreement=_agreement(each, pictures, expected),
            agreement_wanted=AGREEMENT_WANTED if name.endswith("float32") else AGREEMENT_WANTED_OF_HALF,
            notes=(way, *missing),
        )


def _open_graphs(
    theirs: Transformers,
    model: Path,
    pictures: Sequence[Image.Image],
    expected: Sequence[np.ndarray],
    threads: int,
) -> tuple[dict[str, Exported], str]:
    """transformers' network as an exported graph, with the fastest of the usual ways to a label map, and a line that
    names it; the label maps are checked."""
    from .exported import DESCRIPTIONS, Exported, build_engines, export_graph, fastest_postprocessing

    tell("exporting transformers' network")
    try:
        graph = export_graph(theirs, pictures[0], model / "transformers.onnx")
    except ImportError as error:
        return {}, f"transformers' network is not exported: {error}"
    engines = build_engines(graph, threads)
    pixels = theirs.processor(images=[pictures[0]], return_tensors="np")["pixel_values"]
    logits = next(iter(engines.values()))(pixels) if engines else theirs.model(pixel_values=pixels).logits.numpy()
    way, postprocess = fastest_postprocessing(logits, (pictures[0].height, pictures[0].width))
    contestants = {name: Exported(theirs, engine, postprocess) for name, engine in engines.items()}
    shares = {name: _agreement(each, pictures, expected) for name, each in contestants.items()}
    for name, share in shares.items():
        if share < AGREEMENT_WANTED and not name.endswith("bfloat16"):
            raise SystemExit(
                f"{name} on the exported graph agrees with transformers on {share:.3%} of the pixels only."
            )
    found = ", ".join(f"{name} {share:.4%}" for name, share in shares.items())
    return (
        contestants,
        f"{DESCRIPTIONS[way]} follow the exported graph, the fastest of the usual ways; agreement: {found}.",
    )


def _agreement(
    contestant: Segpipe | Exported, pictures: Sequence[Image.Image], expected: Sequence[np.ndarray]
) -> float:
    """The worst picture's share of pixels as transformers has them."""
    from .measurements import agreement_of

    return min(
        agreement_of(contestant.run(picture), labels) for picture, labels in zip(pictures, expected, strict=True)
    )


if __name__ == "__main__":
    raise SystemExit(main())
