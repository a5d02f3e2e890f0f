"""Draw a key to the colors of an overlay, and set it beside the image."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from segpipe.text import printable_line

from .lettering import INK, PAPER, QUIET_INK, find_font, text_width
from .overlay import Palette

_FONT_SIZE, _LARGEST_FONT = 15, 64
_LONGEST_NAME = 40
"""Characters of a class name."""


def draw_legend(
    names: Sequence[str],
    palette: Palette | np.ndarray,
    shares: Sequence[float] | None = None,
    *,
    height: int | None = None,
    font_size: int = _FONT_SIZE,
) -> np.ndarray:
    """Draw a key to the colors, (h, w, 3) uint8 on white: swatch, name and, if given, the share in percent.

    Args:
        names: in the order to be drawn.
        palette: one RGB per name.
        shares: fraction of the image per name.
        height: of the legend in pixels; what does not fit is summed up in the last row. If None, as high as needed.
        font_size: in pixels; everything else follows from it.
    """
    line, margin, top = _line(font_size), round(font_size * 0.8), _top(font_size)
    rows = _legend_rows(names, palette, shares)
    if height is not None:
        rows = _fit_rows(rows, max(1, (height - 2 * top) // line))
    font = find_font("".join(name for name, _, _ in rows), font_size)
    name_width = max((text_width(font, name) for name, _, _ in rows), default=0)
    share_width = max((text_width(font, share) for _, _, share in rows), default=0)

    swatch, gap = round(font_size * 1.1), round(font_size * 0.65)
    share_right = margin + swatch + gap + name_width + (2 * gap + share_width if share_width else 0)
    canvas = Image.new("RGB", (share_right + margin, height or height_of(len(rows), font_size)), PAPER)
    drawing = ImageDraw.Draw(canvas)
    shape = _rounded_square(swatch)
    for row, (name, color, share) in enumerate(rows):
        middle = top + row * line + line // 2
        if color is not None:
            canvas.paste(color, (margin, middle - swatch // 2), shape)
        ink = INK if color is not None else QUIET_INK
        drawing.text((margin + swatch + gap, middle), name, font=font, fill=ink, anchor="lm")
        drawing.text((share_right, middle), share, font=font, fill=QUIET_INK, anchor="rm")
    return np.asarray(canvas).copy()


def height_of(num_rows: int, font_size: int = _FONT_SIZE) -> int:
    """Return the height that a legend needs for its rows."""
    return 2 * _top(font_size) + num_rows * _line(font_size)


def fitting_font(num_rows: int, height: int) -> int:
    """Return the size of a legend's letters, which grows with its height as long as all rows fit."""
    fitting = height / max(20.0, 1.75 * num_rows + 0.5)
    return min(max(_FONT_SIZE, int(fitting)), _LARGEST_FONT)


def side_by_side(*parts: np.ndarray) -> np.ndarray:
    """Place images and, last, a legend in one row on white, tops aligned, with an even margin around the images."""
    margin = max(8, round(parts[0].shape[0] * 0.03))
    height = max(part.shape[0] for part in parts) + 2 * margin
    page = np.full((height, sum(part.shape[1] + margin for part in parts), 3), PAPER, dtype=np.uint8)
    left = margin
    for part in parts:
        page[margin : margin + part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + margin
    return page


def format_share(share: float) -> str:
    """Return a fraction as percent with one digit; "<0.1 %" for what is there but would round to zero."""
    return "<0.1 %" if 0.0 < share < 0.0005 else f"{share * 100:.1f} %"


def _line(font_size: int) -> int:
    return round(font_size * 1.75)


def _top(font_size: int) -> int:
    return round(font_size * 0.2)


_LegendRow = tuple[str, tuple[int, int, int] | None, str]


def _legend_rows(
    names: Sequence[str], palette: Palette | np.ndarray, shares: Sequence[float] | None
) -> list[_LegendRow]:
    """Return name, color and the share's text. A name of any length gets a line of bounded width."""
    lines = [printable_line(name) for name in names]
    shown = [line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…" for line in lines]
    texts = [""] * len(names) if shares is None else [format_share(share) for share in shares]
    colors = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    return list(zip(shown, colors, texts, strict=True))


def _fit_rows(rows: list[_LegendRow], num_lines: int) -> list[_LegendRow]:
    if len(rows) <= num_lines:
        return rows
    kept = rows[: num_lines - 1]
    return [*kept, (f"and {len(rows) - len(kept)} more", None, "")]


@functools.lru_cache(maxsize=16)
def _rounded_square(size: int) -> Image.Image:
    """Return a mask in mode L, drawn at four times its size, since Pillow's shapes have hard edges."""
    large = Image.new("L", (size * 4, size * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, size * 4 - 1, size * 4 - 1), radius=size, fill=255)
    return large.resize((size, size), Image.Resampling.LANCZOS)
