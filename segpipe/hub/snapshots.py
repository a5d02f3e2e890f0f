"""From a source's list of files to a whole snapshot in the cache: it appears with all its files or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from segpipe.atomic import check_free_space, link_or_copy
from segpipe.errors import IntegrityError

from .fetching import CancelledError, Fetcher
from .manifest import FileEntry, Manifest, git_sha1_of, sha256_of, timestamp
from .parts import Part
from .paths import check_relative_paths
from .progress import Progress
from .shards import is_index, shard_names
from .shelf import Shelf
from .sources import Listing, RemoteFile, Source, select_files, select_shards, select_weights_name
from .transport import Transport

WORKERS = 4


@dataclass(frozen=True)
class Wanted:
    """What of a source is to be stored."""

    revision: str
    weights_file: str | None = None
    """None: the usual names are looked for."""
    sha256: str | None = None
    """Of the weights file, where it is known beforehand."""


@dataclass(frozen=True)
class _Stored:
    """A file that lies on this disk: as a part of ours, or in an older snapshot."""

    entry: FileEntry
    part: Part | None
    path: Path

    def put(self, folder: Path) -> None:
        target = folder / self.entry.path
        if self.part is None:
            link_or_copy(self.path, target)
            return
        self.part.move_to(target)


def fetch_snapshot(
    source: Source, shelf: Shelf, transport: Transport, wanted: Wanted, *, has_progress: bool = True
) -> Path:
    """Store one revision of a model and return its folder. Nothing is written before the list has been checked."""
    listing = source.list_files(transport, wanted.revision)
    files = _pinned(select_files(listing, wanted.weights_file, source.label), wanted, source.label)
    check_relative_paths([file.path for file in files])
    stored = _store(files, source, shelf, transport, has_progress)
    if is_index(files[-1].path):
        with _released_on_error(stored):
            names = shard_names(stored[files[-1].path].path, origin=f"{files[-1].path} of {source.label}")
            shards = select_shards(listing, files[-1], names, source.label)
            check_relative_paths({file.path for file in (*files, *shards)})
            stored |= _store(shards, source, shelf, transport, has_progress)
    manifest = _manifest(source, wanted, listing, stored.values())
    snapshot = _unchanged(shelf, manifest, stored) or shelf.add(manifest, lambda folder: _put_all(stored, folder))
    _discard_parts(stored)
    _point(shelf, snapshot, wanted, listing)
    return snapshot


def _store(
    files: Sequence[RemoteFile], source: Source, shelf: Shelf, transport: Transport, has_progress: bool
) -> dict[str, _Stored]:
    """Find the files in older snapshots, or fetch them."""
    stored = {file.path: found for file in files if (found := _find_stored(shelf, file))}
    missing = [file for file in files if file.path not in stored]
    check_free_space(shelf.root, sum(file.size or 0 for file in missing))
    fetched = fetch_all(source, shelf, transport, missing, has_progress)
    return stored | {entry.path: _Stored(entry, part, part.path) for part, entry in fetched}


@contextmanager
def _released_on_error(stored: dict[str, _Stored]) -> Iterator[None]:
    """Leave what was fetched to a later run where the rest cannot be."""
    try:
        yield
    except BaseException:
        for found in stored.values():
            if found.part is not None:
                found.part.release()
        raise


def fetch_all(
    source: Source, shelf: Shelf, transport: Transport, files: Sequence[RemoteFile], has_progress: bool
) -> list[tuple[Part, FileEntry]]:
    """Fetch files side by side; the first failure is raised, the others end with their next bytes, wait or timeout."""
    if not files:
        return []
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    cancelled = threading.Event()
    with Progress(source.label, total, has_progress) as progress:
        fetcher = Fetcher(transport, shelf.parts, source.label, source.credentials, progress.add, cancelled)
        return _run_all([partial(fetcher.fetch, file) for file in files], cancelled)


def _pinned(files: tuple[RemoteFile, ...], wanted: Wanted, label: str) -> tuple[RemoteFile, ...]:
    """The files with the digest that is known beforehand; a source that lists another one is refused at once."""
    *small, weights = files
    if wanted.sha256 is None:
        return files
    if weights.sha256 is not None and not wanted.sha256.startswith(weights.sha256):
        raise IntegrityError(
            f"{weights.path} of {label}@{wanted.revision} has sha256 {weights.sha256}, the preset expects "
            f"{wanted.sha256}: its owner has replaced it. Name a revision that has the expected file."
        )
    return (*small, replace(weights, sha256=wanted.sha256))


def _find_stored(shelf: Shelf, file: RemoteFile) -> _Stored | None:
    """The same bytes in an older snapshot of the model."""
    for snapshot in shelf.snapshots():
        path = snapshot / file.path
        if os.path.isfile(path) and not path.is_symlink() and (entry := _matching_entry(path, file)):
            return _Stored(entry, None, path)
    return None


def _matching_entry(path: Path, file: RemoteFile) -> FileEntry | None:
    """The entry of a file on this disk when its size and its digest are the listed ones."""
    size = path.stat().st_size
    if file.digest is None or file.size not in (None, size):
        return None
    if file.known_sha256 is None and git_sha1_of(path) != file.git_sha1:
        return None
    actual = sha256_of(path)
    return FileEntry(file.path, size, actual) if actual.startswith(file.known_sha256 or "") else None


def _unchanged(shelf: Shelf, manifest: Manifest, stored: dict[str, _Stored]) -> Path | None:
    """The snapshot of these files when each of them was found in it: then all of it has just been hashed."""
    snapshot = shelf.whole(manifest.id)
    is_same = snapshot is not None and all(found.path == snapshot / path for path, found in stored.items())
    return snapshot if is_same else None


def _run_all(
    tasks: list[Callable[[], tuple[Part, FileEntry]]], cancelled: threading.Event
) -> list[tuple[Part, FileEntry]]:
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="segpipe-download") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if any(not future.done() or future.exception() for future in futures):
                cancelled.set()
                pool.shutdown(wait=True, cancel_futures=True)
    finished = [future for future in futures if not future.cancelled()]
    errors = [error for future in finished if (error := future.exception())]
    if errors:
        for future in finished:
            if not future.exception():
                future.result()[0].release()
        raise next((error for error in errors if not isinstance(error, CancelledError)), errors[0])
    return [future.result() for future in futures]


def _manifest(source: Source, wanted: Wanted, listing: Listing, stored: Iterable[_Stored]) -> Manifest:
    entries = sorted((found.entry for found in stored), key=lambda entry: entry.path)
    return Manifest(tuple(entries), source.label, wanted.revision, listing.commit, timestamp())


def _put_all(stored: dict[str, _Stored], folder: Path) -> None:
    for found in stored.values():
        found.put(folder)


def _discard_parts(stored: dict[str, _Stored]) -> None:
    """Parts that were not needed because another process finished the same snapshot first."""
    for found in stored.values():
        if found.part is not None:
            found.part.discard()


def _point(shelf: Shelf, snapshot: Path, wanted: Wanted, listing: Listing) -> None:
    names = {wanted.weights_file}
    if wanted.weights_file == select_weights_name([file.path for file in listing.files]):
        names.add(None)  # without a name the same file would be chosen
    for revision in {wanted.revision, listing.commit or wanted.revision}:
        for name in names:
            shelf.point(revision, snapshot, name)
