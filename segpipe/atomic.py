"""The one way to write a file or a folder, so that it appears whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from segpipe import advice
from segpipe.errors import CacheError, SegpipeError
from segpipe.log import get_logger

logger = get_logger(__name__)

Sync = Callable[[Path], object]

MANIFEST_NAME = "manifest.json"
"""A folder that holds this file counts as finished."""
UNFINISHED = (".incoming-*", ".removed-*", ".fresh-*")
"""Names of folders that are being made or removed. A kill may leave them."""
_FRESH = re.compile(r"\.fresh-(?:[0-9a-f]{12}-)?(.+)")
_LONGEST_NAME = 200
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_TAKEN = {errno.EEXIST, errno.ENOTEMPTY}
_EXISTS = {*_TAKEN, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM}


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
        raise CacheError(_refusal(path, error, needed), path=path) from error
    except ValueError as error:  # a NUL character, or half of a surrogate pair
        raise CacheError(f"{str(path)!r} cannot be a path: {error}. Correct it.", path=path) from error


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a new path beside `path`; the file written there gets its name when the block ends well.

    Readers see the old file or the new one. A symbolic link at `path` is replaced, not followed.

    Args:
        path: of the file; its folder must exist.
        sync: whether the file must survive a power cut, which takes time.

    Raises:
        OSError: with the file name `path`, which the caller knows.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")  # short, whatever the name is
    try:
        yield temporary
        if sync:
            fsync_file(temporary)
        move(temporary, path)
        if sync:
            fsync_folder(path.parent)
    except OSError as error:
        if error.errno is not None and (error.filename is None or str(error.filename) == str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file that readers see old or new, never in part; see `atomic_file`."""
    with atomic_file(path, sync=sync) as temporary, open_new(temporary) as file:
        file.write(data)


def write_unless_there(path: Path, data: bytes) -> None:
    """Write a file whole, unless another process has written one there meanwhile."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with open_new(temporary) as file:
            file.write(data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        except OSError:  # a file system without links
            move(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def open_new(path: Path) -> BinaryIO:
    """Open a file for writing that must not exist yet, so that nothing planted there is followed."""
    return open(path, "xb")


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder on its disk. A file at `target` is replaced at once, a folder only if it is empty."""
    os.replace(source, target)


@contextmanager
def scratch_folder(place: Path) -> Iterator[Path]:
    """Yield a new folder inside the folder `place`, which is made; it is gone afterwards, unless it was moved."""
    place.mkdir(parents=True, exist_ok=True)
    folder = place / f".incoming-{uuid.uuid4().hex[:12]}"
    folder.mkdir()
    try:
        with _errors_naming(place, instead_of=folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def atomic_folder(final: Path, *, sync: Sync | None = None) -> AbstractContextManager[Path]:
    """Yield a new folder beside `final` and rename it to `final` when the block ends well.

    The block has to write a manifest.json: a folder with one counts as finished. If another process finished first,
    its folder is kept and ours is dropped. An unfinished folder, a file or a link in the way is replaced, not followed.
    Errors raised in the block name `final` instead of the new folder, which is gone by then.

    Args:
        final: the folder's place.
        sync: makes its files survive a power cut. If None, they are synced one by one; see `sync_disks` for very many.
    """
    return _made_folder(final, sync, _move_into_place)


@contextmanager
def replaced_folder(final: Path, *, sync: Sync | None = None) -> Iterator[Path]:
    """Yield a new folder that takes the place of `final` when the block ends well; until then the old one stays.

    A kill between the two leaves the new one whole under another name. The next call for `final` gives it its name
    where `final` is gone, and removes it at the end, as `atomic_folder` does. Processes may replace a folder at once.
    For the rest see `atomic_folder`.
    """
    with storage_errors(final):
        _finish_replacement(final)
    with _made_folder(final, sync, _replace) as temporary:
        yield temporary


def finish_replacements(folder: Path) -> None:
    """Finish what a kill left of `replaced_folder` for the folders in `folder`.

    A whole new folder gets its name where the old one is gone; where it is not, the new one is removed. Call it where
    no other process replaces folders there.
    """
    for fresh in sorted(folder.glob(".fresh-*")):
        match = _FRESH.fullmatch(fresh.name)
        if match is not None:
            final = folder / match[1]
            with storage_errors(final):
                _finish_replacement(final)
                _remove_replacements(final)


def sync_disks(folder: Path) -> None:
    """Write out all that waits to be written, of all programs: for very many small files, faster than each alone."""
    if hasattr(os, "sync"):
        os.sync()
    else:
        _fsync_tree(folder)


def is_finished(folder: Path) -> bool:
    """Return whether `folder` is a real folder, not a link to one, with a manifest.json."""
    return os.path.isdir(folder) and not folder.is_symlink() and os.path.isfile(folder / MANIFEST_NAME)


def remove_folder(folder: Path) -> None:
    """Remove a folder, or whatever is at its path: it vanishes at once, then its files are deleted."""
    aside = folder.with_name(f".removed-{uuid.uuid4().hex[:12]}")
    try:
        move(folder, aside)
    except FileNotFoundError:
        return
    _delete(aside)


def link_or_copy(source: Path, target: Path) -> None:
    """Give `target` the bytes of `source` without spending disk space where hard links work."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_free_space(
    folder: Path,
    needed: int,
    what: str = "The download",
    *,
    error: Callable[[str], SegpipeError] = CacheError,
    advice: str = "prune the cache (segpipe cache prune), or point SEGPIPE_HOME at a larger disk",
) -> None:
    """Raise `error` if the disk of `folder` (or of its nearest parent) has fewer than `needed` bytes free.

    Args:
        what: needs them, for the message.
        advice: what to do besides freeing space, without a full stop.
    """
    free = _free_bytes(folder)
    if free is not None and needed > free:
        refusal = error(f"{what} needs {needed:,} bytes and {folder} has {free:,} free. Free some space, {advice}.")
        refusal.path = folder
        raise refusal


def fsync_file(path: Path) -> None:
    """Make the content of a file survive a power cut."""
    # Windows syncs only what is open for writing; elsewhere a linked file may belong to another user.
    with open(path, "rb+" if os.name == "nt" else "rb") as file:
        os.fsync(file.fileno())


def fsync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut; does nothing where folders cannot be synced."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _made_folder(final: Path, sync: Sync | None, place: Callable[[Path, Path], bool]) -> Iterator[Path]:
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.with_name(f".incoming-{uuid.uuid4().hex[:12]}")
        temporary.mkdir()
    try:
        with _errors_naming(final, instead_of=temporary):
            yield temporary
        with storage_errors(final):
            (sync or _fsync_tree)(temporary)
            if place(temporary, final):
                _remove_replacements(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _errors_naming(known: Path, *, instead_of: Path) -> Iterator[None]:
    """Let errors name the path that the caller knows where they name a folder in progress, or what is in it."""

    def named(text: str) -> str:
        return text.replace(str(instead_of), str(known))

    try:
        yield
    except (OSError, SegpipeError) as error:
        error.args = tuple(named(each) if isinstance(each, str) else each for each in error.args)
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = named(error.filename)
        if isinstance(error, SegpipeError) and error.path is not None:
            error.path = Path(named(str(error.path)))
        raise


def _fsync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            fsync_file(Path(root, name))
        fsync_folder(Path(root))


def _move_into_place(temporary: Path, final: Path) -> bool:
    """Rename a whole folder to `final` and return True, or False where there is a finished one."""
    for _ in range(10):
        if is_finished(final):
            return False
        if final.is_symlink() or (os.path.exists(final) and not os.path.isdir(final)):
            remove_folder(final)
        try:
            move(temporary, final)
        except OSError as error:
            is_there = os.path.lexists(final)
            if error.errno not in _TAKEN and (error.errno not in _EXISTS or not is_there):
                raise
            if is_there and not is_finished(final):
                logger.warning("Replacing the unfinished folder %s.", final)
                remove_folder(final)
            continue
        fsync_folder(final.parent)
        return True
    raise CacheError(
        f"Cannot put a folder at {final}: something keeps appearing there. Remove it and try again.", path=final
    )


def _replace(temporary: Path, final: Path) -> bool:
    """Let a whole folder take the place of another; return whether it is there, and not that of another process.

    A process that has put its own there removes ours, see `_remove_replacements`. So the old one, which may be that
    process's, is kept until ours is in its place.
    """
    token = uuid.uuid4().hex[:12]
    is_short = len(os.fsencode(final.name)) <= _LONGEST_NAME
    fresh = final.with_name(f".fresh-{token}-{final.name}") if is_short else temporary
    aside = final.with_name(f".removed-{token}")
    move(temporary, fresh)
    try:
        with suppress(FileNotFoundError):
            move(final, aside)
        is_ours = _move_into_place(fresh, final)
    except OSError:
        is_replaced = not os.path.lexists(fresh) and os.path.isdir(final.parent)
        with suppress(OSError):  # there is none, or another process has put its own there
            move(aside, final)
        if os.path.lexists(final):
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.rmtree(aside, ignore_errors=True)
        if not is_replaced:
            raise
        return False
    _delete(aside)
    shutil.rmtree(fresh, ignore_errors=True)
    return is_ours


def _finish_replacement(final: Path) -> None:
    """Give `final` the whole new folder that a kill left for it, if there is one and `final` is gone."""
    for fresh in () if os.path.lexists(final) else _replacements(final):
        if is_finished(fresh):
            with suppress(FileNotFoundError):  # its own process has gone on
                _move_into_place(fresh, final)


def _remove_replacements(final: Path) -> None:
    """Remove the new folders that wait to take the place of a newer `final`; the next call tries again."""
    for fresh in _replacements(final) if os.path.lexists(final) else ():
        with suppress(OSError):
            remove_folder(fresh)


def _replacements(final: Path) -> list[Path]:
    """Return the new folders that kills left for `final`; one of a living process may be among them."""
    found = ((path, _FRESH.fullmatch(path.name)) for path in final.parent.glob(".fresh-*"))
    return sorted(path for path, match in found if match is not None and match[1] == final.name)


def _delete(path: Path) -> None:
    if os.path.isdir(path) and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _refusal(path: Path, error: OSError, needed: int | None) -> str:
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        free = _free_bytes(path.parent)
        need = "more bytes than there are" if needed is None else f"{needed:,} bytes"
        have = "an unknown number" if free is None else f"{free:,}"
        return (
            f"Cannot write {path}: {reason}. It needs {need}, {have} free. "
            "Free some space, or use a larger disk; SEGPIPE_HOME is the folder of the cache."
        )
    cache = advice.either(python="set SEGPIPE_HOME to one, or give Hub a cache_dir", command="set SEGPIPE_HOME to one")
    return f"Cannot write {path}: {reason}. A folder that you may write to is needed; for the cache, {cache}."


def _free_bytes(folder: Path) -> int | None:
    for candidate in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(candidate).free
    return None
