"""Draw attention and other values from 0 to 1 as heat over an image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.names import unknown_name_message

from .legend import format_share, side_by_side
from .lettering import INK, PAPER, find_font, text_width
from .overlay import check_opacity

cv2 = import_opencv()

COLOR_MAPS = ("inferno", "magma", "viridis", "turbo")
"""Names of OpenCV's; all grow lighter or warmer with the heat."""
_COLD = 0.35
"""Of the opacity: what the least heat has, so that the image is seen where nothing is hot."""
_TICKS = 5


def draw_heat_page(
    image: np.ndarray,
    heat: np.ndarray,
    *,
    place: tuple[int, int] | None = None,
    color_map: str = "inferno",
    opacity: float = 0.8,
) -> np.ndarray:
    """Return the heat over an image, a ring around the place that it belongs to, and a scale to the right.

    Args:
        image: (H, W, 3) uint8 RGB.
        heat: (H, W) from 0 to 1; the scale beside the image has percent.
        place: (x, y) to be marked.
        color_map: one of `COLOR_MAPS`.
        opacity: of the hottest colors.
    """
    page = draw_heat(image, heat, color_map=color_map, opacity=opacity)
    page = page if place is None else mark_place(page, place)
    return side_by_side(page, draw_scale(*_range(heat), height=max(page.shape[0], 48), color_map=color_map))


def draw_heat(image: np.ndarray, heat: np.ndarray, *, color_map: str = "inferno", opacity: float = 0.8) -> np.ndarray:
    """Return an image in gray under the heat's colors, (H, W, 3) uint8, from the least of the heat to its most.

    The hottest thousandth has one color, so that a single hot cell does not hide the rest. The colors are the more
    transparent, the colder it is. The heat may have any unit; the rest is as in `draw_heat_page`.
    """
    check_opacity(opacity)
    low, high = _range(heat)
    levels = np.clip((heat - low) / (high - low or 1.0), 0.0, 1.0).astype(np.float32)
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = (opacity * (_COLD + (1.0 - _COLD) * np.sqrt(levels)))[..., None]
    return np.rint(gray + (_colors(levels, color_map) - gray.astype(np.float32)) * share).astype(np.uint8)


def draw_scale(low: float, high: float, *, height: int, color_map: str = "inferno") -> np.ndarray:
    """Return what the colors mean, (height, w, 3) uint8 on white: a bar from low to high, marked in percent."""
    size = min(max(11, height // 28), 48)
    count = min(_TICKS, max(2, height // (3 * size)))
    texts = [format_share(low + (high - low) * step / (count - 1)) for step in range(count)]
    font = find_font("", size)
    room, bar = size // 2 + 1, round(1.2 * size)
    canvas = Image.new("RGB", (bar + size + max(text_width(font, text) for text in texts), height), PAPER)
    levels = np.linspace(1.0, 0.0, height - 2 * room, dtype=np.float32)[:, None].repeat(bar, axis=1)
    canvas.paste(Image.fromarray(_colors(levels, color_map)), (0, room))
    drawing = ImageDraw.Draw(canvas)
    for step, text in enumerate(texts):
        y = height - room - 1 - step * (height - 2 * room - 1) / (count - 1)
        drawing.line((bar, y, bar + size // 3, y), fill=INK)
        drawing.text((bar + size // 2, y), text, font=font, fill=INK, anchor="lm")
    return np.asarray(canvas).copy()


def mark_place(image: np.ndarray, place: tuple[int, int]) -> np.ndarray:
    """Return a copy of an image with a ring, white in black, around the pixel (x, y)."""
    marked, radius = image.copy(), max(5, min(image.shape[:2]) // 40)
    cv2.circle(marked, place, radius, (0, 0, 0), thickness=max(4, radius // 2), lineType=cv2.LINE_AA)
    cv2.circle(marked, place, radius, (255, 255, 255), thickness=max(2, radius // 4), lineType=cv2.LINE_AA)
    return marked


def _range(heat: np.ndarray) -> tuple[float, float]:
    return float(heat.min()), float(np.quantile(heat, 0.999))


def _colors(levels: np.ndarray, color_map: str) -> np.ndarray:
    """Return (H, W, 3) uint8 for levels from 0 to 1."""
    if color_map not in COLOR_MAPS:
        raise InputError(unknown_name_message("color map", color_map, COLOR_MAPS))
    colors = cv2.applyColorMap((levels * 255.0 + 0.5).astype(np.uint8), getattr(cv2, f"COLORMAP_{color_map.upper()}"))
    return cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)
