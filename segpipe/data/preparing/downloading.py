"""Fetching a data set's archives with the hub's transport: resumed where they broke off, and verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from segpipe.errors import InputError, IntegrityError
from segpipe.files import open_regular
from segpipe.hub import Fetcher, Limits, Progress, RemoteFile, Settings, Transport, body_length, read_settings
from segpipe.log import get_logger

from .archives import Archive, check_space, unpack

logger = get_logger(__name__)

FOLDER = ".segpipe-downloads"
"""Below the root: what is unfinished, and what is not unpacked yet."""


def fetch_archives(
    root: Path, archives: Sequence[Archive], *, keep: bool = False, has_progress: bool = True
) -> tuple[str, ...]:
    """Fetch and unpack what is not there yet; the URLs of what was made come back.

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


def _find(root: Path, archive: Archive) -> Path | None:
    """The archive in the root, or as an earlier run left it; IntegrityError when the user's is another one."""
    for path in (root / archive.name, root / FOLDER / archive.name):
        if os.path.isfile(path):
            _verify(path, archive, hint="Take the file away, and it is fetched.")
            return path
    return None


def _fetch(root: Path, archive: Archive, has_progress: bool) -> Path:
    settings = read_settings()
    transport = _transport(settings)
    size = archive.size or _announced_size(transport, archive)
    # What is unpacked is about as large again: pictures do not compress.
    check_space(root, (size or 0) * (2 if archive.top else 1), f"{archive.name}, packed and unpacked,")
    kind, _, digest = archive.digest.partition(":")
    file = RemoteFile(archive.name, archive.url, size, sha256=digest if kind == "sha256" else None)
    logger.info("Fetching %s", archive.url)
    with Progress(archive.name, size, has_progress and settings.progress) as progress:
        part, _ = Fetcher(transport, root / FOLDER, str(root), report=progress.add).fetch(file)
    try:
        _verify(part.path, archive, hint="The bytes were thrown away. Try again later.")
    except IntegrityError:
        part.discard()
        raise
    path = root / FOLDER / archive.name
    part.move_to(path)
    return path


def _announced_size(transport: Transport, archive: Archive) -> int | None:
    """What the server says; the body is not read."""
    with transport.open(archive.url, what=archive.name) as answer:
        return body_length(answer.headers)


def _transport(settings: Settings) -> Transport:
    limits = replace(Limits(), read_timeout=settings.timeout, slow_window=settings.timeout)
    return Transport(limits, offline_reason="SEGPIPE_OFFLINE is set" if settings.offline else None)


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
    """Unpack, then remove what was fetched for it."""
    target = root / archive.folder
    target.parent.mkdir(parents=True, exist_ok=True)
    is_ours = path.parent.name == FOLDER
    if archive.top:
        with Progress(f"unpacking {archive.name}", None, has_progress and read_settings().progress) as progress:
            unpack(path, archive.top, target, progress.add)
    elif is_ours:
        os.replace(path, target)
        return
    if is_ours and keep:
        os.replace(path, root / archive.name)
    elif is_ours:
        path.unlink()
