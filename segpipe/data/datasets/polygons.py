"""Polygons to masks, with COCO's coordinates: pixel (x, y) is the square from (x, y) to (x + 1, y + 1).

OpenCV's fillPoly takes coordinates as centres of pixels and fills the outline too: a square of 3 × 3 pixels becomes one
of 4 × 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.errors import InputError


def rasterise_polygon(points: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of 0 and 1: the pixels whose centres are inside, by the even-odd rule.

    Args:
        points: x1, y1, x2, y2, …, at least three points; they may lie outside the picture.
        size: (height, width).
    """
    if len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise InputError(
            f"A polygon has {len(points)} numbers: {list(points[:6])}…; it needs x and y of three points or more. "
            "Correct it, or leave it out."
        )
    height, width = size
    corners = np.asarray(points, np.float64).reshape(-1, 1, 2)
    x, y = corners[..., 0], corners[..., 1]  # (N, 1)
    next_x, next_y = np.roll(x, -1, axis=0), np.roll(y, -1, axis=0)
    centres = np.arange(height) + 0.5  # (H,)
    edges, rows = np.nonzero((y <= centres) != (next_y <= centres))  # which edges cross which row of centres
    slope = (next_x - x)[edges, 0] / (next_y - y)[edges, 0]
    crossings = x[edges, 0] + (centres[rows] - y[edges, 0]) * slope
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(np.int64)  # the first centre right of the edge
    toggles = np.zeros((height, width + 1), np.int64)
    np.add.at(toggles, (rows, columns), 1)
    return (np.cumsum(toggles[:, :width], axis=1) & 1).astype(np.uint8)
