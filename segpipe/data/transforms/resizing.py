"""Resize samples: pictures bilinear, labels and further maps nearest, all with OpenCV's rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .moving import move, size_of

cv2 = import_opencv()

Size = tuple[int, int]


def resize(sample: Sample, rng: np.random.Generator, *, size: Size) -> Sample:
    """Keep the ratio and fit into (short side, long side); see `fit_size`."""
    return resize_to(sample, fit_size(size_of(sample), size))


def random_resize(sample: Sample, rng: np.random.Generator, *, size: Size | None, ratio: tuple[float, float]) -> Sample:
    """Multiply the box (short side, long side) by a factor drawn uniformly, cut to whole pixels, and fit into it.

    With size None the box is the picture's own size. Source: mmsegmentation's Resize with `ratio_range`.
    """
    height, width = size_of(sample) if size is None else size
    factor = rng.uniform(*ratio)
    return resize_to(sample, fit_size(size_of(sample), (int(height * factor), int(width * factor))))


def resize_between(sample: Sample, rng: np.random.Generator, *, least: Size, greatest: Size) -> Sample:
    """Fit into a box whose long and short side are drawn, each for itself, from least to greatest inclusive."""
    long = int(rng.integers(max(least), max(greatest), endpoint=True))
    short = int(rng.integers(min(least), min(greatest), endpoint=True))
    return resize_to(sample, fit_size(size_of(sample), (short, long)))


def resize_choice(sample: Sample, rng: np.random.Generator, *, sizes: Sequence[Size]) -> Sample:
    """Fit into one of several boxes, all equally likely."""
    return resize_to(sample, fit_size(size_of(sample), sizes[int(rng.integers(len(sizes)))]))


def aligned_resize(sample: Sample, rng: np.random.Generator, *, size: Size, multiple: int) -> Sample:
    """Fit into the box, then resize once more, up to a multiple: two resizes, as NVlabs' AlignedResize does."""
    fitted = resize(sample, rng, size=size)
    height, width = (-(-side // multiple) * multiple for side in size_of(fitted))
    return resize_to(fitted, (height, width))


def fit_size(size: Size, box: Size) -> Size:
    """(height, width) after fitting into (short side, long side), in either order.

    The factor is min(long / long side of the picture, short / short side of the picture); halves are rounded up.
    Source: mmcv's `rescale_size`.
    """
    factor = min(max(box) / max(size), min(box) / min(size))
    return scale_size(size, factor)


def scale_size(size: Size, factor: float) -> Size:
    """(height, width) times factor; halves are rounded up, and a side keeps one pixel at least."""
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width


def resize_to(sample: Sample, size: Size) -> Sample:
    """The sample at (height, width), whatever its ratio; itself when it has that size."""
    old = size_of(sample)
    if size == old:
        return sample
    return move(
        sample,
        lambda image: cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR),
        lambda label: cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST),
        lambda extra: extra[_nearest(old[0], size[0])[:, None], _nearest(old[1], size[1])],
    )


def _nearest(old: int, new: int) -> np.ndarray:
    """(new,) source indices that OpenCV's INTER_NEAREST takes; further maps may have dtypes that it cannot resize."""
    indices: np.ndarray = cv2.resize(np.arange(old, dtype=np.int32)[None], (new, 1), interpolation=cv2.INTER_NEAREST)
    return indices[0]
