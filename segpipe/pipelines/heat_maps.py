"""Heat over a picture: what a network looks at, in colours."""

from __future__ import annotations

import numpy as np

from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.names import unknown_name_message

from .rendering import blend

cv2 = import_opencv()

COLOR_MAPS = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "turbo": cv2.COLORMAP_TURBO,
}
"""Name → OpenCV's number; all grow lighter or warmer with the heat."""


def draw_heat(picture: np.ndarray, heat: np.ndarray, *, color_map: str = "inferno", opacity: float = 0.6) -> np.ndarray:
    """(H, W, 3) uint8: the picture in grey under the heat's colours, from the least of the heat to its most.

    The hottest thousandth has one colour, so that a single hot cell does not hide the rest.

    Args:
        picture: (H, W, 3) uint8 RGB.
        heat: (H, W), any unit.
        color_map: one of `COLOR_MAPS`.
        opacity: of the colours.
    """
    if color_map not in COLOR_MAPS:
        raise InputError(unknown_name_message("colour map", color_map, COLOR_MAPS))
    low, high = float(heat.min()), float(np.quantile(heat, 0.999))
    levels = np.clip((heat - low) / (high - low or 1.0), 0.0, 1.0)
    colors = cv2.applyColorMap((levels * 255.0 + 0.5).astype(np.uint8), COLOR_MAPS[color_map])
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return blend(grey, cv2.cvtColor(colors, cv2.COLOR_BGR2RGB), opacity)


def mark_place(picture: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """A copy of the picture with a ring, white in black, around the pixel (x, y)."""
    marked, radius = picture.copy(), max(5, min(picture.shape[:2]) // 40)
    cv2.circle(marked, place, radius, (0, 0, 0), thickness=max(4, radius // 2), lineType=cv2.LINE_AA)
    cv2.circle(marked, place, radius, (255, 255, 255), thickness=max(2, radius // 4), lineType=cv2.LINE_AA)
    return marked
