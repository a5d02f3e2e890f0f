"""Numeric arrays from MATLAB's files of level 5 (.mat), as scipy.io.savemat and MATLAB up to -v7 write them.

Source: MathWorks, "MAT-File Format". Nothing in such a file is executed; what is not numeric is passed over.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segpipe.errors import ImageDecodeError, ImageTooLargeError

from .images import MAX_BYTES

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Of stored values, by the number in their tag."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Of arrays, by the lowest byte of their flags; values may be stored in a smaller type."""


class Element(NamedTuple):
    """A piece of a file."""

    kind: int
    data: bytes


def read_matlab(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The numeric arrays of a file by their names; numbers and vectors have two dimensions too.

    Raises:
        ImageDecodeError: missing, damaged, or of another level, such as -v7.3.
        ImageTooLargeError: it holds more bytes than `segpipe.data.images.MAX_BYTES`.
    """
    name = os.fsdecode(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ImageDecodeError(f"{name} cannot be read: {error.strerror}. Check the path.") from error
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI") or data[124:126] not in (b"\0\1", b"\1\0"):
        raise ImageDecodeError(
            f"{name} is no MATLAB file of level 5; it begins with {data[:12]!r}. Write it with scipy.io.savemat, or in "
            "MATLAB with save(…, '-v7')."
        )
    order = "<" if data[126:128] == b"IM" else ">"
    try:
        return dict(_arrays(data[_HEADER:], order, name))
    except (ValueError, zlib.error, IndexError) as error:
        if isinstance(error, (ImageDecodeError, ImageTooLargeError)):
            raise
        raise ImageDecodeError(f"{name} is truncated or damaged: {error}. Write it again.") from error


def _arrays(data: bytes, order: str, name: str) -> Iterator[tuple[str, np.ndarray]]:
    for kind, content in _elements(data, order):
        if kind == _COMPRESSED:
            yield from _arrays(_inflate(content, name), order, name)
        elif kind == _MATRIX:
            array = _read_array(content, order)
            if array is not None:
                yield array


def _elements(data: bytes, order: str) -> Iterator[Element]:
    place = 0
    while place + 8 <= len(data):
        kind, size = np.frombuffer(data, f"{order}u4", 2, place).tolist()
        start = place + 8
        is_small = kind >> 16 != 0
        if is_small:  # size and type share a word, the values are in the other
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if start + size > len(data):
            raise ValueError(f"{size} bytes should follow and {len(data) - start} do")
        yield Element(kind, data[start : start + size])
        padded = size if kind == _COMPRESSED else -(-size // 8) * 8
        place = place + 8 if is_small else start + padded


def _inflate(content: bytes, name: str) -> bytes:
    inflater = zlib.decompressobj()
    data = inflater.decompress(content, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise ImageTooLargeError(f"{name} holds more than {MAX_BYTES} bytes; that is the most that is read. Cut it.")
    return data


def _read_array(content: bytes, order: str) -> tuple[str, np.ndarray] | None:
    """Name and values of an array, None where it is not numeric and real."""
    parts = list(_elements(content, order))
    if len(parts) != 4:  # flags, size, name, values; complex ones have a fifth, cells and structures others
        return None
    flags, size, name, values = parts
    kind = _CLASSES.get(int(np.frombuffer(flags.data, f"{order}u4")[0]) & 0xFF)
    if kind is None or values.kind not in _TYPES:
        return None
    shape = np.frombuffer(size.data, f"{order}i4").tolist()
    stored = np.frombuffer(values.data, order + _TYPES[values.kind])
    if len(stored) != math.prod(shape):
        raise ValueError(f"an array of {shape} has {len(stored)} values")
    return name.data.decode("latin-1"), stored.reshape(shape, order="F").astype(kind)
