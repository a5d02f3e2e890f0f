"""Bring a picture to the size at which a network wants to see it, with the filter it was trained with."""

from __future__ import annotations

import numpy as np

from segpipe.configuration import ExactResize, PreprocessorConfig, ShortSideResize

Size = tuple[int, int]


def resized_size(size: Size, config: PreprocessorConfig) -> Size:
    """(height, width) after preprocessing of a picture of (height, width)."""
    match config.resize:
        case None:
            return size
        case ExactResize(size=exact):
            return exact
        case ShortSideResize(size=short, max_long_side=long):
            return _fit_short_side(size, short, long)


def resize_image(image: np.ndarray, config: PreprocessorConfig) -> np.ndarray:
    """(H, W, 3) uint8 → (h, w, 3) uint8; the same array when nothing is to be done."""
    size = resized_size(image.shape[:2], config)
    if config.resize is None or size == image.shape[:2]:
        return image
    if config.resize.library == "opencv":
        import cv2

        return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _fit_short_side(size: Size, short: int, long: int | None) -> Size:
    """Keep the ratio; a half is rounded up, as mmcv's `rescale_size` does."""
    factor = short / min(size)
    if long is not None:
        factor = min(factor, long / max(size))
    height, width = (max(1, int(side * factor + 0.5)) for side in size)
    return height, width
