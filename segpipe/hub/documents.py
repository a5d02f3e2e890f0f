"""JSON that somebody else may have written: decoded into the types that are asked for, other keys ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from segpipe.files import read_file, utf8_of

Document = TypeVar("Document")

Count = Annotated[int, Meta(ge=0, le=2**53)]
Text = Annotated[str, Meta(max_length=4096)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
RevisionText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}\Z")]
SnapshotName = Annotated[str, Meta(pattern=r"^[0-9a-f]{20}\Z")]

NOTE_BYTES = 2**16
"""The cache's own notes are far shorter."""


def decode_document(data: bytes, kind: type[Document], *, strict: bool = True) -> Document:
    """Decode JSON, perhaps behind a byte-order mark. Keys that `kind` does not name are passed over.

    Args:
        data: the text.
        kind: what it should be.
        strict: whether 1.0 and "1" are refused where a whole number is needed.

    Raises:
        ValueError: says where it is not what `kind` needs.
    """
    try:
        return msgspec.json.decode(utf8_of(data), type=kind, strict=strict)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None


def read_note(path: Path, kind: type[Document]) -> Document | None:
    """A note of the cache; None where there is none, or what lies there is not one."""
    try:
        return decode_document(read_file(path, max_bytes=NOTE_BYTES, error=ValueError), kind)
    except ValueError:
        return None
