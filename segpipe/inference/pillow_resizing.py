"""Pillow's resize of large pictures in bands that several threads share: the same pixels, sooner.

Pillow resizes one axis, rounds to whole numbers, and resizes the other. So either pass can be done a band at a time,
with Pillow itself, once it is known which axis comes first. A band stays in the caches.
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
    (rows, columns), (height, width) = image.shape[:2], size
    if rows * columns < LARGE_PIXELS or not _begins_with_rows(image.shape[:2], size):
        return _resize(image, size, resampling)
    narrow = np.empty((rows, width, 3), np.uint8)
    resized = np.empty((height, width, 3), np.uint8)

    def make_narrow(band: slice) -> None:
        narrow[band] = _resize(image[band], (band.stop - band.start, width), resampling)

    def make_low(band: slice) -> None:
        resized[:, band] = _resize(narrow[:, band], (height, band.stop - band.start), resampling)

    _run_in_bands(make_narrow, rows, columns)
    _run_in_bands(make_low, width, rows)
    return resized


def _begins_with_rows(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether both sides of a picture become smaller and Pillow makes its rows shorter first.

    Pillow 10.1 to 12 do so unless it is over a hundred times as high as wide, 13 unless it loses more than twice as
    many rows as columns.
    """
    lost_rows, lost_columns = before[0] - after[0], before[1] - after[1]
    return 0 < lost_rows <= 2 * lost_columns and before[0] <= 100 * before[1]


def _resize(image: np.ndarray, size: tuple[int, int], resampling: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), resampling))


def _run_in_bands(run: Callable[[slice], None], length: int, breadth: int) -> None:
    """Run for slices of 0 to `length`, on as many threads as torch has here."""
    count = min(length, -(-length * breadth // BAND_PIXELS))
    bands = [slice(start, stop) for start, stop in pairwise(np.linspace(0, length, count + 1).astype(int).tolist())]
    threads = min(count, torch.get_num_threads())
    if threads == 1:
        for band in bands:
            run(band)
        return
    with ThreadPoolExecutor(threads, "segpipe-resize") as pool:
        list(pool.map(run, bands))
