"""Bring a picture to the size at which a network wants to see it, with the filter it was trained with."""

from __future__ import annotations

import numpy as np

from segpipe.configuration import ExactResize, PreprocessorConfig

Size = tuple[int, int]


def resized_size(size: Size, config: PreprocessorConfig) -> Size:
    """(height, width) after preprocessing of a picture of (height, width)."""
    resize = config.resize
    if resize is None:
        return size
    if isinstance(resize, ExactResize):
        return resize.size
    return _fit_short_side(size, resize.size, resize.max_long_side)


def resize_image(image: np.ndarray, config: PreprocessorConfig) -> np.ndarray:
    """(H, W, 3) uint8 → (h, w, 3) uint8; the same array when nothing is to be done."""
    size = resized_size(image.shape[:2], config)
    if config.resize is None or size == image.shape[:2]:
        return image
    if config.resize.library == "opencv":
        from segpipe.extras import import_opencv

        cv2 = import_opencv()
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
