"""The names of classes on a picture, each in a white box that stands on its class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from .rendering import INK, PAPER, find_font

_SMALLEST_FONT, _LARGEST_FONT = 8, 128
_USUAL_FONT = 12
_SAMPLED_SIDE = 512
"""Of a larger picture only each second, third, … row and column is looked at for places."""

_Box = tuple[int, int, int, int]
"""(top, left, bottom, right)."""


def draw_names(picture: np.ndarray, label_map: np.ndarray, classes: Sequence[tuple[int, str]]) -> np.ndarray:
    """A copy of the picture with the names of classes.

    A box holds the pixel of its class that is nearest to the median of the class's rows and columns; the median itself
    may lie outside of the class. Letters grow with the picture. No box covers another one: it goes to the next nearest
    pixel of its class, and a class without room for its name goes without.

    Args:
        picture: (H, W, 3) uint8.
        label_map: (H, W) class indices.
        classes: index and name of each that is named, all in the label map; the first has the choice of places.
    """
    canvas = Image.fromarray(picture)
    drawing = ImageDraw.Draw(canvas)
    taken: list[_Box] = []
    for index, name in classes:
        text = " ".join(name.split())
        size, box_size = _fit_text(text, label_map.shape)
        box = _find_room(_pixels_of(label_map, index), box_size, label_map.shape, taken) if text else None
        if box is None:
            continue
        taken.append(box)
        top, left, bottom, right = box
        drawing.rounded_rectangle((left, top, right - 1, bottom - 1), radius=size // 4, fill=PAPER)
        middle = (left + right) / 2, (top + bottom) / 2
        drawing.text(middle, text, font=find_font(text, size), fill=INK, anchor="mm")
    return np.asarray(canvas).copy()


def _fit_text(text: str, shape: tuple[int, ...]) -> tuple[int, tuple[int, int]]:
    """The size of the letters and the (height, width) of the box; smaller letters where the box would be too wide."""
    size = min(max(_USUAL_FONT, round(min(shape) / 30)), _LARGEST_FONT)
    while True:
        box_size = round(1.4 * size), round(find_font(text, size).getlength(text)) + size // 2
        if box_size[1] <= shape[1] or size == _SMALLEST_FONT:
            return size, box_size
        size -= 1


def _pixels_of(label_map: np.ndarray, index: int) -> np.ndarray:
    """(N, 2) rows and columns of the class, of a large picture a sample of them."""
    step = max(1, min(label_map.shape) // _SAMPLED_SIDE)
    sampled = np.argwhere(label_map[::step, ::step] == index) * step
    return sampled if len(sampled) else np.argwhere(label_map == index)


def _find_room(
    pixels: np.ndarray, box_size: tuple[int, int], shape: tuple[int, ...], taken: Sequence[_Box]
) -> _Box | None:
    """A box inside the picture around the pixel nearest to the median that has room for it."""
    height, width = box_size
    if height > shape[0] or width > shape[1]:
        return None
    corners = np.clip(pixels - (height // 2, width // 2), 0, (shape[0] - height, shape[1] - width))
    distances = ((pixels - np.median(pixels, axis=0)) ** 2).sum(axis=1)
    tops, lefts = corners.T
    for top, left, bottom, right in taken:
        distances[(tops < bottom) & (tops + height > top) & (lefts < right) & (lefts + width > left)] = np.inf
    best = int(distances.argmin())
    if np.isinf(distances[best]):
        return None
    top, left = (int(side) for side in corners[best])
    return top, left, top + height, left + width
