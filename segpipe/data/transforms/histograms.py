"""Spread or coarsen a picture's grey levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .moving import with_image

cv2 = import_opencv()

LEVELS = np.arange(256, dtype=np.float64)


def auto_contrast(sample: Sample, rng: np.random.Generator) -> Sample:
    """Stretch each channel so that its least value becomes 0 and its greatest 255; a flat one stays.

    Source: Pillow's `ImageOps.autocontrast` without cutoff, which cuts to whole numbers downwards.
    """
    return with_image(sample, _channel_by_channel(sample.image, _stretched))


def rerange(sample: Sample, rng: np.random.Generator, *, least: int, greatest: int) -> Sample:
    """Stretch all channels together, so that colours keep their tint; a flat picture stays.

    mmsegmentation's Rerange. On uint8 it can only spread the levels that there are: values are rounded, and with the
    whole range 0–255 already in use and asked for, nothing changes.
    """
    low, high = int(sample.image.min()), int(sample.image.max())
    if low == high:
        return sample
    table = (LEVELS - low) * ((greatest - least) / (high - low)) + least
    return with_image(sample, cv2.LUT(sample.image, np.rint(np.clip(table, 0, 255)).astype(np.uint8)))


def equalize(sample: Sample, rng: np.random.Generator) -> Sample:
    """Give each channel's levels equal shares of the pixels. Source: Pillow's `ImageOps.equalize`."""
    return with_image(sample, _channel_by_channel(sample.image, _equalized))


def clahe(sample: Sample, rng: np.random.Generator, *, clip_limit: float, tiles: tuple[int, int]) -> Sample:
    """Contrast-limited adaptive histogram equalisation of each channel (Zuiderveld 1994; OpenCV's).

    Args:
        clip_limit: where histograms are cut, in multiples of their mean.
        tiles: (rows, columns).
    """
    equalizer = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=tiles[::-1])
    return with_image(sample, _channel_by_channel(sample.image, equalizer.apply))


def posterize(sample: Sample, rng: np.random.Generator, *, bits: int) -> Sample:
    """Keep the highest bits of each value."""
    return with_image(sample, sample.image & np.uint8(256 - (1 << (8 - bits))))


def _channel_by_channel(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(channel) for channel in cv2.split(image)], axis=2)


def _stretched(channel: np.ndarray) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    if low == high:
        return channel
    scale = 255.0 / (high - low)
    return cv2.LUT(channel, np.clip(LEVELS * scale - low * scale, 0, 255).astype(np.uint8))


def _equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (channel.size - counts[channel.max()]) // 255  # the most of all levels is left out of the share
    if step == 0:
        return channel
    below = np.cumsum(counts) - counts
    return cv2.LUT(channel, np.minimum((below + step // 2) // step, 255).astype(np.uint8))
