"""The four measurements: latency, throughput, parts and memory, each as rows of a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .contestants import Segpipe, Transformers
from .memory import measure_peak
from .results import Row
from .timing import time_in_turn

BATCH_SIZES = (1, 4)
CONTESTANTS = ("segpipe", "segpipe with masks", "transformers", "transformers lean")


@dataclass(frozen=True)
class Pair:
    """Both libraries with one network."""

    network: str
    ours: Segpipe
    theirs: Transformers


@dataclass(frozen=True)
class Effort:
    """How long a row may take: rounds at most, and seconds after which no new one begins."""

    rounds: int
    seconds: float


def measure_latency(pair: Pair, pictures: Sequence[Image.Image], effort: Effort) -> Row:
    """One picture in, label map (or masks) out; and whether all pictures' label maps agree."""
    picture = pictures[0]
    calls: dict[str, Callable[[], object]] = {
        "segpipe": lambda: pair.ours.run(picture),
        "segpipe with masks": lambda: pair.ours.run_with_masks(picture),
        "transformers": lambda: pair.theirs.run(picture),
        "transformers lean": lambda: pair.theirs.run_lean(picture),
    }
    agreement = min(agreement_of(pair.ours.run(each), pair.theirs.run_lean(each)) for each in pictures)
    logits = _logits_of(pair.ours, picture)
    return Row(
        table="latency",
        network=pair.network,
        size=_size_of(picture),
        what="one picture",
        unit="ms",
        runs=time_in_turn(calls, rounds=effort.rounds, seconds=effort.seconds),
        agreement=agreement,
        boundary_share=boundary_share_of(logits),
        classes=len(np.unique(pair.ours.run(picture))),
    )


def measure_throughput(pair: Pair, pictures: Sequence[Image.Image], effort: Effort) -> Iterator[Row]:
    """A list of pictures, in batches; milliseconds per picture."""
    for batch_size in BATCH_SIZES:
        times = time_in_turn(
            {
                "segpipe": lambda size=batch_size: pair.ours.run_list(pictures, size),  # type: ignore[misc]
                "transformers": lambda size=batch_size: pair.theirs.run_list(pictures, size),  # type: ignore[misc]
            },
            rounds=effort.rounds,
            seconds=effort.seconds,
        )
        yield Row(
            table="throughput",
            network=pair.network,
            size=_size_of(pictures[0]),
            what=f"{len(pictures)} pictures, batch size {batch_size}",
            unit="ms",
            runs={name: tuple(value / len(pictures) for value in values) for name, values in times.items()},
        )


def measure_parts(pair: Pair, picture: Image.Image, effort: Effort) -> Iterator[Row]:
    """Preprocessing, network and label map, each on its own; normalising counts as network with segpipe."""
    for part, calls in _part_calls(pair, picture).items():
        yield Row(
            table="parts",
            network=pair.network,
            size=_size_of(picture),
            what=part,
            unit="ms",
            runs=time_in_turn(calls, rounds=effort.rounds, seconds=effort.seconds),
        )


def measure_memory(
    network: str, folder: Path, picture: Path, size: tuple[int, int], *, threads: int, contestants: Sequence[str]
) -> Row:
    """Peak memory of one call beyond the loaded, warm library."""
    return Row(
        table="memory",
        network=network,
        size=size,
        what="one picture",
        unit="MiB",
        runs={name: (measure_peak(name, folder, picture, threads=threads).beyond,) for name in contestants},
    )


def agreement_of(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of pixels with the same class; 0 when the sizes differ."""
    return float((ours == theirs).mean()) if ours.shape == theirs.shape else 0.0


def boundary_share_of(logits: Tensor) -> float:
    """Share of the 2 × 2 neighbourhoods of the grid (K, h, w) in which more than one class wins."""
    winners = logits.argmax(dim=0)
    corner = winners[:-1, :-1]
    uniform = (corner == winners[1:, :-1]) & (corner == winners[:-1, 1:]) & (corner == winners[1:, 1:])
    return float(1 - uniform.float().mean())


@torch.inference_mode()
def _part_calls(pair: Pair, picture: Image.Image) -> dict[str, dict[str, Callable[[], object]]]:
    """For each part, each library's call on what its own previous part made."""
    from segpipe.inference import label_map, predict, prepare_image

    ours, theirs = pair.ours.pipeline, pair.theirs
    pixels, target = np.asarray(picture), (picture.height, picture.width)
    config = ours.configuration
    prepared = prepare_image(pixels, config)
    [prediction] = predict(ours.model, [prepared], config)
    inputs = theirs.processor(images=[picture], return_tensors="pt")
    outputs = SimpleNamespace(logits=theirs.model(**inputs).logits)
    return {
        "preprocess": {
            "segpipe": lambda: prepare_image(pixels, config),
            "transformers": lambda: theirs.processor(images=[picture], return_tensors="pt"),
        },
        "network": {
            "segpipe": lambda: predict(ours.model, [prepared], config),
            "transformers": torch.inference_mode()(lambda: theirs.model(**inputs)),
        },
        "label map": {
            "segpipe": torch.inference_mode()(lambda: label_map(prediction)),
            "transformers": torch.inference_mode()(
                lambda: theirs.processor.post_process_semantic_segmentation(outputs, [target])
            ),
        },
    }


@torch.inference_mode()
def _logits_of(ours: Segpipe, picture: Image.Image) -> Tensor:
    prepared = ours.pipeline.preprocess(np.asarray(picture))
    [prediction] = ours.pipeline.forward([prepared])
    return prediction.views[0].cells


def _size_of(picture: Image.Image) -> tuple[int, int]:
    return picture.height, picture.width
