"""Encode images, and write files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from segpipe.atomic import write_atomically
from segpipe.errors import InputError

IMAGE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def write_image(path: str | os.PathLike[str], pixels: np.ndarray) -> Path:
    """Write pixels in the format of the suffix, .png, .jpg or .webp, and return the path.

    Args:
        path: folders above it are made.
        pixels: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.
    """
    path = Path(path)
    image_format = IMAGE_FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise InputError(
            f"{path} ends in {path.suffix or 'no suffix'!r}; images are written as {', '.join(IMAGE_FORMATS)}. "
            "Choose one of them.",
            path=path,
        )
    return write_bytes(path, encode_image(pixels, image_format))


def write_label_map(path: str | os.PathLike[str], label_map: np.ndarray, palette: np.ndarray) -> Path:
    """Write class indices as a PNG with a palette (K, 3) uint8, or in 16-bit gray where they need it; return the path.

    Raises:
        InputError: the path does not end in .png.
    """
    if Path(path).suffix.lower() != ".png":
        message = f"{path} does not end in .png, and a label map is written as PNG, without loss. Rename it."
        raise InputError(message, path=path)
    if len(palette) > 256 or label_map.max() > 255:
        return write_image(path, label_map.astype(np.uint16))
    colors = np.zeros((256, 3), dtype=np.uint8)  # all 256, or Pillow packs the indices into fewer bits
    colors[: len(palette)] = palette
    return write_bytes(path, encode_image(label_map.astype(np.uint8), "PNG", colors))


def encode_image(
    pixels: np.ndarray, image_format: str, palette: np.ndarray | None = None, *, quality: int = 92
) -> bytes:
    """Return pixels as a file of one of `IMAGE_FORMATS`, see `write_image`; `palette` colors (H, W) values.

    Images in color are compressed as PNG by run lengths after the filter: in half of the time of zlib's usual strategy
    and, as photographs are, no larger. `quality` is for the formats with loss.
    """
    image = Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette.tobytes())
    if image_format == "PNG":
        options = {"compress_level": 4, "compress_type": zlib.Z_RLE if pixels.ndim == 3 else -1}
    else:
        options = {"quality": quality}
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write a file whole or not at all, make the folders above it, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data, sync=False)
    return path
