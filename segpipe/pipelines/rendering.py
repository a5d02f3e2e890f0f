"""Colours for label maps: palettes, overlays, outlines, and a legend beside the picture."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segpipe.errors import InputError
from segpipe.extras import import_opencv
from segpipe.log import get_logger

cv2 = import_opencv()

logger = get_logger(__name__)

Palette = Sequence[Sequence[int]]

PAPER = (255, 255, 255)
INK = (38, 42, 51)
QUIET_INK = (124, 130, 142)
EDGE = (222, 225, 230)


def complete_palette(palette: Palette | None, num_classes: int) -> np.ndarray:
    """(K, 3) uint8 RGB: the palette given, or a generated one.

    Generated hues step around the circle by the golden ratio, so that neighbouring classes differ most, and go through
    six pairs of saturation and brightness; the first 512 colours differ from one another, and none is black, which
    stands for void. The same class has the same colour whatever the number of classes.
    """
    if palette is None:
        return np.array([_generated_color(index) for index in range(num_classes)], dtype=np.uint8).reshape(-1, 3)
    colors = np.asarray(palette)
    if colors.shape != (num_classes, 3) or colors.min() < 0 or colors.max() > 255:
        raise InputError(
            f"The palette has shape {colors.shape}; {num_classes} classes need ({num_classes}, 3), values in 0–255. "
            "Give one (red, green, blue) per class, or None for generated colours."
        )
    return colors.astype(np.uint8)


def colorize(label_map: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: each pixel in the colour of its class; class indices beyond the palette are black.

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


def blend(picture: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """(H, W, 3) uint8: colours over a picture of the same size; 0 shows the picture only, 1 the colours only."""
    if not 0.0 <= opacity <= 1.0:
        raise InputError(f"opacity is {opacity!r}; it must be between 0 (picture only) and 1 (colours only).")
    if picture.shape != colors.shape:
        raise InputError(
            f"The picture has shape {picture.shape} and the colours {colors.shape}; they must be of one size. "
            "Give the picture that the label map was made from."
        )
    return cv2.addWeighted(picture, 1.0 - opacity, colors, opacity, 0.0)


def draw_outlines(
    picture: np.ndarray, label_map: np.ndarray, color: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """A copy of the picture (H, W, 3) with a line, one pixel wide, where the class changes to the right or below."""
    is_edge = np.zeros(label_map.shape, dtype=bool)
    is_edge[:, :-1] = label_map[:, 1:] != label_map[:, :-1]
    is_edge[:-1] |= label_map[1:] != label_map[:-1]
    outlined = picture.copy()
    outlined[is_edge] = color
    return outlined


def draw_legend(
    names: Sequence[str],
    palette: Palette | np.ndarray,
    shares: Sequence[float] | None = None,
    *,
    height: int | None = None,
    font_size: int = 15,
) -> np.ndarray:
    """A key to the colours, (h, w, 3) uint8 on white: swatch, name and, where given, the share in percent.

    Args:
        names: in the order to be drawn.
        palette: one RGB per name.
        shares: fraction of the picture per name.
        height: of the legend in pixels; what does not fit is summed up in the last row. None: as high as needed.
        font_size: in pixels; everything else follows from it.
    """
    line, margin, top = round(font_size * 1.75), round(font_size * 0.8), round(font_size * 0.2)
    rows = _legend_rows(names, palette, shares)
    if height is not None:
        rows = _fit_rows(rows, max(1, (height - 2 * top) // line))
    font = find_font("".join(name for name, _, _ in rows), font_size)
    name_width = max((_text_width(font, name) for name, _, _ in rows), default=0)
    share_width = max((_text_width(font, share) for _, _, share in rows), default=0)

    swatch, gap = round(font_size * 1.1), round(font_size * 0.65)
    share_right = margin + swatch + gap + name_width + (2 * gap + share_width if share_width else 0)
    canvas = Image.new("RGB", (share_right + margin, height or 2 * top + line * len(rows)), PAPER)
    drawing = ImageDraw.Draw(canvas)
    shape = _rounded_square(swatch)
    for row, (name, color, share) in enumerate(rows):
        middle = top + row * line + line // 2
        if color is not None:
            canvas.paste(color, (margin, middle - swatch // 2), shape)
        ink = INK if color is not None else QUIET_INK
        _write(drawing, (margin + swatch + gap, middle), name, font=font, ink=ink, anchor="lm")
        _write(drawing, (share_right, middle), share, font=font, ink=QUIET_INK, anchor="rm")
    return np.asarray(canvas).copy()


def side_by_side(picture: np.ndarray, overlay: np.ndarray, legend: np.ndarray) -> np.ndarray:
    """Picture, overlay and legend in one row on white, tops aligned, with an even margin around and between them."""
    return _row([picture, overlay], legend)


def beside_legend(picture: np.ndarray, legend: np.ndarray) -> np.ndarray:
    """One picture and the legend to its right, on white."""
    return _row([picture], legend)


def _row(pictures: Sequence[np.ndarray], legend: np.ndarray) -> np.ndarray:
    margin = max(8, round(pictures[0].shape[0] * 0.03))
    height = max(part.shape[0] for part in (*pictures, legend)) + 2 * margin
    width = sum(part.shape[1] + margin for part in pictures) + margin + legend.shape[1]
    page = np.full((height, width, 3), PAPER, dtype=np.uint8)
    left = margin
    for picture in pictures:
        page[margin : margin + picture.shape[0], left : left + picture.shape[1]] = picture
        left += picture.shape[1] + margin
    page[margin : margin + legend.shape[0], left : left + legend.shape[1]] = legend
    return page


_GOLDEN_RATIO = 0.6180339887498949
_TONES = ((0.65, 0.92), (0.85, 0.72), (0.45, 0.95), (0.90, 0.95), (0.60, 0.60), (0.35, 0.78))


def _generated_color(index: int) -> tuple[int, int, int]:
    saturation, value = _TONES[index % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb((0.58 + index * _GOLDEN_RATIO) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


_LegendRow = tuple[str, tuple[int, int, int] | None, str]


def _legend_rows(
    names: Sequence[str], palette: Palette | np.ndarray, shares: Sequence[float] | None
) -> list[_LegendRow]:
    """Name, colour and the share's text."""
    texts = [""] * len(names) if shares is None else [format_share(share) for share in shares]
    colors = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    return list(zip(names, colors, texts, strict=True))


def format_share(share: float) -> str:
    """A fraction as percent with one digit; what is there but would round to nothing is "<0.1 %"."""
    return "<0.1 %" if 0.0 < share < 0.0005 else f"{share * 100:.1f} %"


def _fit_rows(rows: list[_LegendRow], num_lines: int) -> list[_LegendRow]:
    if len(rows) <= num_lines:
        return rows
    kept = rows[: num_lines - 1]
    return [*kept, (f"and {len(rows) - len(kept)} more", None, "")]


# Fonts with many scripts, by the names they have on Linux, Windows and macOS; Pillow's own has Latin letters only.
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf")
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def find_font(text: str, size: int) -> _Font:
    """A font that has the text's letters, if there is one, `size` pixels high."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return _wide_font(size) or _plain_font(size)
    return _plain_font(size)


@functools.lru_cache(maxsize=16)
def _plain_font(size: int) -> _Font:
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=16)
def _wide_font(size: int) -> _Font | None:
    for name in _WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except (OSError, ImportError):
            continue
    logger.info("No font for names beyond Latin-1 is installed; the legend shows boxes in their place.")
    return None


def _text_width(font: _Font, text: str) -> int:
    return round(font.getlength(text)) if text else 0


def _write(
    drawing: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    font: _Font,
    ink: tuple[int, int, int],
    anchor: str,
) -> None:
    if text:
        drawing.text(place, text, font=font, fill=ink, anchor=anchor)


@functools.lru_cache(maxsize=16)
def _rounded_square(size: int) -> Image.Image:
    """A mask in mode L; drawn at four times its size, since Pillow's shapes have hard edges."""
    large = Image.new("L", (size * 4, size * 4), 0)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, size * 4 - 1, size * 4 - 1), radius=size, fill=255)
    return large.resize((size, size), Image.Resampling.LANCZOS)
