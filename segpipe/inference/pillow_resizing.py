"""Pillow's resize of large pictures in bands that several threads share: the same pixels in half the time.

Pillow makes a picture smaller along its rows, rounds to whole numbers, and makes it smaller along its columns. So
either pass can be done a band at a time, with Pillow itself. A band stays in the caches; no whole picture is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from PIL import Image

LARGE_PIXELS = 1 << 22
"""From how many pixels on bands gain: threads that torch has just used hold the other cores for a while."""
BAND_PIXELS = 1 << 19
"""Pixels of a band."""


def resize_with_pillow(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    """(H, W, 3) uint8 → (h, w, 3) uint8, as `Image.resize` does it, to the last bit.

    Args:
        image: the picture.
        size: (h, w).
        resampling: Pillow's filter.
    """
    height, width = size
    # Where a side grows, Pillow may begin with the other one.
    if image[..., 0].size < LARGE_PIXELS or height > image.shape[0] or width > image.shape[1]:
        return _resize(image, size, resampling)
    narrow = np.empty((image.shape[0], width, 3), np.uint8)
    resized = np.empty((height, width, 3), np.uint8)

    def resize_rows(rows: slice) -> None:
        narrow[rows] = _resize(image[rows], (rows.stop - rows.start, width), resampling)

    def resize_columns(columns: slice) -> None:
        resized[:, columns] = _resize(narrow[:, columns], (height, columns.stop - columns.start), resampling)

    _run_in_bands(resize_rows, image.shape[0], image.shape[1])
    _run_in_bands(resize_columns, width, image.shape[0])
    return resized


def _resize(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resampling))


def _run_in_bands(run: Callable[[slice], None], length: int, breadth: int) -> None:
    """Run for slices of 0 to `length`, on as many threads as torch has."""
    count = min(length, -(-length * breadth // BAND_PIXELS))
    bands = [slice(start, stop) for start, stop in pairwise(np.linspace(0, length, count + 1).astype(int).tolist())]
    with ThreadPoolExecutor(min(count, torch.get_num_threads()), "segpipe-resize") as pool:
        list(pool.map(run, bands))
