"""Read EXIF orientations, and turn stored pixels upright."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from segpipe.errors import ImageDecodeError, ImageError
from segpipe.extras import import_opencv
from segpipe.files import read_file
from segpipe.limits import limit
from segpipe.log import get_logger

from .image_formats import image_format, open_encoded
from .tiff import full_pages, read_pages

cv2 = import_opencv()
logger = get_logger(__name__)
_LONG_EXIF = 2**16
"""Bytes from which on Pillow would walk over too many entries."""


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened image, 1 to 8; 1, upright, if there is none or it is damaged."""
    try:
        exif = image.info.get("exif", b"")
        if isinstance(exif, bytes) and len(exif) > _LONG_EXIF:
            return _checked(read_pages(exif.removeprefix(b"Exif\0\0"), "EXIF data")[0].orientation)
        return _checked(image.getexif().get(ExifTags.Base.Orientation))
    except (ImageError, MemoryError):
        return 1
    except Exception as error:  # damaged metadata spoil no pixels
        logger.debug("EXIF data cannot be read, the image is taken as upright: %s", error)
        return 1


def read_orientation(path: str) -> int:
    """Return the orientation of an image file, as `orientation_of` does; 1 if the file cannot be opened."""
    try:
        data = read_file(path, max_bytes=limit("image_bytes"), error=ImageDecodeError)
        if image_format(data) == "TIFF":
            return _checked(full_pages(data, path)[0].orientation)
        return orientation_of(open_encoded(data, path))
    except Exception:  # Pillow's readers raise nearly anything on damaged data, which is reported elsewhere
        return 1


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation to stored pixels; a number that is not one changes nothing."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else turn(pixels)


def _checked(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


# EXIF 2.32, tag 0x0112: what brings the stored image upright. 1 changes nothing.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.flip(cv2.transpose(pixels), -1),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
