"""Archives that data sets are published in, and unpacking one so that its folder appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from segpipe.errors import InputError, IntegrityError, UnsafePathError
from segpipe.hub.paths import check_relative_path


@dataclass(frozen=True)
class Archive:
    """A public file and what is made of it.

    Attributes:
        url: where it is published.
        digest: `sha256:…`, `sha1:…` or `md5:…`, from a public source other than the server.
        top: the folder in the archive that holds what is wanted; empty for a file that is no archive.
        folder: what `top`, or the file, becomes below the root.
        signs: paths below the root; where one of them exists, nothing is to be fetched.
        size: bytes, where it is published.
    """

    url: str
    digest: str
    top: str
    folder: str
    signs: tuple[str, ...]
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Member:
    """One file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(path: Path, top: str, target: Path, report: Callable[[int], object] = lambda count: None) -> int:
    """Make the folder `target` of the files below `top` in a .zip or .tar; the number of files comes back.

    Args:
        path: the archive, whose digest has been checked.
        top: only what lies below is unpacked.
        target: must not exist, or be an empty folder; it appears when all files are written.
        report: told of each number of bytes.

    Raises:
        UnsafePathError: a name leaves the folder, or a member is a link or a device.
        IntegrityError: the archive is damaged, or has nothing below `top`.
        InputError: the disk is too small.
    """
    with _open(path) as members:
        wanted = [(below, member) for member in members if (below := _below(member.name, top))]
        if not wanted:
            raise IntegrityError(f"{path} has no files below {top}; there must be some. Fetch it again.")
        check_space(target, sum(member.size for _, member in wanted), path.name)
        temporary = _new_folder(target)
        try:
            for below, member in wanted:
                _copy(member, temporary / below, report)
            os.replace(temporary, target)
        except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as error:
            raise IntegrityError(
                f"{path} cannot be unpacked to {target}: {error}. Nothing was left there. Fetch it again, or free the "
                "place."
            ) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return len(wanted)


def check_space(folder: Path, needed: int, what: str) -> None:
    """InputError when the disk of a folder, or of its nearest parent, has fewer bytes free than needed."""
    parent = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(
            f"{what} needs {needed:,} bytes and {folder} has {free:,} free. Free some space, or give a root on a "
            "larger disk."
        )


@contextmanager
def _open(path: Path) -> Iterator[list[Member]]:
    """The files of an archive, while it is open."""
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as zipped:
                yield [_zip_member(zipped, info) for info in zipped.infolist() if not info.is_dir()]
        else:
            with tarfile.open(path) as tarred:
                yield [_tar_member(tarred, info) for info in tarred.getmembers() if not info.isdir()]
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise IntegrityError(f"{path} is no whole archive: {error}. Fetch it again.") from error


def _zip_member(zipped: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _no_file(info.filename)
    return Member(check_relative_path(info.filename), info.file_size, lambda: zipped.open(info))


def _tar_member(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isreg():
        raise _no_file(info.name)
    # Opened when it is its turn: an open member has a buffer, and there are tens of thousands of them.
    return Member(check_relative_path(info.name.removeprefix("./")), info.size, lambda: _extracted(tarred, info))


def _extracted(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = tarred.extractfile(info)
    if stream is None:
        raise _no_file(info.name)
    return stream


def _no_file(name: str) -> UnsafePathError:
    return UnsafePathError(
        f"The archive holds {name[:120]!r}, which is a link or a device; plain files are needed. Do not use it."
    )


def _below(name: str, top: str) -> str:
    """The path below `top`, empty when it is not there."""
    return name.removeprefix(f"{top}/") if name.startswith(f"{top}/") else ""


def _new_folder(target: Path) -> Path:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    temporary.mkdir(parents=True)
    return temporary


def _copy(member: Member, path: Path, report: Callable[[int], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, open(path, "xb") as file:
        shutil.copyfileobj(source, file, 2**20)
    report(member.size)
