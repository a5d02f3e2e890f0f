"""Pad samples right and bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .moving import move, size_of
from .resizing import Size, resize_to, scale_size

cv2 = import_opencv()


@dataclass(frozen=True)
class Padding:
    """What pixels hold that no picture covers; further maps hold 0 there."""

    fill: tuple[int, int, int]
    """RGB of the picture."""
    label: int
    """Value of the label: ignore_index, as a rule."""


def pad(sample: Sample, rng: np.random.Generator, *, size: Size, padding: Padding) -> Sample:
    """Pad to (height, width) at least; a side that is longer stays as it is."""
    return pad_to(sample, size, padding)


def pad_to_multiple(sample: Sample, rng: np.random.Generator, *, multiple: int, padding: Padding) -> Sample:
    """Pad both sides to the next multiple."""
    height, width = (-(-side // multiple) * multiple for side in size_of(sample))
    return pad_to(sample, (height, width), padding)


def resize_pad(sample: Sample, rng: np.random.Generator, *, size: Size, padding: Padding) -> Sample:
    """Keep the ratio, fit into (height, width), and pad to exactly it."""
    height, width = size_of(sample)
    factor = min(size[0] / height, size[1] / width)
    fitted = scale_size((height, width), factor)
    return pad_to(resize_to(sample, fitted), size, padding)


def pad_to(sample: Sample, size: Size, padding: Padding) -> Sample:
    """The sample with (height, width) at least; itself when it has that already."""
    height, width = size_of(sample)
    bottom, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if bottom == right == 0:
        return sample
    return move(
        sample,
        lambda image: cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=padding.fill),
        lambda label: np.pad(label, ((0, bottom), (0, right)), constant_values=padding.label),
        lambda extra: np.pad(extra, ((0, bottom), (0, right), *[(0, 0)] * (extra.ndim - 2))),
    )
