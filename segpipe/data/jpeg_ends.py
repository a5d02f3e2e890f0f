"""Whether a JPEG's pixels end before its end: a file that was cut and closed again decodes without an error."""

from __future__ import annotations

import functools
import io
import random

import numpy as np
from PIL import Image, JpegImagePlugin

_END = b"\xff\xd9"
_GRAIN = 4
"""Places (8 × 8 pixels each) that may differ: some encoders leave out the last bits, which cannot be seen."""


def missing_share(data: bytes) -> float:
    """Return the share of a JPEG's pixels, from the top left, that its data does not reach, or 0 where it is whole.

    Once libjpeg meets the end-of-image marker, it fills what is missing with grey or a blur and reports nothing. So the
    image is decoded a second time with noise before that marker, which a whole image never reads.

    Args:
        data: an encoded JPEG that can be decoded.
    """
    if not data.endswith(_END):
        return 0.0
    try:
        plain, noisy = (_decode_small(part) for part in (data, data[:-2] + _filler() + _END))
    except OSError:  # the end-of-image marker stands in the middle of a table
        return 1.0
    changed = (plain != noisy).reshape(*plain.shape[:2], -1).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    if np.count_nonzero(changed) <= _GRAIN:
        return 0.0
    return float(1.0 - rows[0] / len(changed))


@functools.cache
def _filler() -> bytes:
    """Noise as entropy-coded data, in which each restart marker comes."""
    chance = random.Random(0)
    noise = (bytes(chance.randrange(255) for _ in range(1024)) + bytes((0xFF, 0xD0 + index)) for index in range(8))
    return b"".join(noise)


def _decode_small(data: bytes) -> np.ndarray:
    """(H, W, …) at an eighth of the size, for which libjpeg needs less than half of the time.

    Scans of a progressive JPEG that refine it show at its full size only.
    """
    picture: Image.Image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    if "progressive" not in picture.info:
        picture.draft(picture.mode, (1, 1))
    picture.load()
    return np.asarray(picture)
