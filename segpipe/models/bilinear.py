"""The weights of bilinear resizing along one axis."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import interpolate


def bilinear_weights(cells: int, length: int, *, scale: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return what each pixel of a resized axis reads, without corner alignment, bit for bit as torch's `interpolate`.

    The weights are those that torch has on this processor, since not all of them round a position the same way.

    Args:
        cells: length before.
        length: length after.
        scale: cells per pixel where it is not cells / length, as after cropping.

    Returns:
        (length,) the first cell that each pixel reads, and (length, 2) float32 weights of it and its neighbor;
        (length, 1) where there is only one cell.
    """
    step = np.float32(cells) / np.float32(length) if scale is None else np.float32(scale)
    positions = _positions_rounded_once(step, length) if _rounds_once() else _positions_rounded_twice(step, length)
    positions = np.clip(positions, 0, cells - 1)
    starts = np.minimum(positions.astype(np.int64), max(cells - 2, 0))
    offset = positions - starts.astype(np.float32)
    weights = np.stack([1 - offset, offset], axis=1)[:, : min(cells, 2)]
    return starts, np.ascontiguousarray(weights)


def _positions_rounded_once(step: np.float32, length: int) -> np.ndarray:
    """Return (length,) float32 positions in cells, rounded once: float64 holds the product exactly."""
    return (np.float64(step) * (np.arange(length) + 0.5) - 0.5).astype(np.float32)


def _positions_rounded_twice(step: np.float32, length: int) -> np.ndarray:
    """Return (length,) float32 positions in cells, rounded after the product and after the difference."""
    return step * (np.arange(length, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)


@lru_cache(maxsize=1)
def _rounds_once() -> bool:
    """Return whether torch's `interpolate` fuses the multiplication and the addition of a position here.

    It does where the processor has the instruction and the build uses it (AVX2, AVX-512, ARM), and not with
    `ATEN_CPU_CAPABILITY=default`. Between cells of 0 and 1 the interpolated value is the position itself.
    """
    length = 1000
    ramp = torch.tensor([[[0.0, 1.0]]], device="cpu")
    found = interpolate(ramp, size=length, mode="linear", align_corners=False)[0, 0].numpy()
    return np.array_equal(found, _positions_rounded_once(np.float32(2) / np.float32(length), length).clip(0, 1))
