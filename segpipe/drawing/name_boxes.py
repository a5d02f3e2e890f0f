"""Write the names of classes on an image, each where its class is broad, and none over another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from segpipe.extras import import_opencv

from .lettering import INK, PAPER, find_font

cv2 = import_opencv()

_SMALLEST_FONT, _LARGEST_FONT = 8, 128
_USUAL_FONT = 13
_SAMPLED_SIDE = 512
"""Of a larger image only each second, third, … row and column is looked at for places."""
_BROAD = 0.7
"""Of a class's greatest breadth: where it is as broad as this, its name may stand."""

_Box = tuple[int, int, int, int]
"""(top, left, bottom, right)."""


def draw_names(image: np.ndarray, label_map: np.ndarray, classes: Sequence[tuple[int, str]]) -> np.ndarray:
    """Return a copy of an image with the names of classes, in white letters with a dark edge.

    The middle of a name lies on its class, where the class is nearly as broad as anywhere; among these places it is the
    one nearest to the median of the class's rows and columns. Letters grow with the image. No name covers another one:
    it goes to the next best pixel of its class, and a class without room for its name goes without.

    Args:
        image: (H, W, 3) uint8.
        label_map: (H, W) class indices.
        classes: index and name of each that is named, all in the label map; the first has the choice of places.
    """
    canvas = Image.fromarray(image)
    drawing = ImageDraw.Draw(canvas)
    taken: list[_Box] = []
    for index, name in classes:
        text = " ".join(name.split())
        size, box_size = _fit_text(text, label_map.shape)
        box = _find_room(*_places_of(label_map, index), box_size, label_map.shape, taken) if text else None
        if box is None:
            continue
        taken.append(box)
        top, left, bottom, right = box
        middle = (left + right) / 2, (top + bottom) / 2
        font = find_font(text, size)
        drawing.text(middle, text, font=font, fill=PAPER, anchor="mm", stroke_width=_edge(size), stroke_fill=INK)
    return np.asarray(canvas).copy()


def _fit_text(text: str, shape: tuple[int, ...]) -> tuple[int, tuple[int, int]]:
    """Return the size of the letters and the (height, width) of the box; letters shrink where it would be too wide."""
    size = min(max(_USUAL_FONT, round(min(shape) / 28)), _LARGEST_FONT)
    while True:
        box_size = round(1.1 * size) + 2 * _edge(size), round(find_font(text, size).getlength(text)) + 2 * _edge(size)
        if box_size[1] <= shape[1] or size == _SMALLEST_FONT:
            return size, box_size
        size -= 1


def _edge(size: int) -> int:
    return max(1, round(size / 7))


def _places_of(label_map: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of the class, (N, 2), of a large image a sample, and the class's breadth there, (N,)."""
    step = max(1, min(label_map.shape) // _SAMPLED_SIDE)
    mask = label_map[::step, ::step] == index
    if not mask.any():
        step, mask = 1, label_map == index
    padded = np.pad(mask, 1).view(np.uint8)  # the image's border is a border, too
    breadth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    return np.argwhere(mask) * step, breadth[mask]


def _find_room(
    pixels: np.ndarray, breadth: np.ndarray, box_size: tuple[int, int], shape: tuple[int, ...], taken: Sequence[_Box]
) -> _Box | None:
    """Return a box inside the image around the best pixel that has room for it."""
    height, width = box_size
    if height > shape[0] or width > shape[1]:
        return None
    corners = np.clip(pixels - (height // 2, width // 2), 0, (shape[0] - height, shape[1] - width))
    tops, lefts = corners.T
    is_free = np.ones(len(pixels), dtype=bool)
    for top, left, bottom, right in taken:
        is_free &= (tops >= bottom) | (tops + height <= top) | (lefts >= right) | (lefts + width <= left)
    if not is_free.any():
        return None
    is_broad = is_free & (breadth >= _BROAD * breadth[is_free].max())
    distances = ((pixels - np.median(pixels, axis=0)) ** 2).sum(axis=1)
    top, left = (int(side) for side in corners[np.where(is_broad, distances, np.inf).argmin()])
    return top, left, top + height, left + width
