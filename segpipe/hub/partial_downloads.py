"""Unfinished downloads: one file per process, with a note of what it belongs to, so that a later run can go on."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from msgspec import Meta

from segpipe.atomic import move, open_new, write_atomically
from segpipe.configuration import Count, Text, decode_document
from segpipe.files import open_regular, read_file
from segpipe.log import get_logger

from .references import file_key

logger = get_logger(__name__)

Note = TypeVar("Note")

NOTE_BYTES = 2**16
"""The cache's own notes are far shorter."""
ABANDONED_AFTER = 3600.0
"""Seconds without a write after which another machine's part counts as left behind."""


VersionText = Annotated[str, Meta(pattern=r"^[\x20-\x7e]{1,200}\Z")]
"""It is sent back to the server, in a header."""


@dataclass(frozen=True)
class Origin:
    """What the bytes of a part belong to. Parts are shared between runs only when this is equal."""

    path: Text
    url: Text
    size: Count | None = None
    digest: Text | None = None
    version: VersionText | None = None
    """The strong ETag of the answer, or its Last-Modified, where no digest is known beforehand."""

    def fits(self, other: Origin) -> bool:
        """Return whether bytes fetched for `other` can be continued for this."""
        if self.path != other.path or self.size not in (None, other.size):
            return False
        if self.digest is not None:
            return self.digest == other.digest
        return self.url == other.url and other.version is not None


class Part:
    """A file that grows while it is fetched; it belongs to one process at a time."""

    def __init__(self, path: Path, origin: Origin) -> None:
        self.path = path
        self.origin = origin

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    def append(self) -> BinaryIO:
        """Open for writing at the end."""
        return open(self.path, "ab", buffering=0)

    def restart(self) -> None:
        """Forget the bytes so far."""
        os.truncate(self.path, 0)

    def head(self) -> bytes:
        """Return the first bytes, to see what kind of file it is."""
        with open_regular(self.path, error=OSError) as file:
            return file.read(512)

    def note(self, origin: Origin) -> None:
        """Write down what the part belongs to and that this process works on it."""
        self.origin = origin
        _write_note(self.path, origin, _Process(_host(), os.getpid(), _start_time(os.getpid())))

    def release(self) -> None:
        """Leave the part to a later run; an empty one is deleted."""
        with suppress(OSError):
            if not self.size:
                self.discard()
                return
            _write_note(self.path, self.origin, None)

    def discard(self) -> None:
        """Delete the part."""
        for path in (self.path, _note_path(self.path)):
            with suppress(OSError):
                path.unlink()

    def move_to(self, target: Path) -> None:
        """Give the finished bytes their final place, which must not exist yet."""
        target.parent.mkdir(parents=True, exist_ok=True)
        move(self.path, target)
        self.discard()


def claim_part(folder: Path, origin: Origin) -> Part:
    """Take over what a dead process left of the same file, or begin anew."""
    folder.mkdir(parents=True, exist_ok=True)
    mine = folder / f"{file_key(origin.path)}.{os.getpid()}-{uuid.uuid4().hex[:12]}.part"
    for path in sorted(folder.glob(f"{file_key(origin.path)}.*.part")):
        note = read_note(_note_path(path), _Note)
        if note is None or not origin.fits(note.origin) or not _is_left_behind(path, note.owner):
            continue
        if _take(path, mine):
            part = Part(mine, origin)
            part.note(note.origin)
            logger.info("Going on with %s after %d bytes.", origin.path, part.size)
            return part
    part = Part(mine, origin)
    part.note(origin)
    open_new(mine).close()
    return part


def left_behind(folder: Path) -> Iterator[Path]:
    """Yield the parts, and the notes without one, that no living process works on."""
    for path in folder.glob("*.part"):
        note = read_note(_note_path(path), _Note)
        if _is_left_behind(path, note.owner if note else _Process("", 1, "")):
            yield path
    for path in folder.glob("*.part.json"):
        if not os.path.exists(path.with_suffix("")) and _age(path) >= 60.0:
            yield path


def read_note(path: Path, kind: type[Note]) -> Note | None:
    """Return a note of the cache, or None where there is none, or what lies there is not one."""
    try:
        return decode_document(read_file(path, max_bytes=NOTE_BYTES, error=ValueError), kind)
    except ValueError:
        return None


@dataclass(frozen=True)
class _Process:
    host: Text
    pid: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    started: Text


@dataclass(frozen=True)
class _Note:
    """What lies beside a part."""

    origin: Origin
    owner: _Process | None = None


def _host() -> str:
    # Process ids mean something inside one pid namespace only: containers may share a host name.
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{platform.node()}{namespace}"


def _start_time(pid: int) -> str:
    """Return what tells a process from a later one with the same id, where the system says so; else empty."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_left_behind(path: Path, owner: _Process | None) -> bool:
    if owner is None:
        return True
    # On Windows os.kill would end the process instead of asking for it; a part in use cannot be renamed there anyway.
    if owner.host != _host() or sys.platform == "win32":
        return _age(path) > ABANDONED_AFTER
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return owner.started != _start_time(owner.pid)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _take(path: Path, mine: Path) -> bool:
    """Claim by renaming: of several processes that try, one succeeds. Links planted there are not taken."""
    try:
        if path.is_symlink() or not os.path.isfile(path) or path.stat().st_nlink != 1:
            return False
        move(path, mine)
    except OSError:
        return False
    with suppress(OSError):
        _note_path(path).unlink()
    return True


def _write_note(part: Path, origin: Origin, owner: _Process | None) -> None:
    write_atomically(_note_path(part), json.dumps(asdict(_Note(origin, owner))).encode())
