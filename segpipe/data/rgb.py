"""Bring stored samples, arrays and tensors to RGB of 8 bits, a few rows at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from segpipe import advice
from segpipe.errors import ImageDecodeError, InputError
from segpipe.extras import import_opencv
from segpipe.log import get_logger

from .image_options import BitDepth, ChannelOrder, Reading

logger = get_logger(__name__)
cv2 = import_opencv()
Mapping8 = Callable[[np.ndarray], np.ndarray]
Rows = Callable[[int, int], np.ndarray]
"""From top and bottom (exclusive) to these rows."""
_UNUSED_TOP_BIT = 2**15
_AT_ONCE = 1 << 17
"""Pixels that are converted at a time: they stay in the caches, and their copies take little memory."""
_MANY_VALUES = 16
"""Values of an alpha channel other than 0 and 255: soft edges have as many, on few of the pixels that are seen."""


def rgb_of_array(array: np.ndarray, channel_order: ChannelOrder, name: str, reading: Reading) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of an array; it may be the array itself. InputError where it is not an image."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or array.size == 0:
        raise InputError(
            f"{name} has shape {array.shape}; one image is (H, W), (H, W, 3) or (H, W, 4). {_advice(array)}"
        )
    has_alpha = array.ndim == 3 and array.shape[2] == 4
    colors = array[:, :, :3] if has_alpha else array
    pixels = np.ascontiguousarray(_to_uint8(colors, name, reading))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if has_alpha and reading.alpha != "drop":
        pixels = _composite_array(pixels, array[:, :, 3], name, reading)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if channel_order == "bgr" else pixels


def rgb_of_bands(
    bands: tuple[np.ndarray, np.ndarray | None],
    mapping: Mapping8,
    alpha_mapping: Mapping8,
    *,
    is_premultiplied: bool = False,
) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of stored samples.

    Args:
        bands: colors (H, W, 1 or 3), and alpha (H, W) or None.
        mapping: brings colors to uint8.
        alpha_mapping: brings alpha to uint8.
        is_premultiplied: whether the colors have been multiplied by alpha.
    """
    colors, alpha = bands

    def rows(top: int, bottom: int) -> np.ndarray:
        part = mapping(colors[top:bottom])
        if alpha is None:
            return part
        return composite_on_white(part, alpha_mapping(alpha[top:bottom]), is_premultiplied=is_premultiplied)

    return fill_rgb(colors.shape[0], colors.shape[1], rows)


def rgb_of_pillow(image: Image.Image, *, has_alpha: bool) -> np.ndarray:
    """Return (H, W, 3) uint8 of a loaded image of 8 bits.

    Parts are taken by `resize`, not by `crop`, on which some versions put the process-wide pixel limit. At once, Pillow
    would make several copies of the whole image.
    """
    is_gray = image.mode in ("L", "1") and not has_alpha

    def rows(top: int, bottom: int) -> np.ndarray:
        part = take_rows(image, top, bottom)
        if has_alpha:
            rgba = np.asarray(part.convert("RGBA"))
            return composite_on_white(rgba[:, :, :3], rgba[:, :, 3])
        if is_gray:
            gray: np.ndarray = cv2.cvtColor(np.asarray(part.convert("L")), cv2.COLOR_GRAY2RGB)
            return gray
        return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))

    return fill_rgb(image.height, image.width, rows)


def build_mapping(values: np.ndarray, bit_depth: BitDepth, name: str, *, declared_bits: int = 16) -> Mapping8:
    """Return the function from stored samples, or a part of them, to uint8.

    Integers of 0–65535 become 8 bits by their high byte; with a bit depth of n, 2**n - 1 becomes 255 and larger values
    too. Floats in 0–1 are scaled by 255 and rounded. "min-max" maps the range of the whole image to 0–255. Where the
    high byte would leave the image dark because the data uses few of the 16 bits, a warning gives the range found.

    Args:
        values: all samples of the colors.
        bit_depth: see `Reading`; it has no effect on uint8.
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
                f"{name} holds floats from {low:g} to {high:g}; float images are in 0–1, before normalization. "
                f"Values in 0–255: convert to uint8. {advice.option('bit_depth', 'min-max')} maps the range of each "
                "image to 0–255."
            )
        return lambda part: np.rint(part * 255.0).astype(np.uint8)
    if low < 0 or high > 65535:
        raise ImageDecodeError(
            f"{name} holds integers from {low} to {high}; at most 16 bits, 0 to 65535, are an image. "
            f"{advice.option('bit_depth', 'min-max')} maps the range of each image to 0–255."
        )
    if bit_depth is None:
        bit_depth = declared_bits
        if declared_bits == 16 and 0 < high < _UNUSED_TOP_BIT:
            bits = int(high).bit_length()
            warn_once(
                ("bits", bits),
                f"{name} holds values from {low} to {high}, {bits} of 16 bits. Read by the high byte the image is "
                f"dark. If this is what the camera gives, give {advice.option('bit_depth', max(bits, 8))}; "
                f"{advice.option('bit_depth', 'min-max')} stretches each image.",
            )
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


def takes_many_values(height: int, width: int, rows: Rows) -> bool:
    """Return whether an alpha channel seems to be a further color, such as near infrared.

    Real alpha is mostly 0 and 255. Such a channel has many other values, on most of the pixels that are not
    transparent.

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
    """Say once that a band declared as alpha is left out."""
    warn_once(
        "alpha",
        f"The extra sample of {name} is declared as alpha and takes many values, as a further color (near infrared) "
        f"does. It is left out. If it is alpha, give {advice.option('alpha', 'keep')}.",
    )


def warn_once(kind: object, text: str) -> None:
    """Log a warning for the first image of a kind in this process; a data set may hold thousands of them."""
    if kind not in _said:
        _said.add(kind)
        logger.warning("%s Other images like it are not named.", text)


def composite_on_white(colors: np.ndarray, alpha: np.ndarray, *, is_premultiplied: bool = False) -> np.ndarray:
    """Put (H, W, 3) uint8 on white by alpha (H, W) uint8."""
    if alpha.size and alpha.min() == 255:
        return colors
    alpha = alpha[:, :, None].astype(np.uint16)
    if is_premultiplied:
        return np.minimum(colors + (255 - alpha), 255).astype(np.uint8)
    return ((colors * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def fill_rgb(height: int, width: int, rows: Rows) -> np.ndarray:
    """Assemble (H, W, 3) uint8 from a function that gives some rows of it."""
    pixels = np.empty((height, width, 3), np.uint8)
    for top, bottom in _parts(height, width):
        pixels[top:bottom] = rows(top, bottom)
    return pixels


def take_rows(image: Image.Image, top: int, bottom: int) -> Image.Image:
    """Return some rows of a loaded image."""
    box = (0, top, image.width, bottom)
    return image.resize((image.width, bottom - top), Image.Resampling.NEAREST, box=box)


def is_tensor(source: object) -> bool:
    """Return whether a value is a torch tensor, without importing torch: without torch there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.Tensor)


def array_of_tensor(tensor: Any) -> np.ndarray:
    """Return a tensor's values with channels last."""
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point:
        tensor = tensor.float()  # NumPy has no bfloat16
    array: np.ndarray = tensor.numpy()
    has_channels_first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
    return np.moveaxis(array, 0, 2) if has_channels_first else array


def _to_uint8(array: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype != np.uint16 and array.dtype.kind != "f":
        raise InputError(
            f"{name} has dtype {array.dtype}; images are uint8 in 0–255, uint16, or float in 0–1. "
            "Scale the values and convert with .astype('uint8')."
        )
    try:
        return build_mapping(array, reading.bit_depth, name)(array)
    except ImageDecodeError as error:
        raise InputError(str(error)) from None


def _composite_array(pixels: np.ndarray, alpha: np.ndarray, name: str, reading: Reading) -> np.ndarray:
    bits = reading.bit_depth if isinstance(reading.bit_depth, int) else 16
    mapping = partial(alpha_to_8_bits, bits=bits)
    if reading.alpha == "auto" and band_takes_many_values(alpha):
        warn_once(
            "alpha of arrays",
            f"The fourth channel of {name} takes many values, as a further color (near infrared) does. It is taken "
            f"for alpha and composited on white. If it is not, give {advice.option('alpha', 'drop')}, or "
            "array[:, :, :3].",
        )
    return rgb_of_bands((pixels, alpha), lambda part: part, mapping)


def _advice(array: np.ndarray) -> str:
    if array.size == 0:
        return "This one is empty."
    if array.ndim == 4:
        return "For a batch, give its images one by one."
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        return "For channels first, give array.transpose(1, 2, 0)."
    return "Reshape it."


def _by_range(low: float, high: float, name: str) -> Mapping8:
    if not np.isfinite(low) or not np.isfinite(high):
        raise ImageDecodeError(
            f"{name} holds values from {low:g} to {high:g}; min-max needs finite ones. Replace them."
        )
    scale = 255.0 / (high - low) if high > low else 0.0
    return lambda part: np.rint((part.astype(np.float64) - low) * scale).astype(np.uint8)


def _parts(height: int, width: int) -> list[tuple[int, int]]:
    step = max(1, _AT_ONCE // max(width, 1))
    return [(top, min(top + step, height)) for top in range(0, height, step)]


_said: set[object] = set()
