"""JSON annotations that somebody else wrote: how they are read, and how much may be drawn from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

from segpipe.configuration import decode_document
from segpipe.errors import InputError
from segpipe.files import read_file
from segpipe.limits import limit

T = TypeVar("T")

_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"?|-?\b(?:NaN|Infinity)\b', re.DOTALL)
"""A string, which stays, or a number that is none."""
_ADVICE = "docs/limits.md says how to raise the limit."


def read_annotations(path: Path, kind: type[T], what: str) -> T:
    """Read a JSON file as a msgspec struct, as tools write it.

    Fields that the struct does not name are passed over, a whole number may be 1.0 or "1", and NaN and Infinity, which
    Python writes and JSON does not know, are null.

    Args:
        kind: the struct.
        what: the kind of file for the error message, such as "COCO's JSON".

    Raises:
        InputError: it is not a regular file, over `annotation_bytes`, or its content is not of that kind.
    """
    data = read_file(path, max_bytes=limit("annotation_bytes"), error=InputError)
    try:
        return decode_document(data, kind, strict=False)
    except ValueError as error:
        reason = error
    try:
        if b"NaN" in data or b"Infinity" in data:
            return decode_document(_NOT_JSON.sub(_null, data), kind, strict=False)
    except ValueError as error:
        reason = error
    raise InputError(f"{path} is not {what}: {reason}. Write it again, or name another file.")


def check_size(height: int, width: int, *, origin: str) -> None:
    """Refuse an image size that cannot be right, before an array of that size is made.

    Raises:
        InputError: a side is below 1, or there are more than `image_pixels` pixels.
    """
    most = limit("image_pixels")
    if min(height, width) < 1 or height * width > most:
        raise InputError(
            f"{origin} has the size {height} × {width} (height × width); each side must be 1 or more, and at most "
            f"{most:,} pixels are drawn. Correct the size; {_ADVICE}"
        )


class DrawingBudget:
    """What may still be drawn into one label, so that a small file cannot ask for hours of work."""

    def __init__(self) -> None:
        self._left = {name: limit(name) for name in ("drawn_pixels", "polygon_crossings")}

    def spend(self, name: str, amount: int) -> None:
        """Take an amount off; InputError where it is more than what is left."""
        self._left[name] -= amount
        if self._left[name] < 0:
            raise InputError(
                f"The objects of one label need more than {limit(name):,} {_UNITS[name]}. Simplify or remove some of "
                f"them; {_ADVICE}"
            )


_UNITS = {"drawn_pixels": "drawn pixels", "polygon_crossings": "crossings of polygon edges with rows of pixels"}


def _null(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else b"null"
