"""Find a font that has a text's letters, and measure the text; the colors of paper and ink."""

from __future__ import annotations

import functools

from PIL import ImageFont

from segpipe.log import get_logger

logger = get_logger(__name__)

# Fonts with many scripts, by the names they have on Linux, Windows and macOS; Pillow's own has Latin letters only.
_WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "msyh.ttc", "PingFang.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER = (255, 255, 255)
INK = (38, 42, 51)
QUIET_INK = (124, 130, 142)


def find_font(text: str, size: int) -> Font:
    """Return a font that has the text's letters, if there is one, `size` pixels high."""
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return _wide_font(size) or _plain_font(size)
    return _plain_font(size)


def text_width(font: Font, text: str) -> int:
    """Return the width of a text in pixels."""
    return round(font.getlength(text)) if text else 0


@functools.lru_cache(maxsize=16)
def _plain_font(size: int) -> Font:
    return ImageFont.load_default(size)


@functools.lru_cache(maxsize=16)
def _wide_font(size: int) -> Font | None:
    for name in _WIDE_FONTS:
        try:
            return ImageFont.truetype(name, size)
        except (OSError, ImportError):
            continue
    logger.info("No font for names beyond Latin-1 is installed; boxes stand in their place.")
    return None
