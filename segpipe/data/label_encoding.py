"""Apply the label contract: encode the values or colors in a data set's files as class indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segpipe import advice
from segpipe.configuration import LabelSet, read_colors
from segpipe.errors import ImageDecodeError, InputError
from segpipe.extras import import_opencv

cv2 = import_opencv()
Color = tuple[int, int, int]
MAX_RAW = 65535
"""The greatest value that label files hold."""


def encode_label(raw: np.ndarray, labels: LabelSet, *, origin: str) -> np.ndarray:
    """Encode raw values as class indices.

    The value `labels.raw_ids[k]` (k itself where `raw_ids` is None) becomes k; every other value becomes
    `ignore_index`.

    Args:
        raw: (H, W) integers as the file holds them; values outside 0–65535 are ignored ones.
        labels: says which values are classes.
        origin: what messages call the label.

    Returns:
        (H, W) uint8, or uint16 where `ignore_index` is over 255.
    """
    if raw.ndim != 2 or raw.size == 0 or raw.dtype.kind not in "biu":
        raise InputError(
            f"{origin} has shape {raw.shape} and dtype {raw.dtype}; a label is (height, width) integers. "
            "Read it with segpipe.data.read_label."
        )
    table = _encoding_table(labels)
    if raw.dtype == np.uint8 and table.dtype == np.uint8:
        encoded: np.ndarray = cv2.LUT(np.ascontiguousarray(raw), table[:256])
        return encoded
    if raw.dtype.kind == "u" and raw.dtype.itemsize <= 2:
        return table[raw]
    values = raw.astype(np.int64)
    return table[np.where((values >= 0) & (values <= MAX_RAW), values, MAX_RAW + 1)]


@dataclass(frozen=True)
class ColorTable:
    """What the colors of a label file stand for.

    Attributes:
        colors: RGB.
        values: the raw value of each color, -1 for one whose pixels are ignored.
    """

    colors: tuple[Color, ...]
    values: tuple[int, ...]

    def values_of(self, pixels: np.ndarray, *, origin: str) -> np.ndarray:
        """Return the raw values (H, W) int32 of colors (H, W, 3) uint8; ImageDecodeError lists unknown colors."""
        known = _pack(np.array(self.colors, np.uint8).reshape(-1, 3))
        order = np.argsort(known)
        codes = _pack(pixels)
        places = np.minimum(np.searchsorted(known[order], codes), len(known) - 1)
        is_unknown = known[order][places] != codes
        if is_unknown.any():
            ignored = [color for color, value in zip(self.colors, self.values, strict=True) if value == -1]
            raise _unknown_colors(codes[is_unknown], origin, ignored)
        return np.array(self.values, np.int32)[order][places]


def build_color_table(labels: LabelSet, palette: Any, ignored: Any = ()) -> ColorTable:
    """Build the table of one color per class, and of colors whose pixels are ignored; see `read_colors`."""
    own, others = read_colors(palette), read_colors(ignored, "ignore_colors") if len(ignored) else ()
    if len(own) != len(labels.names):
        raise InputError(
            f"The palette has {len(own)} colors for {len(labels.names)} classes; it needs one per class. "
            f"Colors that are not a class are {advice.option('ignore_colors', [(0, 0, 0)])}."
        )
    colors = (*own, *others)
    twice = next((color for color in colors if colors.count(color) > 1), None)
    if twice is not None:
        raise InputError(f"The color {twice} stands for two things; each class needs its own. Correct the palette.")
    values = labels.raw_ids or tuple(range(len(labels.names)))
    return ColorTable(colors, (*values, *(-1 for _ in others)))


def _encoding_table(labels: LabelSet) -> np.ndarray:
    """Return the (65537,) class index by raw value; the last place is for values that fit nowhere."""
    dtype = np.uint8 if labels.ignore_index <= 255 else np.uint16
    table = np.full(MAX_RAW + 2, labels.ignore_index, dtype)
    classes = np.arange(len(labels.names), dtype=dtype)
    table[classes if labels.raw_ids is None else np.array(labels.raw_ids)] = classes
    return table


def _pack(pixels: np.ndarray) -> np.ndarray:
    """Return colors (…, 3) uint8 as single numbers."""
    channels = pixels.astype(np.int32)
    packed: np.ndarray = (channels[..., 0] << 16) | (channels[..., 1] << 8) | channels[..., 2]
    return packed


def _unknown_colors(codes: np.ndarray, origin: str, ignored: Sequence[Color]) -> ImageDecodeError:
    colors, counts = np.unique(codes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(
        f"({colors[i] >> 16}, {colors[i] >> 8 & 255}, {colors[i] & 255}) on {counts[i]} pixels" for i in order[:10]
    )
    more = f" and {len(colors) - 10} more" if len(colors) > 10 else ""
    listed = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in colors[order[:4]]]
    ignoring = advice.option("ignore_colors", [*ignored, *listed])
    return ImageDecodeError(
        f"{origin} has {len(colors)} colors that the palette does not: {shown}{more}. Every color must be that of a "
        f"class. Add them to the palette, or ignore them: {ignoring}; if they are smoothed edges, draw labels without "
        "smoothing."
    )
