"""segpipe's label map beside dense interpolation and argmax, on the same logits.

    python -m benchmarks.label_maps --pictures FOLDER

from the top of a checkout. benchmarks/README.md explains the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .pictures import make_pictures, parse_size
from .results import OURS, Row
from .runs import add_effort_options, add_network_options, add_run_options, run_measurement, tell, with_networks

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from segpipe.inference import Prediction

DEFAULT_SIZES = [(480, 640)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 when label maps disagree or something got worse than recorded."""
    return run_measurement(parse_arguments(arguments), measure)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; sizes as (height, width)."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.label_maps",
        description="segpipe's label map beside dense interpolation and argmax.",
    )
    add_network_options(parser, ("b0",))
    parser.add_argument("--classes", type=int, default=172, help="of the networks that are made here (default 172)")
    parser.add_argument("--sizes", nargs="+", type=parse_size, default=DEFAULT_SIZES, help="height x width")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="instead of drawn street scenes")
    parser.add_argument("--count", type=int, default=8, help="pictures of each row (default 8)")
    add_effort_options(parser)
    add_run_options(parser, name="latest-label-maps")
    return with_networks(parser.parse_args(arguments))


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """A row for each network and size."""
    from .contestants import Segpipe, require_transformers, use_threads
    from .networks import prepare_networks

    require_transformers()
    use_threads(options.threads)
    kind = "photographs" if options.pictures else "drawn scenes"
    for network, model in prepare_networks(options, folder).items():
        ours = Segpipe(model)
        for size in options.sizes:
            tell(f"label maps of {network} at {size[0]}×{size[1]}")
            pictures = make_pictures(size, options.count, options.pictures)
            yield _measure_size(options, network, f"{len(pictures)} {kind}", ours.pipeline, pictures)


def _measure_size(
    options: argparse.Namespace, network: str, what: str, pipeline: Any, pictures: Sequence[Image.Image]
) -> Row:
    """All pictures' label maps from logits that are there already; milliseconds for one."""
    import numpy as np

    from .exported import POSTPROCESSING
    from .measurements import agreement_of, boundary_share_of
    from .timing import time_in_turn

    size = pictures[0].height, pictures[0].width
    predictions = [predict_picture(pipeline, picture) for picture in pictures]
    logits = [logits_of(prediction)[None].float().contiguous() for prediction in predictions]
    arrays = [each.numpy() for each in logits]
    calls: dict[str, Callable[[], object]] = {OURS: lambda: [label(prediction) for prediction in predictions]}
    for name, way in POSTPROCESSING.items():
        calls[name] = lambda way=way: [way(each, size) for each in arrays]  # type: ignore[misc]
    times = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds * 2)
    expected = [POSTPROCESSING["dense torch"](each, size) for each in arrays]
    found = [label(prediction) for prediction in predictions]
    return Row(
        table="label map",
        network=network,
        size=size,
        what=what,
        unit="ms",
        runs={name: tuple(value / len(pictures) for value in values) for name, values in times.items()},
        agreement=min(agreement_of(ours, theirs) for ours, theirs in zip(found, expected, strict=True)),
        boundary_share=float(np.mean([boundary_share_of(each[0]) for each in logits])),
        classes=round(float(np.mean([len(np.unique(labels)) for labels in found]))),
    )


def predict_picture(pipeline: Any, picture: Image.Image) -> Prediction:
    """Logits on the network's grid, with their placement."""
    import numpy as np

    [prediction] = pipeline.forward([pipeline.preprocess(np.asarray(picture))])
    return prediction


def logits_of(prediction: Prediction) -> Tensor:
    """(K, h, w) of a picture that went through the network in one piece."""
    from segpipe.inference import View

    [view] = prediction.views
    assert isinstance(view, View)
    return view.cells


def label(prediction: Prediction) -> np.ndarray:
    """(H, W) label map as the pipeline gives it."""
    import torch

    from segpipe.inference import label_map

    with torch.inference_mode():
        return label_map(prediction).labels.numpy()


if __name__ == "__main__":
    raise SystemExit(main())
