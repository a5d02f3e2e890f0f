"""The weights of bilinear resizing along one axis."""

from __future__ import annotations

import numpy as np


def bilinear_weights(cells: int, length: int, *, scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What each pixel of a resized axis reads, without corner alignment, bit for bit as torch's `interpolate`.

    Args:
        cells: length before.
        length: length after.
        scale: cells per pixel where it is not cells / length, as after cropping.

    Returns:
        (length,) the first cell that each pixel reads, and (length, 2) float32 weights of it and its neighbour;
        (length, 1) where there is only one cell.
    """
    step = np.float32(cells) / np.float32(length) if scale is None else np.float32(scale)
    # In float32 as torch computes it, with one rounding (a fused multiply-add).
    positions = (np.float64(step) * (np.arange(length) + 0.5) - 0.5).astype(np.float32)
    positions = np.clip(positions, 0, cells - 1)
    starts = np.minimum(positions.astype(np.int64), max(cells - 2, 0))
    offset = positions - starts.astype(np.float32)
    weights = np.stack([1 - offset, offset], axis=1)[:, : min(cells, 2)]
    return starts, np.ascontiguousarray(weights)
