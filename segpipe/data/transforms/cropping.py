"""Crop samples."""

from __future__ import annotations

import numpy as np

from ..sample import Sample
from .moving import move_alike, size_of
from .padding import Padding, pad_to
from .resizing import Size, fit_size, resize_to

BOXES = 10
"""How many boxes `random_crop` draws at most."""


def random_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, max_class_share: float, ignore_index: int
) -> Sample:
    """Crop to (height, width) at a place drawn uniformly; a side that is shorter stays as it is.

    With max_class_share below 1 a box is drawn again, up to ten boxes, until its label has more than one class and
    the most frequent one has less than this share of the labelled pixels. The tenth box is taken in any case.
    Source: mmsegmentation's RandomCrop with `cat_max_ratio`.
    """
    for _ in range(BOXES):
        corner = _random_corner(size_of(sample), size, rng)
        if sample.label is None or max_class_share >= 1.0:
            break
        if _is_varied(_cut(sample.label, corner, size), max_class_share, ignore_index):
            break
    return crop(sample, corner, size)


def center_crop(sample: Sample, rng: np.random.Generator, *, size: Size) -> Sample:
    """Crop to (height, width) around the centre; a side that is shorter stays as it is.

    Of an odd number of surplus pixels the larger half is cut right and bottom.
    """
    height, width = size_of(sample)
    return crop(sample, (max(height - size[0], 0) // 2, max(width - size[1], 0) // 2), size)


def random_resized_crop(
    sample: Sample, rng: np.random.Generator, *, size: Size, ratio: tuple[float, float], padding: Padding
) -> Sample:
    """Fit into the box (height · r, 4 · width · r) with r drawn uniformly, crop at random and pad to (height, width).

    The box is that of the PyTorch SegFormer whose recipes have this step; with a square size it is 1 : 4, so the
    short side decides for all usual pictures.
    """
    factor = rng.uniform(*ratio)
    box = int(size[0] * factor), int(size[1] * 4 * factor)
    resized = resize_to(sample, fit_size(size_of(sample), box))
    return pad_to(crop(resized, _random_corner(size_of(resized), size, rng), size), size, padding)


def crop(sample: Sample, corner: tuple[int, int], size: Size) -> Sample:
    """What lies in the box of (height, width) with this upper left corner (y, x): views, nothing is copied."""
    return move_alike(sample, lambda array: _cut(array, corner, size))


def _random_corner(size: Size, box: Size, rng: np.random.Generator) -> tuple[int, int]:
    y, x = (int(rng.integers(max(side - wanted, 0), endpoint=True)) for side, wanted in zip(size, box, strict=True))
    return y, x


def _cut(array: np.ndarray, corner: tuple[int, int], size: Size) -> np.ndarray:
    return array[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]


def _is_varied(label: np.ndarray, max_share: float, ignore_index: int) -> bool:
    counts = np.bincount(label.ravel())
    counts[ignore_index : ignore_index + 1] = 0
    return bool(np.count_nonzero(counts) > 1 and counts.max() < max_share * counts.sum())
