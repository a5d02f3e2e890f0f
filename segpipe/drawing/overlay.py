"""Draw label maps in color, alone or over an image with borders between the classes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np

from segpipe.errors import InputError
from segpipe.extras import import_opencv

cv2 = import_opencv()

Palette = Sequence[Sequence[int]]

OPACITY = 0.5
"""Of the class colors on an image."""
_BORDER_OPACITY = 0.85
"""Of the white line between classes."""
_SIDE_PER_BORDER = 400
"""Pixels of an image's shorter side for each pixel of a border's width."""


def complete_palette(palette: Palette | None, num_classes: int) -> np.ndarray:
    """Return the palette as (K, 3) uint8 RGB; if None, a generated one.

    Generated hues step around the circle by the golden ratio, so that neighboring classes differ most, and go through
    six pairs of saturation and brightness; the first 512 colors differ from one another, and none is black, which
    stands for void. The same class has the same color whatever the number of classes.
    """
    if palette is None:
        return np.array([_generated_color(index) for index in range(num_classes)], dtype=np.uint8).reshape(-1, 3)
    colors = np.asarray(palette)
    if colors.shape != (num_classes, 3) or colors.min() < 0 or colors.max() > 255:
        raise InputError(
            f"The palette has shape {colors.shape}; {num_classes} classes need ({num_classes}, 3), values in 0–255. "
            "Give one (red, green, blue) per class, or None for generated colors."
        )
    return colors.astype(np.uint8)


def brighten(palette: np.ndarray) -> np.ndarray:
    """Return a palette (K, 3) uint8 whose dark colors are lighter, with the same hues and saturations.

    A color's brightest channel, as a share of 255, becomes its square root: 64 becomes 128, 128 becomes 181. So the
    order of brightness stays, and colors that differ still do.
    """
    peak = palette.max(axis=1, keepdims=True).astype(np.float64)
    return np.rint(palette * np.sqrt(255.0 / np.maximum(peak, 1.0))).astype(np.uint8)


def colorize(label_map: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8, each pixel in the color of its class; class indices beyond the palette are black.

    Args:
        label_map: (H, W) uint8 or uint16.
        palette: (K, 3) uint8.
    """
    if label_map.dtype == np.uint8:
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(palette)] = palette[:256]
        # Three one-channel tables: twice as fast as one take of triples.
        return cv2.merge([cv2.LUT(label_map, np.ascontiguousarray(table[:, channel])) for channel in range(3)])
    table = np.concatenate([palette, np.zeros((1, 3), dtype=np.uint8)])
    return table.take(np.minimum(label_map, len(palette)), axis=0)


def blend(image: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """Return colors over an image of the same size, (H, W, 3) uint8; at 0 the image alone, at 1 the colors alone."""
    check_opacity(opacity)
    if image.shape != colors.shape:
        raise InputError(
            f"The image has shape {image.shape} and the colors {colors.shape}; they must be of one size. "
            "Give the image that the label map was made from."
        )
    return cv2.addWeighted(image, 1.0 - opacity, colors, opacity, 0.0)


def check_opacity(opacity: float) -> None:
    """Refuse an opacity that is not from 0 to 1."""
    if not 0.0 <= opacity <= 1.0:
        raise InputError(f"opacity is {opacity!r}; it must be between 0 (image only) and 1 (colors only).")


def draw_overlay(
    image: np.ndarray, label_map: np.ndarray, palette: np.ndarray, *, opacity: float = OPACITY, borders: bool = True
) -> np.ndarray:
    """Return the class colors over an image, (H, W, 3) uint8; void pixels show the image.

    Args:
        image: (H, W, 3) uint8 RGB.
        label_map: (H, W) uint8 or uint16; indices beyond the palette are void.
        palette: (K, 3) uint8.
        opacity: of the colors, 0 to 1.
        borders: whether a line is drawn between classes.
    """
    overlay = blend(image, colorize(label_map, palette), opacity)
    is_void = label_map >= len(palette)
    if is_void.any():
        cv2.copyTo(image, is_void.view(np.uint8), overlay)
    if borders:
        apply_borders(overlay, label_map)
    return overlay


def apply_borders(image: np.ndarray, label_map: np.ndarray) -> None:
    """Draw a line on an image (H, W, 3) uint8 where the class changes to the right or below.

    It is one pixel wide, and wider on images whose shorter side has more than 600 pixels, so that it is as visible when
    they are shown at the size of a screen.
    """
    is_edge = np.zeros(label_map.shape, dtype=bool)
    is_edge[:, :-1] = label_map[:, 1:] != label_map[:, :-1]
    is_edge[:-1] |= label_map[1:] != label_map[:-1]
    edges = is_edge.view(np.uint8)
    width = round(min(label_map.shape) / _SIDE_PER_BORDER)
    if width > 1:
        edges = cv2.dilate(edges, np.ones((width, width), np.uint8))
    lighter = cv2.addWeighted(image, 1.0 - _BORDER_OPACITY, image, 0.0, _BORDER_OPACITY * 255.0)
    cv2.copyTo(lighter, edges, image)


_GOLDEN_RATIO = 0.6180339887498949
_TONES = ((0.65, 0.92), (0.85, 0.72), (0.45, 0.95), (0.90, 0.95), (0.60, 0.60), (0.35, 0.78))


def _generated_color(index: int) -> tuple[int, int, int]:
    saturation, value = _TONES[index % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * _GOLDEN_RATIO) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
