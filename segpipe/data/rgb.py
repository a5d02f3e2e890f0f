"""From decoded samples to RGB of 8 bits, upright, a few rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from segpipe import advice
from segpipe.errors import ImageError
from segpipe.extras import import_opencv
from segpipe.log import get_logger

from .eight_bits import Mapping8, alpha_to_8_bits, warn_once
from .tiff import read_pages

cv2 = import_opencv()

logger = get_logger(__name__)

_AT_ONCE = 1 << 17
"""Pixels that stay in the caches while they are converted, and whose copies take no memory to speak of."""
_MANY_VALUES = 16
"""Values of an alpha channel other than 0 and 255: soft edges have as many, on few of the pixels that are seen."""
_LONG_EXIF = 2**16

Rows = Callable[[int, int], np.ndarray]
"""From top and bottom (exclusive) to these rows."""


def fill_rgb(height: int, width: int, rows: Rows) -> np.ndarray:
    """Return (H, W, 3) uint8 of a function that gives some rows of it."""
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in _parts(height, width):
        pixels[top:bottom] = rows(top, bottom)
    return pixels


def composite_on_white(colors: np.ndarray, alpha: np.ndarray, *, is_premultiplied: bool = False) -> np.ndarray:
    """Put (H, W, 3) uint8 on white by alpha (H, W) uint8."""
    if alpha.size and alpha.min() == 255:
        return colors
    alpha = alpha[:, :, None].astype(np.uint16)
    if is_premultiplied:
        return np.minimum(colors + (255 - alpha), 255).astype(np.uint8)
    return ((colors * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def takes_many_values(height: int, width: int, rows: Rows) -> bool:
    """Return whether an alpha channel looks like a further colour, such as near infrared.

    Real alpha is mostly 0 and 255. This one is neither at most of the pixels that would be seen at all, and has many
    values there.

    Args:
        rows: gives (rows, W) uint8 of the channel.
    """
    counts = np.zeros(256, np.int64)
    for top, bottom in _parts(height, width):
        counts += np.bincount(rows(top, bottom).ravel(), minlength=256)
    between = counts[1:255]
    return bool(np.count_nonzero(between) >= _MANY_VALUES and 2 * between.sum() > counts[1:].sum())


def band_takes_many_values(alpha: np.ndarray) -> bool:
    """Do `takes_many_values` for a stored band (H, W); of integers over 8 bits, the bits that are used count."""
    used = int(alpha.max()).bit_length() if alpha.dtype.kind in "iu" else 0
    mapping = partial(alpha_to_8_bits, bits=max(used, 8))
    return takes_many_values(alpha.shape[0], alpha.shape[1], lambda top, bottom: mapping(alpha[top:bottom]))


def warn_of_dropped_alpha(name: str) -> None:
    warn_once(
        "alpha",
        f"The extra sample of {name} is declared as alpha and takes many values, as a further colour (near infrared) "
        f"does. It is left out. If it is alpha, give {advice.option('alpha', 'keep')}.",
    )


def warn_of_kept_alpha(name: str) -> None:
    warn_once(
        "alpha of arrays",
        f"The fourth channel of {name} takes many values, as a further colour (near infrared) does. It is taken for "
        f"alpha and composited on white. If it is not, give {advice.option('alpha', 'drop')}, or array[:, :, :3].",
    )


def rgb_of_bands(
    bands: tuple[np.ndarray, np.ndarray | None],
    mapping: Mapping8,
    alpha_mapping: Mapping8,
    *,
    is_premultiplied: bool = False,
) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of stored samples.

    Args:
        bands: colours (H, W, 1 or 3), and alpha (H, W) or None.
        mapping: brings colours to uint8.
        alpha_mapping: brings alpha to uint8.
        is_premultiplied: whether the colours have been multiplied by alpha.
    """
    colors, alpha = bands

    def rows(top: int, bottom: int) -> np.ndarray:
        part = mapping(colors[top:bottom])
        if alpha is None:
            return part
        return composite_on_white(part, alpha_mapping(alpha[top:bottom]), is_premultiplied=is_premultiplied)

    return fill_rgb(colors.shape[0], colors.shape[1], rows)


def rgb_of_pillow(picture: Image.Image, *, has_alpha: bool) -> np.ndarray:
    """Return (H, W, 3) uint8 of a loaded image of 8 bits.

    Parts are taken by `resize`, not by `crop`, on which some versions put the process-wide pixel limit. At once, Pillow
    would make several copies of the whole image.
    """
    is_grey = picture.mode in ("L", "1") and not has_alpha

    def rows(top: int, bottom: int) -> np.ndarray:
        part = take_rows(picture, top, bottom)
        if has_alpha:
            rgba = np.asarray(part.convert("RGBA"))
            return composite_on_white(rgba[:, :, :3], rgba[:, :, 3])
        if is_grey:
            grey: np.ndarray = cv2.cvtColor(np.asarray(part.convert("L")), cv2.COLOR_GRAY2RGB)
            return grey
        return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))

    return fill_rgb(picture.height, picture.width, rows)


def take_rows(picture: Image.Image, top: int, bottom: int) -> Image.Image:
    """Return some rows of a loaded image."""
    box = (0, top, picture.width, bottom)
    return picture.resize((picture.width, bottom - top), Image.Resampling.NEAREST, box=box)


def turn_upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Apply an EXIF orientation; a value that is not one changes nothing."""
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return pixels if turn is None else turn(pixels)


def orientation_of(picture: Image.Image) -> Any:
    """Return the EXIF orientation of an image, or None where there is none or its metadata are damaged."""
    try:
        exif = picture.info.get("exif", b"")
        if isinstance(exif, bytes) and len(exif) > _LONG_EXIF:
            return read_pages(exif.removeprefix(b"Exif\0\0"), "EXIF data")[0].orientation
        return picture.getexif().get(ExifTags.Base.Orientation)
    except (ImageError, MemoryError):
        return None
    except Exception as error:  # damaged metadata spoil no pixels
        logger.debug("EXIF data cannot be read, the picture is taken as upright: %s", error)
        return None


# EXIF 2.32, tag 0x0112: what brings the stored picture upright. 1, and whatever is no orientation, changes nothing.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def _parts(height: int, width: int) -> list[tuple[int, int]]:
    step = max(1, _AT_ONCE // max(width, 1))
    return [(top, min(top + step, height)) for top in range(0, height, step)]
