"""Polygons to masks, with COCO's coordinates: pixel (x, y) is the square from (x, y) to (x + 1, y + 1).

OpenCV's fillPoly takes coordinates as centres of pixels and fills the outline too: a square of 3 × 3 pixels becomes one
of 4 × 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from segpipe.errors import InputError

from ..annotation_files import DrawingBudget

FARTHEST = 1e9
"""Coordinates beyond it cannot be meant, and would overflow."""
_AT_ONCE = 1 << 18
"""Crossings that are computed at a time."""


class Window(NamedTuple):
    """A part of a mask; pixels outside of it are 0."""

    rows: slice
    columns: slice
    mask: np.ndarray
    """(h, w) uint8 of 0 and 1, of the size of the part."""


def has_area(points: Sequence[Any]) -> bool:
    """Whether these are x and y of three points or more, of which some triangle with the first point has an area."""
    try:
        sum(points)
    except TypeError:  # something else than numbers
        return False
    if len(points) < 6 or len(points) % 2:
        return False
    x, y = points[2] - points[0], points[3] - points[1]
    for place in range(4, len(points), 2):
        next_x, next_y = points[place] - points[0], points[place + 1] - points[1]
        if _differ(x * next_y, y * next_x):
            return True
        x, y = next_x, next_y
    return False


def _differ(one: float, other: float) -> bool:
    """Whether two products differ by more than rounding."""
    return abs(one - other) > 1e-9 * (abs(one) + abs(other))


def rasterise_polygon(points: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 of 0 and 1: the pixels whose centres are inside, by the even-odd rule.

    Args:
        points: x1, y1, x2, y2, …, at least three points; they may lie outside the image.
        size: (height, width).
    """
    mask = np.zeros(size, np.uint8)
    rows, columns, inside = polygon_window(points, size, DrawingBudget())
    mask[rows, columns] = inside
    return mask


def polygon_window(points: Sequence[float], size: tuple[int, int], budget: DrawingBudget) -> Window:
    """`rasterise_polygon` without what lies outside of the polygon's bounding box.

    Args:
        budget: pays for the pixels of the box and for the rows that edges cross.

    Raises:
        InputError: fewer than three points, a coordinate beyond `FARTHEST`, or a budget that is spent.
    """
    corners = np.asarray(points, np.float64)
    if len(points) < 6 or len(points) % 2 or not (np.abs(corners) <= FARTHEST).all():
        raise InputError(
            f"A polygon has {len(points)} numbers: {list(points[:6])}…; it needs x and y of three points or more, "
            f"each within ±{FARTHEST:.0e}. Correct it, or leave it out."
        )
    height, width = size
    x, y = corners[::2], corners[1::2]  # (N,)
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    first, last = (_first_centre(edge(y, next_y), height) for edge in (np.minimum, np.maximum))
    top, bottom = int(first.min()), int(last.max())
    left, right = (int(_first_centre(end, width)) for end in (x.min(), x.max()))
    counts = np.cumsum(last - first)  # crossings of the edges up to each one with rows of centres
    budget.spend("polygon_crossings", int(counts[-1]))
    budget.spend("drawn_pixels", (bottom - top) * (right - left))
    toggles = np.zeros((bottom - top, right - left + 1), np.uint8)
    for start in range(0, int(counts[-1]), _AT_ONCE):
        places = np.arange(start, min(start + _AT_ONCE, int(counts[-1])))
        edges = np.searchsorted(counts, places, side="right")
        rows = last[edges] - (counts[edges] - places)
        slope = (next_x[edges] - x[edges]) / (next_y[edges] - y[edges])
        crossings = x[edges] + (rows + 0.5 - y[edges]) * slope
        columns = np.clip(np.ceil(crossings - 0.5), left, right).astype(np.int64) - left
        np.bitwise_xor.at(toggles, (rows - top, columns), 1)
    inside = np.bitwise_xor.accumulate(toggles[:, : right - left], axis=1)
    return Window(slice(top, bottom), slice(left, right), inside)


def _first_centre(places: np.ndarray, length: int) -> np.ndarray:
    """The first pixels whose centres are not before these places, from 0 to `length`."""
    return np.clip(np.ceil(places - 0.5), 0, length).astype(np.int64)
