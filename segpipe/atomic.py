"""Writing to disk so that a file or a folder appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from segpipe import advice
from segpipe.errors import CacheError, SegpipeError
from segpipe.log import get_logger

logger = get_logger(__name__)

MANIFEST_NAME = "manifest.json"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_EXISTS = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}


@contextmanager
def storage_errors(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into a CacheError that says what to change.

    Nothing but file operations belongs inside: network errors are OSErrors as well.
    """
    try:
        yield
    except SegpipeError:
        raise
    except OSError as error:
        raise CacheError(_refusal(path, error, needed)) from error
    except ValueError as error:  # a NUL character, or half of a surrogate pair
        raise CacheError(f"{str(path)!r} cannot be a path: {error}. Correct it.") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that readers see old or new, never in part. A symbolic link at `path` is replaced, not followed."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open_new(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    fsync_folder(path.parent)


def open_new(path: Path) -> BinaryIO:
    """Open a file for writing that must not exist yet, so that nothing planted there is followed."""
    return open(path, "xb")


@contextmanager
def atomic_folder(final: Path, *, sync: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Yield a new folder beside `final` and rename it to `final` when the block ends well.

    The block has to write a manifest.json: a folder with one counts as finished. If somebody else finished first,
    theirs is kept and ours is dropped. An unfinished folder, a file or a link in the way is replaced, never followed.

    Args:
        final: the folder's place.
        sync: makes its files survive a power cut. If None, they are synced one by one; see `sync_disks` for very many.
    """
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".incoming-{uuid.uuid4().hex[:12]}")
        temporary.mkdir()
    try:
        yield temporary
        with storage_errors(final):
            (sync or _fsync_tree)(temporary)
            _move_into_place(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_disks(folder: Path) -> None:
    """Write out all that waits to be written, of all programs: for very many small files, faster than each alone."""
    if hasattr(os, "sync"):
        os.sync()
    else:
        _fsync_tree(folder)


def is_finished(folder: Path) -> bool:
    """Whether `folder` is a real folder, not a link to one, with a manifest.json."""
    return os.path.isdir(folder) and not folder.is_symlink() and os.path.isfile(folder / MANIFEST_NAME)


def remove_folder(folder: Path) -> None:
    """Take a folder (or whatever stands at its place) away: it vanishes at once, then its files are deleted."""
    aside = folder.with_name(f".removed-{uuid.uuid4().hex[:12]}")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return
    if os.path.isdir(aside) and not aside.is_symlink():
        shutil.rmtree(aside, ignore_errors=True)
        return
    aside.unlink()


def link_or_copy(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source` without spending disk space where hard links work."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_free_space(folder: Path, needed: int) -> None:
    """CacheError when the disk of `folder` (or of its nearest existing parent) has fewer than `needed` bytes free."""
    free = _free_bytes(folder)
    if free is not None and needed > free:
        raise CacheError(
            f"The download needs {needed:,} bytes and {folder} has {free:,} free. "
            "Free some space, prune the cache (segpipe cache prune), or point SEGPIPE_HOME at a larger disk."
        )


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut; does nothing where folders cannot be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below `folder`; links are not followed."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def _refusal(path: Path, error: OSError, needed: int | None) -> str:
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        free = _free_bytes(path.parent)
        need = "more bytes than there are" if needed is None else f"{needed:,} bytes"
        have = "an unknown number" if free is None else f"{free:,}"
        return (
            f"Cannot write {path}: {reason}. It needs {need}, {have} free. "
            "Free some space, or point SEGPIPE_HOME at a larger disk."
        )
    return f"Cannot write {path}: {reason}. The cache needs a folder that you may write to. " + advice.either(
        python="Set SEGPIPE_HOME to one, or give Hub a cache_dir.", command="Set SEGPIPE_HOME to one."
    )


def _free_bytes(folder: Path) -> int | None:
    for candidate in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(candidate).free
    return None


def _fsync_tree(folder: Path) -> None:
    # Windows syncs only what is open for writing; elsewhere a linked file may belong to somebody else.
    mode = "rb+" if os.name == "nt" else "rb"
    for root, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(root, name), mode) as file:
                os.fsync(file.fileno())
        fsync_folder(Path(root))


def _move_into_place(temporary: Path, final: Path) -> None:
    for _ in range(10):
        if is_finished(final):
            return
        if final.is_symlink() or (os.path.exists(final) and not os.path.isdir(final)):
            remove_folder(final)
        try:
            os.rename(temporary, final)
        except OSError as error:
            if error.errno not in _EXISTS or not os.path.lexists(final):
                raise
            if not is_finished(final):
                logger.warning("Replacing the unfinished folder %s.", final)
                remove_folder(final)
            continue
        fsync_folder(final.parent)
        return
    raise CacheError(f"Cannot put a folder at {final}: something keeps appearing there. Remove it and try again.")
