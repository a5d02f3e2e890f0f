"""Read numeric arrays from MATLAB's files of level 5 (.mat), as scipy.io.savemat and MATLAB up to -v7 write them."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Collection, Iterator

import numpy as np

from segpipe.errors import ImageDecodeError, ImageTooLargeError
from segpipe.extras import import_extra
from segpipe.files import read_file
from segpipe.limits import limit

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_CLASSES = range(6, 16)
"""Of numeric arrays. Cells and structures, which nest without bound, have others."""
_TYPES = frozenset({1, 2, 3, 4, 5, 6, 7, 9, 12, 13})
"""Of stored numbers."""


def read_matlab(path: str | os.PathLike[str], names: Collection[str]) -> dict[str, np.ndarray]:
    """Read the numeric arrays called `names` that the file has; numbers and vectors have two dimensions too.

    Raises:
        ImageDecodeError: missing, damaged, or of another level, such as -v7.3.
        ImageTooLargeError: the file, or what it unpacks to, has more bytes than `matlab_bytes`, see `segpipe.limits`.
        MissingExtraError: scipy is not installed.
    """
    name = os.fsdecode(path)
    data = read_file(path, max_bytes=limit("matlab_bytes"), error=ImageDecodeError, too_large=ImageTooLargeError)
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI") or data[124:126] not in (b"\0\1", b"\1\0"):
        raise ImageDecodeError(
            f"{name} is not a MATLAB file of level 5; it begins with {data[:12]!r}. Write it with scipy.io.savemat, or "
            "in MATLAB with save(…, '-v7')."
        )
    scipy_io = import_extra("scipy.io", extra="mat")
    order = "<" if data[126:128] == b"IM" else ">"
    try:
        matrices = [matrix for matrix in _unpacked_matrices(data, order, name) if _is_numeric(matrix, order)]
        elements = b"".join(struct.pack(f"{order}II", _MATRIX, len(matrix)) + matrix for matrix in matrices)
        arrays = scipy_io.loadmat(io.BytesIO(data[:_HEADER] + elements), variable_names=list(names))
        return {each: np.asarray(arrays[each]) for each in names if each in arrays}
    except ImageTooLargeError:
        raise
    except Exception as error:  # on damaged data scipy raises nearly anything
        raise ImageDecodeError(f"{name} is truncated or damaged: {error}. Write it again.") from None


def _unpacked_matrices(data: bytes, order: str, name: str) -> Iterator[bytes]:
    """Yield the content of each matrix; together they have at most `matlab_bytes`."""
    most = left = limit("matlab_bytes")
    place = _HEADER
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        content = data[place + 8 : place + 8 + size]
        if len(content) < size:
            raise ValueError(f"{size} bytes should follow and {len(content)} do")
        place += 8 + size
        if kind == _COMPRESSED:
            inflater = zlib.decompressobj()
            inflated = inflater.decompress(content, left + 1)
            if len(inflated) > left:
                raise ImageTooLargeError(
                    f"{name} unpacks to more than {most:,} bytes. Check that it is the right file; docs/limits.md says "
                    "how to raise the limit."
                )
            left -= len(inflated)
            kind, size = struct.unpack_from(f"{order}II", inflated)
            content = inflated[8 : 8 + size]
        if kind == _MATRIX and len(content) == size:
            yield content


def _is_numeric(matrix: bytes, order: str) -> bool:
    """Return whether a matrix holds numbers of a number type; of any other type scipy reads outside of a table."""
    if struct.unpack_from(f"{order}I", matrix, 8)[0] & 0xFF not in _CLASSES:
        return False
    kinds, place = [], 16
    while place + 8 <= len(matrix):
        kind, size = struct.unpack_from(f"{order}II", matrix, place)
        is_small = kind >> 16 != 0  # the size and the type share a word, the values are in the other
        kinds.append(kind & 0xFFFF if is_small else kind)
        place += 8 if is_small else 8 + -(-size // 8) * 8
    return len(kinds) > 2 and all(kind in _TYPES for kind in kinds[2:])  # size and name come first
