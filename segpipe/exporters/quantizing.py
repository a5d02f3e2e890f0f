"""int8 files: the images that they are calibrated with, and the check of what came out.

What is quantized, and how, is said in `onnx`. SegFormer-B0 on CamVid's 101 validation images in ONNX Runtime,
calibrated with 16 others, without padding: mIoU 62.98 → 62.97, a third of the bytes. It is not always faster: on a
processor with AMX, OpenVINO took half the time of its float32 but 1.2 times that of its bfloat16, and ONNX Runtime 1.6
times that of its float32. Where a processor has bfloat16, prefer it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe import advice
from segpipe.configuration import Configuration
from segpipe.data import SegmentationDataset, iterate_sources, parse_source, read_source
from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError, NumericalError
from segpipe.files import read_file
from segpipe.inference import ExportedNetwork, open_session, pixel_tensor, predict_views, resize_image
from segpipe.limits import limit
from segpipe.models import GridScores, SegmentationModel, SegpipeNetwork, as_tuple

from .formats import Format
from .onnx import quantize_onnx, write_onnx
from .torch_export import trace_network
from .verifying import Agreement, relative_difference

QUANTIZATION_VERSION = 2
"""To be raised when what is quantized changes, so that kept files are made again."""
MIN_AGREEMENT = 0.95
"""The fraction of cells of the network's grid that must keep their class on the images of the calibration."""
SAMPLES = 64
"""How many images the ranges of values are read from by default."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images, and how the model prepares them.

    Attributes:
        images: sources of those that the ranges of values are read from.
        others: sources of further ones, which only show what became of the network.
        configuration: of the model; its preprocessor and its inference count.
        reading: options of `read_source`, such as bit_depth.
    """

    images: tuple[Any, ...]
    others: tuple[Any, ...]
    configuration: Configuration
    reading: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Return a digest of the bytes of `images`, in their order, and of how they are read."""
        digests = [hashlib.sha256(_bytes_of(source)).hexdigest() for source in self.images]
        usual = signature(read_source).parameters
        digests += [f"{key}={value}" for key, value in sorted(self.reading.items()) if value != usual[key].default]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def read(self, source: Any) -> np.ndarray:
        """Read one of the images into (H, W, 3) uint8 RGB."""
        return read_source(source, **self.reading)


def choose_images(images: Any, configuration: Configuration, samples: int = SAMPLES, **reading: Any) -> Calibration:
    """Choose at most `samples` images at even steps, the same ones each time, and as many others if there are more.

    Args:
        images: a folder, a pattern, a list of images or a `SegmentationDataset`, whose labels are not used.
        configuration: of the model.
        samples: how many.
        reading: options of `read_source`. A data set has its own alpha and bit_depth.

    Raises:
        InputError: there is no image, or `samples` is not a number of images.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples is {samples!r}; it must be a whole number, at least 1. Leave it out for {SAMPLES}.")
    if _is_missing(images):
        raise InputError(f"There is no folder {str(images)!r} of images to calibrate with. Check the path.")
    is_dataset = isinstance(images, SegmentationDataset)
    sources = [pair.image for pair in images.pairs] if is_dataset else list(iterate_sources(images))
    if not sources:
        raise InputError("There is no image to calibrate with. Give a folder or a list of some, like those to come.")
    places = set(_spread(len(sources), samples))
    chosen = tuple(sources[place] for place in sorted(places))
    rest = [source for place, source in enumerate(sources) if place not in places]
    others = tuple(rest[place] for place in _spread(len(rest), samples))
    if is_dataset:
        reading |= images.pairs[0].reading._asdict()
    return Calibration(chosen, others, configuration, reading)


def write_quantized(
    network: SegpipeNetwork, path: Path, format: Format, *, pixels: torch.dtype, calibration: Calibration
) -> None:
    """Write an int8 file of a network, with two ONNX files beside it that are of no use afterwards.

    Args:
        network: float32, on the processor, in evaluation mode.
        path: of the file.
        format: see `Format.for_int8`.
        pixels: the type of the images that the file takes.
        calibration: the images whose values give the ranges.
    """
    assert format.from_onnx is not None
    floats, integers = path.with_name("float.onnx"), path.with_name("int8.onnx")
    write_onnx(trace_network(network, pixels), floats)
    views = record_all_views(network, calibration.images, calibration)
    quantize_onnx(floats, integers, (pixel_tensor(view, pixels).numpy() for view, _ in views))
    format.from_onnx(integers, path)


def measure_agreement(
    network: SegpipeNetwork, path: Path, format: Format, *, pixels: torch.dtype, calibration: Calibration
) -> tuple[Agreement, float, tuple[tuple[int, int], ...]]:
    """Compare an int8 file with its network.

    Returns:
        How often both decide alike; the largest difference of a logit, as a fraction of the largest one, on the images
        of the calibration; and the sizes of those.

    Raises:
        NumericalError: less than `MIN_AGREEMENT` of the cells keep their class, or a logit is not a number.
    """
    session = open_session(path, format=format.name, dtype="int8")
    exported = ExportedNetwork(session, network, tuple(network.pixel_mean.tolist()), pixels=pixels)
    share, difference, sizes = _compare(exported, record_all_views(network, calibration.images, calibration))
    if not share >= MIN_AGREEMENT or not np.isfinite(difference):
        raise NumericalError(
            f"Only {share:.1%} of the cells of the logits' grid keep their class in int8, on the images of the "
            f"calibration; {MIN_AGREEMENT:.0%} is what a sound file keeps. Nothing was kept. "
            f"Calibrate with more images like those to come, or give {advice.argument('dtype', 'float32')}."
        )
    others, *_ = _compare(exported, record_all_views(network, calibration.others, calibration))
    share_of_others = others if calibration.others else None
    agreement = Agreement(len(calibration.images), share, len(calibration.others), share_of_others)
    return agreement, difference, sizes


@torch.inference_mode()
def record_views(network: SegpipeNetwork, pixels: np.ndarray, configuration: Configuration) -> list[tuple[Tensor, Any]]:
    """Return each view of an image that the network gets in the pipeline, (1, 3, h, w), with its output.

    Args:
        network: of the model.
        pixels: (H, W, 3) uint8 RGB.
        configuration: of the model.
    """
    views: list[tuple[Tensor, Any]] = []
    hook = network.register_forward_hook(lambda _, inputs, output: views.append((inputs[0], output)))
    try:
        if isinstance(network, SegmentationModel):
            predict_views(network, pixels, configuration.preprocessor, configuration.inference)
        else:
            network(torch.tensor(resize_image(pixels, configuration.preprocessor)).permute(2, 0, 1)[None])
    finally:
        hook.remove()
    return views


def record_all_views(
    network: SegpipeNetwork, sources: Iterable[Any], calibration: Calibration
) -> Iterator[tuple[Tensor, Any]]:
    """Yield `record_views` of several images of a calibration, one after another."""
    for source in sources:
        yield from record_views(network, calibration.read(source), calibration.configuration)


@torch.inference_mode()
def _compare(
    exported: ExportedNetwork, views: Iterator[tuple[Tensor, Any]]
) -> tuple[float, float, tuple[tuple[int, int], ...]]:
    """Return the fraction of cells that keep their class, the largest difference, and the sizes of the views."""
    same = cells = 0
    differences, sizes = [], []
    for images, expected in views:
        found = exported(images)
        classes = _winners(exported.grid_scores(found))
        same += int((classes == _winners(exported.grid_scores(expected))).sum())
        cells += classes.numel()
        differences.append(relative_difference(as_tuple(found), as_tuple(expected)))
        sizes.append((images.shape[-2], images.shape[-1]))
    largest = float(np.max(differences, initial=0.0))  # NaN where one is
    return same / max(cells, 1), largest, tuple(dict.fromkeys(sizes))


def _winners(output: GridScores) -> Tensor:
    """Return the winning class of each cell (B, h, w), or of each image (B,) that is classified."""
    pairs = zip(*output, strict=True)
    return torch.stack(
        [(each if how is None else how.scores(each.movedim(0, -1)).movedim(-1, 0)).argmax(0) for each, how in pairs]
    )


def _is_missing(images: Any) -> bool:
    """Return whether it is a path to nothing, of which reading would say that an image of this name is missing."""
    if not isinstance(images, str | os.PathLike) or parse_source(images).is_many or "://" in os.fspath(images):
        return False
    return not os.path.exists(images)


def _spread(length: int, count: int) -> list[int]:
    """Return at most `count` places among `length`, at even steps."""
    count = min(length, count)
    return [place * length // count for place in range(count)]


def _bytes_of(source: Any) -> bytes:
    """Return a file's bytes; of all else its pixels."""
    if isinstance(source, str | os.PathLike) and os.path.isfile(source):
        return read_file(source, max_bytes=limit("image_bytes"), error=ImageDecodeError, too_large=ImageTooLargeError)
    pixels = read_source(source)
    return f"{pixels.shape}".encode() + pixels.tobytes()
