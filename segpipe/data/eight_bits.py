"""From samples of more than 8 bits to 8: by the high byte, by the bits that the data has, or by its range."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from segpipe import advice
from segpipe.errors import ImageDecodeError, InputError
from segpipe.log import get_logger

logger = get_logger(__name__)

BitDepth = int | Literal["min-max"] | None
Mapping8 = Callable[[np.ndarray], np.ndarray]

_UNUSED_TOP_BIT = 2**15


def check_bit_depth(value: object) -> None:
    """Refuse what is not a bit depth with an InputError."""
    is_depth = isinstance(value, int) and not isinstance(value, bool) and 8 <= value <= 16
    if value is not None and value != "min-max" and not is_depth:
        raise InputError(
            f"bit_depth is {value!r}; it must be a whole number from 8 to 16, 'min-max', or None for the high byte."
        )


def build_mapping(values: np.ndarray, bit_depth: BitDepth, name: str, *, declared_bits: int = 16) -> Mapping8:
    """Return the function from stored samples, or a part of them, to uint8.

    Integers of 0–65535 become 8 bits by their high byte; with a bit depth of n, 2**n - 1 becomes 255 and larger values
    too. Floats in 0–1 are scaled by 255 and rounded. "min-max" maps the range of the whole image to 0–255. Where the
    high byte would leave the image dark because the data uses few of the 16 bits, a warning gives the range found.

    Args:
        values: all samples of the colours.
        bit_depth: the user's word; it has no effect on uint8.
        declared_bits: bits per sample that the file states.

    Raises:
        ImageDecodeError: integers beyond 16 bits or floats beyond 0–1, without "min-max".
    """
    if values.dtype == np.uint8:
        return lambda part: part
    low, high = values.min(), values.max()
    if bit_depth == "min-max":
        return _by_range(float(low), float(high), name)
    if values.dtype.kind == "f":
        if not (low >= 0.0 and high <= 1.0):
            raise ImageDecodeError(
                f"{name} holds floats from {low:g} to {high:g}; float pictures are in 0–1, before normalisation. "
                f"Values in 0–255: convert to uint8. {advice.option('bit_depth', 'min-max')} maps the range of each "
                "image to 0–255."
            )
        return lambda part: np.rint(part * 255.0).astype(np.uint8)
    if low < 0 or high > 65535:
        raise ImageDecodeError(
            f"{name} holds integers from {low} to {high}; at most 16 bits, 0 to 65535, are a picture. "
            f"{advice.option('bit_depth', 'min-max')} maps the range of each image to 0–255."
        )
    if bit_depth is None:
        bit_depth = declared_bits
        if declared_bits == 16 and 0 < high < _UNUSED_TOP_BIT:
            _warn_of_few_bits(int(high).bit_length(), f"{name} holds values from {low} to {high}")
    if bit_depth == 16:
        return lambda part: (part >> 8).astype(np.uint8)
    shift, greatest = bit_depth - 8, 2**bit_depth - 1
    return lambda part: (np.minimum(part, greatest) >> shift).astype(np.uint8)


def alpha_to_8_bits(alpha: np.ndarray, *, bits: int) -> np.ndarray:
    """Return alpha as uint8: of integers the highest 8 of their `bits`, of floats in 0–1 the nearest value."""
    if alpha.dtype == np.uint8:
        return alpha
    if alpha.dtype.kind == "f":
        return np.rint(np.clip(alpha, 0.0, 1.0) * 255.0).astype(np.uint8)
    return (np.clip(alpha, 0, 2**bits - 1) >> (bits - 8)).astype(np.uint8)


def _by_range(low: float, high: float, name: str) -> Mapping8:
    if not np.isfinite(low) or not np.isfinite(high):
        raise ImageDecodeError(
            f"{name} holds values from {low:g} to {high:g}; min-max needs finite ones. Replace them."
        )
    scale = 255.0 / (high - low) if high > low else 0.0
    return lambda part: np.rint((part.astype(np.float64) - low) * scale).astype(np.uint8)


_said: set[object] = set()


def warn_once(kind: object, text: str) -> None:
    """Log a warning for the first image of a kind in this process; a data set may hold thousands of them."""
    if kind not in _said:
        _said.add(kind)
        logger.warning("%s Other images like it are not named.", text)


def _warn_of_few_bits(bits: int, found: str) -> None:
    depth = max(bits, 8)
    warn_once(
        ("bits", bits),
        f"{found}, {bits} of 16 bits. Read by the high byte the image is dark. If this is what the camera gives, give "
        f"{advice.option('bit_depth', depth)}; {advice.option('bit_depth', 'min-max')} stretches each image.",
    )
