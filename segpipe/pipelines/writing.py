"""Writing pictures and text to files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from segpipe.errors import InputError

PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def write_picture(path: str | os.PathLike[str], pixels: np.ndarray, palette: np.ndarray | None = None) -> Path:
    """Write pixels in the format of the suffix: .png, .jpg or .webp. Gives the path back.

    Args:
        path: folders above it are made.
        pixels: (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16.
        palette: (256, 3) uint8, what (H, W) uint8 values stand for. All 256, or Pillow packs them into fewer bits.
    """
    path = Path(path)
    picture_format = PICTURE_FORMATS.get(path.suffix.lower())
    if picture_format is None:
        raise InputError(
            f"{path} ends in {path.suffix or 'no suffix'!r}; pictures are written as {', '.join(PICTURE_FORMATS)}. "
            "Choose one of them."
        )
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    if picture_format == "PNG":
        picture.save(buffer, format="PNG", compress_level=4)
    else:
        picture.save(buffer, format=picture_format, quality=92)
    return write_bytes(path, buffer.getvalue())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write the file whole or not at all, and make the folders above it. Gives the path back."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(partial, "xb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
    finally:
        partial.unlink(missing_ok=True)
    return path
