"""Read the JSON annotations of other tools, and draw their polygons, within bounds.

Polygons have COCO's coordinates: pixel (x, y) is the square from (x, y) to (x + 1, y + 1). OpenCV's fillPoly takes
coordinates as centers of pixels and fills the outline too: a square of 3 × 3 pixels becomes one of 4 × 4.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from segpipe.configuration import decode_document
from segpipe.errors import InputError
from segpipe.files import read_file
from segpipe.limits import limit

FARTHEST = 1e9
"""Coordinates beyond it cannot be meant, and would overflow."""
T = TypeVar("T")
_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
"""A string, which stays as it is, or a number that JSON does not know."""
_ADVICE = "docs/limits.md says how to raise the limit."
_AT_ONCE = 1 << 18
"""Crossings that are computed at a time."""


class Window(NamedTuple):
    """A part of a mask; pixels outside of it are 0."""

    rows: slice
    columns: slice
    mask: np.ndarray
    """(h, w) uint8 of 0 and 1, of the size of the part."""


class DrawingBudget:
    """A bound on what is drawn into one label, so that a small file cannot ask for hours of work."""

    def __init__(self) -> None:
        self._left = {name: limit(name) for name in ("drawn_pixels", "polygon_crossings")}

    def spend(self, name: str, amount: int) -> None:
        """Take an amount off; InputError if less than that is left."""
        self._left[name] -= amount
        if self._left[name] < 0:
            raise InputError(
                f"The objects of one label need more than {limit(name):,} {_UNITS[name]}. Simplify or remove some of "
                f"them; {_ADVICE}"
            )


def read_annotations(path: Path, kind: type[T], what: str) -> T:
    """Read a JSON file as a msgspec struct, as tools write it.

    Fields that the struct does not name are passed over, a whole number may be 1.0 or "1", and NaN and Infinity, which
    Python writes and JSON does not know, are null.

    Args:
        kind: the struct.
        what: the kind of file for the error message, such as "COCO's JSON".

    Raises:
        InputError: it is not a regular file, over `annotation_bytes`, or its content is not of that kind.
    """
    data = read_file(path, max_bytes=limit("annotation_bytes"), error=InputError)
    try:
        return decode_document(data, kind, strict=False)
    except ValueError as error:
        reason = error
    try:
        if b"NaN" in data or b"Infinity" in data:
            return decode_document(_NOT_JSON.sub(_null, data), kind, strict=False)
    except ValueError as error:
        reason = error
    raise InputError(f"{path} is not {what}: {reason}. Write it again, or name another file.")


def check_size(height: int, width: int, *, origin: str) -> None:
    """Refuse an image size that cannot be right, before an array of that size is made.

    Raises:
        InputError: a side is below 1, or there are more than `image_pixels` pixels.
    """
    most = limit("image_pixels")
    if min(height, width) < 1 or height * width > most:
        raise InputError(
            f"{origin} has the size {height} × {width} (height × width); each side must be 1 or more, and at most "
            f"{most:,} pixels are drawn. Correct the size; {_ADVICE}"
        )


def has_area(points: Sequence[Any]) -> bool:
    """Return whether these are x and y of at least three points, some triangle of which has an area."""
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


def polygon_window(points: Sequence[float], size: tuple[int, int], budget: DrawingBudget) -> Window:
    """Return the pixels whose centers are inside a polygon, by the even-odd rule, within its bounding box.

    Args:
        points: x1, y1, x2, y2, …, at least three points; they may lie outside the image.
        size: (height, width) of the image.
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
    first, last = (_first_center(edge(y, next_y), height) for edge in (np.minimum, np.maximum))
    top, bottom = int(first.min()), int(last.max())
    left, right = (int(_first_center(end, width)) for end in (x.min(), x.max()))
    counts = np.cumsum(last - first)  # crossings of the edges up to each one with rows of centers
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


_UNITS = {"drawn_pixels": "drawn pixels", "polygon_crossings": "crossings of polygon edges with rows of pixels"}


def _null(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else b"null"


def _differ(one: float, other: float) -> bool:
    """Return whether two products differ by more than rounding."""
    return abs(one - other) > 1e-9 * (abs(one) + abs(other))


def _first_center(places: np.ndarray, length: int) -> np.ndarray:
    """Return the first pixels whose centers are not before these places, from 0 to `length`."""
    return np.clip(np.ceil(places - 0.5), 0, length).astype(np.int64)
