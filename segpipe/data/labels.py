"""The label contract, applied in one place: from the values in a data set's files to class indices."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from segpipe import advice
from segpipe.configuration import (
    LabelSet,
    decode_label_set,
    read_class_names,
    read_colors,
    read_json,
    read_named_values,
    read_values,
)
from segpipe.errors import ImageDecodeError, InputError, UnknownNameError
from segpipe.extras import import_opencv
from segpipe.names import unknown_name_message

cv2 = import_opencv()

Color = tuple[int, int, int]
_FOLDER = Path(__file__).parent / "label_sets"
_MAX_RAW = 65535


def encode_label(raw: np.ndarray, labels: LabelSet, *, origin: str) -> np.ndarray:
    """Class indices of raw values.

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
    return table[np.where((values >= 0) & (values <= _MAX_RAW), values, _MAX_RAW + 1)]


@dataclass(frozen=True)
class ColorTable:
    """What the colours of a label file stand for.

    Attributes:
        colors: RGB.
        values: the raw value of each colour; -1: none, its pixels are ignored.
    """

    colors: tuple[Color, ...]
    values: tuple[int, ...]

    def values_of(self, pixels: np.ndarray, *, origin: str) -> np.ndarray:
        """Raw values (H, W) int32 of colours (H, W, 3) uint8; ImageDecodeError lists colours that are not here."""
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
    """Colours to raw values: one colour per class, and colours whose pixels are ignored; see `read_colors`."""
    own, others = read_colors(palette), read_colors(ignored, "ignore_colors") if len(ignored) else ()
    if len(own) != len(labels.names):
        raise InputError(
            f"The palette has {len(own)} colours for {len(labels.names)} classes; it needs one per class. "
            f"Colours that are no class are {advice.option('ignore_colors', [(0, 0, 0)])}."
        )
    colors = (*own, *others)
    twice = next((color for color in colors if colors.count(color) > 1), None)
    if twice is not None:
        raise InputError(f"The colour {twice} stands for two things; each class needs its own. Correct the palette.")
    values = labels.raw_ids or tuple(range(len(labels.names)))
    return ColorTable(colors, (*values, *(-1 for _ in others)))


def dataset_labels(name: str) -> LabelSet:
    """Names, colours and raw ids of a data set that segpipe knows; UnknownNameError has the list."""
    if name not in dataset_label_names():
        raise UnknownNameError(unknown_name_message("label set", name, dataset_label_names()))
    return read_label_set(_FOLDER / f"{name}.json")


@functools.lru_cache(maxsize=1)
def dataset_label_names() -> tuple[str, ...]:
    """The names that `dataset_labels` knows, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def read_label_set(path: Path) -> LabelSet:
    """The label set in a JSON file: {"names": […], "palette": […], "ignore_index": 255, "raw_ids": […]}."""
    return parse_label_set(read_json(path), origin=str(path))


def open_label_set(value: Any) -> LabelSet:
    """The label set that an argument names: one itself, its sections, a JSON file, or a data set that has it."""
    if isinstance(value, LabelSet):
        return value
    if isinstance(value, os.PathLike) or (isinstance(value, str) and value.lower().endswith(".json")):
        return read_label_set(Path(os.path.expanduser(value)))
    if isinstance(value, str):
        return dataset_labels(value)
    return parse_label_set(value, origin="label_set") if isinstance(value, dict) else build_label_set(value)


def parse_label_set(document: Any, *, origin: str) -> LabelSet:
    """The label set that a JSON value stands for: its sections, or the names alone in a form that `names` may have."""
    is_numbered = isinstance(document, dict) and all(str(key).isdecimal() for key in document)
    if isinstance(document, list) or is_numbered:
        return build_label_set(document)
    return decode_label_set(document, origin=origin)


def build_label_set(names: Any, *, palette: Any = None, raw_ids: Any = None) -> LabelSet:
    """A label set for these classes, with an `ignore_index` of 255, or of 65535 for more than 255 classes.

    Args:
        names: in any form that `read_named_values` takes. A mapping of values to names gives the raw ids as well.
        palette: one colour per class, see `read_colors`.
        raw_ids: the value of each class in label files. If None, they are the keys of a mapping, else class indices.

    Raises:
        InputError: they do not fit together.
    """
    by_value = read_named_values(names)
    is_indexed = list(by_value) == list(range(len(by_value)))
    ids = read_values(raw_ids) if raw_ids is not None else None if is_indexed else tuple(by_value)
    if raw_ids is not None and not is_indexed:
        raise InputError("names and raw_ids both say which values the classes have. Leave raw_ids out.")
    try:
        return LabelSet(
            names=tuple(by_value.values()),
            palette=None if palette is None else read_colors(palette),
            ignore_index=255 if len(by_value) <= 255 else _MAX_RAW,
            raw_ids=ids,
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"These classes are no label set: {error}. Correct them.") from None


def with_raw_ids(labels: LabelSet, raw_ids: Any) -> LabelSet:
    """The same classes for files that hold these values, one per class."""
    try:
        return msgspec.structs.replace(labels, raw_ids=read_values(raw_ids))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"The values do not fit the classes: {error}. Give one for each.") from None


UNNAMED = LabelSet(names=tuple(f"value {value}" for value in range(255)))
"""Stands for classes that nothing names: each value is one."""


def without_raw_ids(labels: LabelSet) -> LabelSet:
    """The same classes for files that hold class indices already ("train ids")."""
    return msgspec.structs.replace(labels, raw_ids=None)


def subset_labels(labels: LabelSet, classes: Any) -> LabelSet:
    """Only these classes, numbered in this order; the values of all others are ignored."""
    names = read_class_names(classes, "classes")
    if len(set(names)) != len(names):
        raise InputError(f"The classes are {', '.join(names)}; each can be there once. Name each one once.")
    unknown = next((name for name in names if name not in labels.names), None)
    if unknown is not None:
        raise UnknownNameError(unknown_name_message("class", unknown, labels.names))
    chosen = [labels.names.index(name) for name in names]
    return LabelSet(
        names=names,
        palette=None if labels.palette is None else tuple(labels.palette[index] for index in chosen),
        ignore_index=labels.ignore_index,
        raw_ids=tuple(chosen if labels.raw_ids is None else (labels.raw_ids[index] for index in chosen)),
    )


def _encoding_table(labels: LabelSet) -> np.ndarray:
    """(65537,) class index by raw value; the last place is for values that fit nowhere."""
    dtype = np.uint8 if labels.ignore_index <= 255 else np.uint16
    table = np.full(_MAX_RAW + 2, labels.ignore_index, dtype)
    classes = np.arange(len(labels.names), dtype=dtype)
    table[classes if labels.raw_ids is None else np.array(labels.raw_ids)] = classes
    return table


def _pack(pixels: np.ndarray) -> np.ndarray:
    """Colours (…, 3) uint8 as single numbers."""
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
        f"{origin} has {len(colors)} colours that the palette does not: {shown}{more}. Every colour must be that of a "
        f"class. Add them to the palette, or ignore them: {ignoring}; if they are smoothed edges, draw labels without "
        "smoothing."
    )
