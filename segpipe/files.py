"""The one way to read a file that others may have written: its kind is checked and its size is bounded."""

from __future__ import annotations

import codecs
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from segpipe import advice
from segpipe.errors import SegpipeError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

MakeError = Callable[[str], Exception]


def open_regular(path: str | os.PathLike[str], *, error: MakeError) -> BinaryIO:
    """Open a regular file for reading. Links to one are followed; a pipe or a device never blocks.

    Args:
        error: makes the exception to raise from a message, usually an error class.

    Raises:
        What `error` makes: there is no such file, it is not a regular file, it may not be read, or the path cannot
        be one.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer. For regular files it changes nothing.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise _about(path, error(f"There is no file {os.fsdecode(path)}. {current_place()} Check the path.")) from None
    except ValueError:  # a NUL character, or half of a surrogate pair
        raise error(f"{os.fsdecode(path)!r} cannot be a path. Correct it.") from None
    except OSError as reason:
        raise _about(path, error(_unreadable(path, reason))) from None
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind != stat.S_IFREG:
            what = _KINDS.get(kind, "a special file")
            raise _about(path, error(f"{os.fsdecode(path)} is {what}; a regular file is needed. Check the path."))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(
    path: str | os.PathLike[str], *, max_bytes: int, error: MakeError, too_large: MakeError | None = None
) -> bytes:
    """Read a whole regular file of at most `max_bytes`.

    Args:
        max_bytes: the bound, usually from `segpipe.limits.limit`.
        error: see `open_regular`.
        too_large: the same for a file over the bound. If None, `error` is used.
    """
    with open_regular(path, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            data = file.read(max_bytes + 1) if size <= max_bytes else b""
        except OSError as reason:
            raise _about(path, error(_unreadable(path, reason))) from None
    if max(size, len(data)) > max_bytes:
        message = (
            f"{os.fsdecode(path)} has {max(size, len(data)):,} bytes or more; at most {max_bytes:,} are read. "
            "Check that it is the right file; docs/limits.md says how to raise the limit."
        )
        raise _about(path, (too_large or error)(message))
    return data


def read_text(path: str | os.PathLike[str], *, max_bytes: int, error: MakeError) -> str:
    """Read a whole text file, see `read_file` and `utf8_of`."""
    try:
        return utf8_of(read_file(path, max_bytes=max_bytes, error=error)).decode("utf-8")
    except UnicodeDecodeError as reason:
        message = f"{os.fsdecode(path)} cannot be read as text: {reason}. Save it as UTF-8."
        raise _about(path, error(message)) from None


def utf8_of(data: bytes) -> bytes:
    """Return a text in UTF-8 without a byte-order mark; UTF-16 and UTF-32 are known by theirs.

    Editors and shells of Windows write such marks.

    Raises:
        UnicodeDecodeError: what follows the mark of UTF-16 or UTF-32 is something else.
    """
    if data.startswith(codecs.BOM_UTF8):
        return data[len(codecs.BOM_UTF8) :]
    # The mark of UTF-32 in little-endian order begins with that of UTF-16.
    for marks, encoding in (
        ((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
        ((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
    ):
        if data.startswith(marks):
            return data.decode(encoding).encode()
    return data


def copy_regular(source: str | os.PathLike[str], target: str | os.PathLike[str], *, error: MakeError) -> None:
    """Copy the bytes of a regular file to a new file. Links to one are followed; see `open_regular`.

    Raises:
        OSError: the target exists, or cannot be written.
    """
    with open_regular(source, error=error) as read, open(target, "xb") as written:
        shutil.copyfileobj(read, written, 2**20)


def check_vacant(path: str | os.PathLike[str], *, overwrite: bool, error: MakeError) -> None:
    """Raise `error` where something is at a path that is to be written, unless it may be replaced."""
    if not overwrite and os.path.lexists(path):
        message = f"{os.fsdecode(path)} exists. Name a new one, or replace it: {advice.argument('overwrite', True)}."
        raise _about(path, error(message))


def file_url_path(url: str, *, error: MakeError) -> str:
    """Return the path that a file URL names; on this machine, or `error` is raised.

    Another host would have another file, and the one of that path here is not it.
    """
    from urllib.request import url2pathname  # slow to import, and rarely needed

    parts = urlsplit(url)
    if parts.netloc.lower() not in ("", "localhost"):
        raise error(
            f"The file URL {url[:200]!r} names another host; only files of this machine can be read by one. "
            "Write file:///path."
        )
    return url2pathname(parts.path)


def absolute_path(path: str | os.PathLike[str], *, error: MakeError) -> Path:
    """Return a path from the root of the file system on, `~` expanded, links as they are."""
    expanded = Path(os.path.expanduser(path))
    folder = current_folder()
    if folder is None and not expanded.is_absolute():
        raise error(
            f"{os.fsdecode(path)} is a relative path, and the current folder was deleted. Give an absolute path, or "
            "change to another folder."
        )
    return expanded if folder is None else folder / expanded


def current_folder() -> Path | None:
    """Return the current folder, or None where it was deleted."""
    try:
        return Path.cwd()
    except OSError:
        return None


def current_place() -> str:
    """Return the sentence that a message about a relative path needs."""
    folder = current_folder()
    return "The current folder was deleted." if folder is None else f"The current folder is {folder}."


def _about(path: str | os.PathLike[str], error: Exception) -> Exception:
    """Return an error that says which file it is about, if it is one of ours."""
    if isinstance(error, SegpipeError):
        error.path = Path(os.fsdecode(path))
    return error


def _unreadable(path: str | os.PathLike[str], reason: OSError) -> str:
    why = reason.strerror or type(reason).__name__
    return f"{os.fsdecode(path)} cannot be read: {why}. Check the path and its permissions."
