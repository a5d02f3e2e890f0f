"""Sharpen and blur pictures."""

from __future__ import annotations

import numpy as np

from segpipe.extras import import_opencv

from ..sample import Sample
from .moving import with_image

cv2 = import_opencv()


def sharpness(sample: Sample, rng: np.random.Generator, *, factor: float) -> Sample:
    """The smoothed picture plus `factor` times what smoothing takes away: 0 smoothed, 1 as it is, 2 sharper.

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
        sigma: standard deviation in pixels; None: 0.15 · kernel + 0.35, torchvision's and OpenCV's rule.
    """
    sigma = 0.15 * kernel + 0.35 if sigma is None else sigma
    return with_image(sample, cv2.GaussianBlur(sample.image, (kernel, kernel), sigma))
