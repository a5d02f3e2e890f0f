"""Fetch and unpack the archives that data sets are published in.

Fetching uses the hub's transport, goes on where it broke off and is verified. A folder is unpacked whole or not at all.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar, cast

from segpipe.atomic import check_free_space, move, scratch_folder
from segpipe.errors import InputError, IntegrityError, SegpipeError, UnsafePathError
from segpipe.files import open_regular
from segpipe.hub import Fetcher, RemoteFile, Transport, body_length, check_relative_path, read_settings
from segpipe.limits import check_limit
from segpipe.log import get_logger
from segpipe.progress_bars import byte_bar

from .plans import Archive

logger = get_logger(__name__)
FOLDER = ".segpipe-downloads"
"""Folder below the root for downloads that are unfinished or not unpacked yet."""
DAMAGED = (
    *(OSError, EOFError, ValueError, LookupError, RuntimeError, ArithmeticError, MemoryError),
    *(zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError),
)
"""What the standard library raises for archives that are damaged, or packed in ways that it does not know."""
_ENCRYPTED = 1
_LARGER = "or give a root on a larger disk"
Info = TypeVar("Info")


def fetch_archives(
    root: Path, archives: Sequence[Archive], *, keep: bool = False, has_progress: bool = True
) -> tuple[str, ...]:
    """Fetch and unpack the archives that are not there yet, and return their URLs.

    An archive that lies in the root already, from a browser perhaps, is used when its digest is right, and stays there.

    Args:
        root: the data set's folder; it is made.
        archives: where to fetch, and what becomes of it.
        keep: leave the archives in the root after unpacking.
        has_progress: show bars, where stderr is a terminal and SEGPIPE_PROGRESS is not 0.

    Raises:
        DownloadError: the network or the server failed; the next call goes on with what came.
        IntegrityError: an archive is not the published one.
        InputError: the disk is too small.
    """
    missing = [archive for archive in archives if not any(os.path.exists(root / sign) for sign in archive.signs)]
    for archive in missing:
        path = _find(root, archive) or _fetch(root, archive, has_progress)
        _put(path, root, archive, keep, has_progress)
    with suppress(OSError):  # not empty: another process fetches, or a part waits for the next call
        (root / FOLDER).rmdir()
    return tuple(archive.url for archive in missing)


def unpack(path: Path, top: str, target: Path, report: Callable[[int], object] = lambda count: None) -> int:
    """Make the folder `target` of the files below `top` in a .zip or .tar, and return their number.

    Args:
        path: the archive, whose digest has been checked.
        top: only what lies below is unpacked; all, where it is empty.
        target: must not exist, or be an empty folder; it appears when all files are written.
        report: called with the number of bytes of each file.

    Raises:
        UnsafePathError: a name leaves the folder, or a member is a link or a device.
        IntegrityError: the archive is damaged, or has nothing below `top`.
        InputError: the disk is too small.
    """
    with _open(path) as members:
        wanted = [(below, member) for member in members if (below := _below(member.name, top))]
        if not wanted:
            where = f" below {top}" if top else ""
            raise IntegrityError(f"{path} has no files{where}; there must be some. Fetch it again.")
        size = sum(member.size for _, member in wanted)
        check_limit("archive_bytes", size, f"{path} unpacks to", error=InputError)
        check_free_space(target, size, path.name, error=InputError, advice=_LARGER)
        with _whole(path, target) as temporary:
            for below, member in wanted:
                _copy(member, temporary / below, report)
    return len(wanted)


@dataclass(frozen=True)
class Member:
    """One file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def _find(root: Path, archive: Archive) -> Path | None:
    """Return the archive in the root, or as an earlier run left it; IntegrityError if the user's is another one."""
    for path in (root / archive.name, root / FOLDER / archive.name):
        if os.path.isfile(path):
            _verify(path, archive, hint="Take the file away, and it is fetched.")
            return path
    return None


def _fetch(root: Path, archive: Archive, has_progress: bool) -> Path:
    settings = read_settings()
    transport = Transport(settings.limits, offline_reason="SEGPIPE_OFFLINE is set" if settings.offline else None)
    size = archive.size
    if size is None:
        with transport.open(archive.url, what=archive.name) as answer:  # the body is not read
            size = body_length(answer.headers)
    # What is unpacked is about as large again: images do not compress.
    needed, what = (size or 0) * (2 if archive.top else 1), f"{archive.name}, packed and unpacked,"
    check_free_space(root, needed, what, error=InputError, advice=_LARGER)
    kind, _, digest = archive.digest.partition(":")
    file = RemoteFile(archive.name, archive.url, size, sha256=digest if kind == "sha256" else None)
    logger.info("Fetching %s", archive.url)
    with byte_bar(archive.name, size, is_shown=has_progress) as report:
        part, _ = Fetcher(transport, root / FOLDER, str(root), report=report).fetch(file)
    try:
        _verify(part.path, archive, hint="The bytes were thrown away. Try again later.")
    except IntegrityError:
        part.discard()
        raise
    path = root / FOLDER / archive.name
    part.move_to(path)
    return path


def _verify(path: Path, archive: Archive, *, hint: str) -> None:
    kind, _, expected = archive.digest.partition(":")
    # MD5 and SHA-1 are all that is published for some archives; they find damage.
    hasher = hashlib.new(kind, usedforsecurity=False)
    with open_regular(path, error=InputError) as file:
        while piece := file.read(2**20):
            hasher.update(piece)
    if hasher.hexdigest() != expected:
        raise IntegrityError(
            f"{path} has the {kind} {hasher.hexdigest()}, the published {archive.name} has {expected}. {hint}"
        )


def _put(path: Path, root: Path, archive: Archive, keep: bool, has_progress: bool) -> None:
    """Unpack an archive, then remove what was fetched for it."""
    target = root / archive.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    is_ours = path.parent.name == FOLDER
    if archive.top:
        with byte_bar(f"unpacking {archive.name}", None, is_shown=has_progress) as report:
            unpack(path, archive.top, target, report)
    elif is_ours:
        move(path, target)
        return
    if is_ours and keep:
        move(path, root / archive.name)
    elif is_ours:
        path.unlink()


@contextmanager
def _open(path: Path) -> Iterator[list[Member]]:
    """Open an archive and give its files."""
    try:
        with open_regular(path, error=InputError) as file:
            if path.suffix == ".zip":
                with zipfile.ZipFile(file) as zipped:
                    infos = _bounded(path, zipped.infolist())
                    yield [_zip_member(zipped, info) for info in infos if not info.is_dir()]
            else:
                with tarfile.open(fileobj=file) as tarred:
                    yield [_tar_member(tarred, info) for info in _bounded(path, tarred) if not info.isdir()]
    except SegpipeError:  # some are OSErrors or ValueErrors as well
        raise
    except DAMAGED as error:
        raise IntegrityError(f"{path} is not a complete archive: {error}. Fetch it again.") from None


@contextmanager
def _whole(path: Path, target: Path) -> Iterator[Path]:
    """Give a new folder that becomes the target when the block ends well; nothing of it stays otherwise."""
    try:
        with scratch_folder(target.parent) as temporary:
            yield temporary
            move(temporary, target)
    except SegpipeError:
        raise
    except DAMAGED as error:
        raise IntegrityError(
            f"{path} cannot be unpacked to {target}: {error}. Nothing was left there. Fetch it again, or free the "
            "place."
        ) from None


def _bounded(path: Path, infos: Iterable[Info]) -> list[Info]:
    """Return all members of an archive; InputError as soon as there are too many."""
    listed: list[Info] = []
    for info in infos:
        listed.append(info)
        check_limit("archive_files", len(listed), f"{path} has at least", error=InputError)
    return listed


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _no_file(info.filename)
    if info.flag_bits & _ENCRYPTED:
        raise IntegrityError(
            f"The archive holds {info.filename[:120]!r} encrypted; what is published can be read without a password. "
            "Fetch it again."
        )
    return Member(check_relative_path(info.filename), info.file_size, lambda: zipped.open(info))


def _tar_member(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isreg():
        raise _no_file(info.name)
    # Opened when it is its turn: an open member has a buffer, and there are tens of thousands of them.
    return Member(
        check_relative_path(info.name.removeprefix("./")),
        info.size,
        lambda: cast("IO[bytes]", tarred.extractfile(info)),
    )


def _no_file(name: str) -> UnsafePathError:
    return UnsafePathError(
        f"The archive holds {name[:120]!r}, which is a link or a device; plain files are needed. Do not use it."
    )


def _below(name: str, top: str) -> str:
    """Return the path below `top`, empty if it is not there."""
    if not top:
        return name
    return name.removeprefix(f"{top}/") if name.startswith(f"{top}/") else ""


def _copy(member: Member, path: Path, report: Callable[[int], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, open(path, "xb") as file:
        shutil.copyfileobj(source, file, 2**20)
    report(member.size)
