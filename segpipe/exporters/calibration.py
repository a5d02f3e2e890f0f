"""The pictures that an int8 file is calibrated with, and what a network sees of them in the pipeline."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segpipe.configuration import Configuration
from segpipe.data import SegmentationDataset, is_many, iterate_sources, read_source
from segpipe.errors import ImageDecodeError, ImageTooLargeError, InputError
from segpipe.files import read_file
from segpipe.inference import Network, predict, resize_image
from segpipe.limits import limit
from segpipe.models import SegmentationModel, SegpipeNetwork

SAMPLES = 64
"""How many pictures ranges are read from where nothing is said."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pictures, and how the model wants to see them.

    Attributes:
        pictures: sources of those that the ranges of values are read from.
        others: sources of further ones, which only show what became of the network.
        configuration: of the model; its preprocessor and its inference count.
        reading: options of `read_source`, such as bit_depth.
    """

    pictures: tuple[Any, ...]
    others: tuple[Any, ...]
    configuration: Configuration
    reading: Mapping[str, Any] = field(default_factory=dict)

    def digest(self) -> str:
        """Of the bytes of the pictures that the ranges are read from, in their order, and how they are read."""
        digests = [hashlib.sha256(_bytes_of(source)).hexdigest() for source in self.pictures]
        usual = signature(read_source).parameters
        digests += [f"{key}={value}" for key, value in sorted(self.reading.items()) if value != usual[key].default]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def read(self, source: Any) -> np.ndarray:
        """Read one of the pictures into (H, W, 3) uint8 RGB."""
        return read_source(source, **self.reading)


def choose_pictures(pictures: Any, configuration: Configuration, samples: int = SAMPLES, **reading: Any) -> Calibration:
    """At most `samples` pictures at even steps, the same ones each time, and as many others where there are more.

    Args:
        pictures: a folder, a pattern, a list of pictures or a `SegmentationDataset`; labels are not looked at.
        configuration: of the model.
        samples: how many.
        reading: options of `read_source`. A data set has its own alpha and bit_depth.

    Raises:
        InputError: there is no picture, or `samples` is no number of pictures.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples is {samples!r}; it must be a whole number, at least 1. Leave it out for {SAMPLES}.")
    if _is_missing(pictures):
        raise InputError(f"There is no folder {str(pictures)!r} of pictures to calibrate with. Check the path.")
    is_dataset = isinstance(pictures, SegmentationDataset)
    sources = [pair.image for pair in pictures.pairs] if is_dataset else list(iterate_sources(pictures))
    if not sources:
        raise InputError("There is no picture to calibrate with. Give a folder or a list of some, like those to come.")
    places = set(_spread(len(sources), samples))
    chosen = tuple(sources[place] for place in sorted(places))
    rest = [source for place, source in enumerate(sources) if place not in places]
    others = tuple(rest[place] for place in _spread(len(rest), samples))
    if is_dataset:
        reading |= pictures.pairs[0].reading._asdict()
    return Calibration(chosen, others, configuration, reading)


def _is_missing(pictures: Any) -> bool:
    """Whether it is a path to nothing, of which reading would say that a picture of this name is missing."""
    if not isinstance(pictures, str | os.PathLike) or is_many(pictures) or "://" in os.fspath(pictures):
        return False
    return not os.path.exists(pictures)


@torch.inference_mode()
def see_picture(
    network: SegpipeNetwork, pixels: np.ndarray, configuration: Configuration
) -> list[tuple[Tensor, Tensor]]:
    """Each look that the network takes at a picture, as in the pipeline: its pixels (1, 3, h, w) and its logits.

    Args:
        network: of the model.
        pixels: (H, W, 3) uint8 RGB.
        configuration: of the model.
    """
    witness = _Witness(network)
    if isinstance(network, SegmentationModel):
        predict(witness, pixels, configuration.preprocessor, configuration.inference)
    else:
        witness(torch.tensor(resize_image(pixels, configuration.preprocessor)).permute(2, 0, 1)[None])
    return witness.looks


def see_pictures(
    network: SegpipeNetwork, sources: Iterable[Any], calibration: Calibration
) -> Iterator[tuple[Tensor, Tensor]]:
    """`see_picture` of several pictures of a calibration, one after another."""
    for source in sources:
        yield from see_picture(network, calibration.read(source), calibration.configuration)


class _Witness:
    """Quacks as the network and notes what it is given and what it gives."""

    def __init__(self, network: Network) -> None:
        self.num_classes, self.pixel_mean, self.input_size = network.num_classes, network.pixel_mean, network.input_size
        self.best_multiple = network.best_multiple
        self.looks: list[tuple[Tensor, Tensor]] = []
        self._network = network

    def __call__(self, images: Tensor) -> Tensor:
        logits = self._network(images)
        self.looks.append((images, logits))
        return logits


def _spread(length: int, count: int) -> list[int]:
    """At most `count` places among so many, at even steps."""
    count = min(length, count)
    return [place * length // count for place in range(count)]


def _bytes_of(source: Any) -> bytes:
    """A file as it is; of all else the pixels."""
    if isinstance(source, str | os.PathLike) and os.path.isfile(source):
        return read_file(source, max_bytes=limit("image_bytes"), error=ImageDecodeError, too_large=ImageTooLargeError)
    pixels = read_source(source)
    return f"{pixels.shape}".encode() + pixels.tobytes()
