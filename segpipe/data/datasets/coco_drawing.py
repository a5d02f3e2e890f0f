"""Labels from the objects of COCO's JSON."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segpipe.errors import InputError

from ..annotation_files import DrawingBudget
from ..rle import counts_to_mask, decode_mask
from .coco_objects import Objects, RunLengths, Shape
from .polygons import Window, polygon_window


def draw_objects(objects: Objects, background: int) -> np.ndarray:
    """Return the numbers of categories (H, W) int32.

    Where objects overlap, the one with fewer pixels wins; of equals, the later one.

    An object without a mask takes part with its box, whose pixels are `IGNORED`: they may be of its class or not.
    """
    budget = DrawingBudget()
    drawn = np.full(objects.size, background, np.int32)
    fewest = np.full(objects.size, np.iinfo(np.int32).max, np.int32)  # pixels of the object that has the place
    for shape in objects.shapes:
        rows, columns, mask = _window(shape, objects.size, budget)
        area = np.count_nonzero(mask)
        wins = mask.view(bool) & (fewest[rows, columns] >= area)
        drawn[rows, columns][wins] = shape.number
        fewest[rows, columns][wins] = area
    return drawn


def _window(shape: Shape, size: tuple[int, int], budget: DrawingBudget) -> Window:
    """Return the pixels of one object."""
    if shape.box is not None:
        box = shape.box
        budget.spend("drawn_pixels", (box.bottom - box.top) * (box.right - box.left))
        area = np.ones((box.bottom - box.top, box.right - box.left), np.uint8)
        return Window(slice(box.top, box.bottom), slice(box.left, box.right), area)
    if isinstance(shape.mask, RunLengths):
        return _run_length_window(shape.mask, size, budget)
    windows = [polygon_window(polygon, size, budget) for polygon in shape.mask or ()]
    return windows[0] if len(windows) == 1 else _joined(windows, budget)


def _run_length_window(mask: RunLengths, size: tuple[int, int], budget: DrawingBudget) -> Window:
    if mask.size != size:
        raise InputError(
            f"a run-length mask has size {mask.size}, the image {size} (height, width); they must be equal. "
            "Correct the JSON."
        )
    budget.spend("drawn_pixels", size[0] * size[1])
    counts = mask.counts
    drawn = decode_mask(counts, size) if isinstance(counts, str) else counts_to_mask(counts, size)
    rows, columns = (_extent(drawn.max(axis=axis)) for axis in (1, 0))
    return Window(rows, columns, drawn[rows, columns])


def _extent(is_used: np.ndarray) -> slice:
    """Return the places from the first to the last one that is used."""
    places = np.flatnonzero(is_used)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)


def _joined(windows: Sequence[Window], budget: DrawingBudget) -> Window:
    """Return the pixels that are in any of them."""
    top, left = (min(part.start for part in parts) for parts in _sides(windows))
    bottom, right = (max(part.stop for part in parts) for parts in _sides(windows))
    budget.spend("drawn_pixels", (bottom - top) * (right - left))
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for rows, columns, part in windows:
        mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= part
    return Window(slice(top, bottom), slice(left, right), mask)


def _sides(windows: Sequence[Window]) -> tuple[list[slice], list[slice]]:
    return [window.rows for window in windows], [window.columns for window in windows]
