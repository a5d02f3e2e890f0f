"""Notes of the cache: small JSON files, which may be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from segpipe.configuration import Document, decode_document
from segpipe.files import read_file

RevisionText = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}\Z")]
SnapshotName = Annotated[str, Meta(pattern=r"^[0-9a-f]{20}\Z")]

NOTE_BYTES = 2**16
"""They are far shorter."""


def read_note(path: Path, kind: type[Document]) -> Document | None:
    """Return a note of the cache, or None where there is none, or what lies there is not one."""
    try:
        return decode_document(read_file(path, max_bytes=NOTE_BYTES, error=ValueError), kind)
    except ValueError:
        return None
