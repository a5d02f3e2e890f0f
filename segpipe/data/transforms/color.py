"""Change an image's colors: brightness, contrast, saturation, hue, gray levels, sharpness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .resize_crop_pad import with_image

cv2 = import_opencv()
Interval = tuple[float, float]
HUES = 180
"""OpenCV's hues are steps of two degrees, 0 to 179."""
LEVELS = np.arange(256, dtype=np.float32)
_EXACT_LEVELS = np.arange(256, dtype=np.float64)


def photometric_distortion(
    sample: Sample,
    rng: np.random.Generator,
    *,
    brightness: float,
    contrast: Interval,
    saturation: Interval,
    hue: int,
) -> Sample:
    """Change brightness, contrast, saturation, hue, each with probability 1/2; contrast last with probability 1/2.

    Values are cut to 0–255 and to whole numbers, downwards, after each step, as in mmsegmentation's
    PhotoMetricDistortion. Hues turn by -hue to hue - 1 steps of two degrees, as there. The color space is that of
    the HSV cone; RGB here and BGR there give the same.
    """
    image = sample.image
    if rng.integers(2):
        image = _scale_values(image, offset=rng.uniform(-brightness, brightness))
    is_contrast_first = rng.integers(2)
    if is_contrast_first:
        image = _maybe_contrast(image, rng, contrast)
    if rng.integers(2):
        image = _change_hsv(image, 1, _truncated(LEVELS * np.float32(rng.uniform(*saturation))))
    if rng.integers(2) and hue:
        image = _turn_hue(image, int(rng.integers(-hue, hue)))
    if not is_contrast_first:
        image = _maybe_contrast(image, rng, contrast)
    return with_image(sample, image)


def color_jitter(
    sample: Sample, rng: np.random.Generator, *, brightness: float, contrast: float, saturation: float, hue: float
) -> Sample:
    """Change brightness, contrast, saturation and hue, in this order, by given amounts; torchvision's definitions.

    Contrast is relative to the mean gray of the image, saturation to the gray of each pixel; hue is in turns.
    """
    image = _looked_up(sample.image, LEVELS * brightness)
    mean = int(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean() + 0.5)
    image = _looked_up(image, mean + contrast * (LEVELS - mean))
    image = cv2.addWeighted(image, saturation, _gray(image), 1.0 - saturation, 0.0)
    steps = round(hue * HUES)
    return with_image(sample, _turn_hue(image, steps) if steps else image)


def gamma_curve(sample: Sample, rng: np.random.Generator, *, gamma: float, gain: float) -> Sample:
    """Set 255 · gain · (value / 255)^gamma: above 1 darker, as in torchvision; mmsegmentation's is the inverse."""
    return with_image(sample, _looked_up(sample.image, 255.0 * gain * (LEVELS / 255.0) ** gamma))


def grayscale(sample: Sample, rng: np.random.Generator) -> Sample:
    """Put 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) into all three channels."""
    return with_image(sample, _gray(sample.image))


def sharpness(sample: Sample, rng: np.random.Generator, *, factor: float) -> Sample:
    """Add `factor` times what smoothing takes away to the smoothed image: 0 smoothed, 1 as it is, 2 sharper.

    Smoothing is the 3 × 3 mean with weight 5 in the middle, the outermost pixels stay; torchvision's and Pillow's.
    """
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13
    smooth = cv2.filter2D(sample.image, -1, kernel)
    sharp = cv2.addWeighted(sample.image, factor, smooth, 1.0 - factor, 0.0)
    result = sample.image.copy()
    result[1:-1, 1:-1] = sharp[1:-1, 1:-1]
    return with_image(sample, result)


def gaussian_blur(sample: Sample, rng: np.random.Generator, *, kernel: int, sigma: float | None) -> Sample:
    """Blur with a Gaussian; borders are mirrored without repeating the outermost pixel.

    Args:
        kernel: pixels of the kernel's side; odd.
        sigma: standard deviation in pixels. If None, 0.15 · kernel + 0.35, torchvision's and OpenCV's rule.
    """
    sigma = 0.15 * kernel + 0.35 if sigma is None else sigma
    return with_image(sample, cv2.GaussianBlur(sample.image, (kernel, kernel), sigma))


def auto_contrast(sample: Sample, rng: np.random.Generator) -> Sample:
    """Stretch each channel so that its least value becomes 0 and its greatest 255; a flat one stays.

    Source: Pillow's `ImageOps.autocontrast` without cutoff, which cuts to whole numbers downwards.
    """
    return with_image(sample, _channel_by_channel(sample.image, _stretched))


def rerange(sample: Sample, rng: np.random.Generator, *, least: int, greatest: int) -> Sample:
    """Stretch all channels together, so that colors keep their tint; a flat image stays.

    mmsegmentation's Rerange. On uint8 it can only spread the levels that there are: values are rounded, and with the
    whole range 0–255 already in use and asked for, nothing changes.
    """
    low, high = int(sample.image.min()), int(sample.image.max())
    if low == high:
        return sample
    table = (_EXACT_LEVELS - low) * ((greatest - least) / (high - low)) + least
    return with_image(sample, _looked_up(sample.image, table))


def equalize(sample: Sample, rng: np.random.Generator) -> Sample:
    """Give each channel's levels equal shares of the pixels. Source: Pillow's `ImageOps.equalize`."""
    return with_image(sample, _channel_by_channel(sample.image, _equalized))


def clahe(sample: Sample, rng: np.random.Generator, *, clip_limit: float, tiles: tuple[int, int]) -> Sample:
    """Equalize each channel's histogram adaptively, with limited contrast (Zuiderveld 1994; OpenCV's CLAHE).

    Args:
        clip_limit: where histograms are cut, in multiples of their mean.
        tiles: (rows, columns).
    """
    equalizer = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=tiles[::-1])
    return with_image(sample, _channel_by_channel(sample.image, equalizer.apply))


def posterize(sample: Sample, rng: np.random.Generator, *, bits: int) -> Sample:
    """Keep the highest bits of each value."""
    return with_image(sample, sample.image & np.uint8(256 - (1 << (8 - bits))))


def _maybe_contrast(image: np.ndarray, rng: np.random.Generator, contrast: Interval) -> np.ndarray:
    return _scale_values(image, factor=rng.uniform(*contrast)) if rng.integers(2) else image


def _scale_values(image: np.ndarray, factor: float = 1.0, offset: float = 0.0) -> np.ndarray:
    return cv2.LUT(image, _truncated(LEVELS * np.float32(factor) + np.float32(offset)))


def _turn_hue(image: np.ndarray, steps: int) -> np.ndarray:
    return _change_hsv(image, 0, ((np.arange(256) + steps) % HUES).astype(np.uint8))


def _change_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    tables = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    tables[0, :, channel] = table
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), tables)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def _truncated(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _looked_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    return cv2.LUT(image, np.rint(np.clip(table, 0, 255)).astype(np.uint8))


def _gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _channel_by_channel(image: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([change(channel) for channel in cv2.split(image)], axis=2)


def _stretched(channel: np.ndarray) -> np.ndarray:
    low, high = int(channel.min()), int(channel.max())
    if low == high:
        return channel
    scale = 255.0 / (high - low)
    return cv2.LUT(channel, np.clip(_EXACT_LEVELS * scale - low * scale, 0, 255).astype(np.uint8))


def _equalized(channel: np.ndarray) -> np.ndarray:
    counts = np.bincount(channel.ravel(), minlength=256)
    step = (channel.size - counts[channel.max()]) // 255  # the most of all levels is left out of the share
    if step == 0:
        return channel
    below = np.cumsum(counts) - counts
    return cv2.LUT(channel, np.minimum((below + step // 2) // step, 255).astype(np.uint8))
