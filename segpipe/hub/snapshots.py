"""Snapshots: revisions of one model in the cache. Each appears with all its files or not at all, and never changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from segpipe.atomic import (
    atomic_folder,
    check_free_space,
    is_finished,
    link_or_copy,
    remove_folder,
    replaced_folder,
    storage_errors,
    write_atomically,
)
from segpipe.errors import CacheError, IntegrityError, ModelFolderError, UnsafePathError
from segpipe.log import get_logger

from .downloading import fetch_all
from .http import Transport
from .manifest import (
    FileEntry,
    Manifest,
    find_missing,
    find_problems,
    git_sha1_of,
    read_manifest,
    sha256_of,
    timestamp,
    write_manifest,
)
from .model_files import is_index, select_files, select_shards, select_weights_name, shard_names
from .origins import Listing, RemoteFile, Source
from .partial_downloads import Part, read_note
from .references import RevisionText, check_relative_paths, file_key

logger = get_logger(__name__)

SnapshotName = Annotated[str, Meta(pattern=r"^[0-9a-f]{20}\Z")]


@dataclass(frozen=True)
class Wanted:
    """What of a source is to be stored."""

    revision: str
    weights_file: str | None = None
    """If None, the usual names are looked for."""
    sha256: str | None = None
    """Of the weights file, where it is known beforehand."""


def fetch_snapshot(source: Source, shelf: Shelf, transport: Transport, wanted: Wanted) -> Path:
    """Store one revision of a model and return its folder. Nothing is written before the list has been checked."""
    listing = source.list_files(transport, wanted.revision)
    files = _pinned(select_files(listing, wanted.weights_file, source.label), wanted, source.label)
    check_relative_paths([file.path for file in files])
    stored = _store(files, source, shelf, transport)
    if is_index(files[-1].path):
        with _released_on_error(stored):
            names = shard_names(stored[files[-1].path].path, origin=f"{files[-1].path} of {source.label}")
            shards = select_shards(listing, files[-1], names, source.label)
            check_relative_paths({file.path for file in (*files, *shards)})
            stored |= _store(shards, source, shelf, transport)
    entries = tuple(stored[path].entry for path in sorted(stored))
    manifest = Manifest(entries, source.label, wanted.revision, listing.commit, timestamp())
    snapshot = _unchanged(shelf, manifest, stored) or shelf.add(manifest, lambda folder: _put_all(stored, folder))
    for found in stored.values():
        if found.part is not None:  # another process finished the same snapshot first
            found.part.discard()
    _point(shelf, snapshot, wanted, listing)
    return snapshot


@dataclass(frozen=True)
class Shelf:
    """The folder of one model in the cache.

        refs/<revision>.json    which snapshot a revision stood for when it was last asked
        <id>/                   a snapshot: its files and manifest.json; the name is the manifest's id
        parts/                  unfinished downloads

    Snapshots are never changed, so a reader sees an old one or a new one, never a mixture.
    """

    root: Path

    @property
    def parts(self) -> Path:
        """Where unfinished downloads lie."""
        return self.root / "parts"

    def find(self, revision: str, weights_file: str | None = None) -> Path | None:
        """Return the whole snapshot of a revision, or None. Sizes are checked, digests are not; nothing is written."""
        note = read_note(self._ref(revision, weights_file), _Note)
        return None if note is None else self.whole(note.snapshot)

    def whole(self, name: str) -> Path | None:
        """Return the snapshot of that name, or None. Sizes are checked, digests are not."""
        if not name.isalnum() or not is_finished(self.root / name):
            return None
        problems = _problems(self.root / name)
        if problems:
            logger.warning("The cached model %s is damaged (%s). Not using it.", self.root / name, problems[0])
            return None
        return self.root / name

    def add(self, manifest: Manifest, fill: Callable[[Path], None]) -> Path:
        """Make a snapshot: `fill` puts the manifest's files into the folder that it gets."""
        final = self.root / manifest.id
        is_there = is_finished(final)  # asked once: another process may finish a good one meanwhile
        if is_there and not _is_damaged(final, manifest):
            return final
        # A damaged one stays until then: `fill` may take what is right from it.
        new_folder = replaced_folder if is_there else atomic_folder
        with new_folder(final) as folder, storage_errors(final, manifest.size):
            fill(folder)
            write_manifest(folder, manifest)
        return final

    def point(self, revision: str, snapshot: Path, weights_file: str | None = None) -> None:
        """Note that a revision stands for a snapshot."""
        path = self._ref(revision, weights_file)
        document = {"revision": revision, "weights_file": weights_file, "snapshot": snapshot.name}
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(document).encode())

    def snapshots(self) -> tuple[Path, ...]:
        """Return the finished snapshots."""
        return tuple(sorted(path for path in list_children(self.root) if path.name.isalnum() and is_finished(path)))

    def revisions(self) -> tuple[tuple[str, str], ...]:
        """Return (revision, name of its snapshot) of each note."""
        return tuple((revision, name) for _, revision, name in self._notes())

    def drop(self, revision: str) -> tuple[Path, ...]:
        """Remove a revision's notes; the snapshots that stood for it alone come back.

        The note of the commit that a revision stood for was written along with the revision's own: it keeps nothing.
        """
        notes = list(self._notes())
        dropped = {name for _, known, name in notes if known == revision}
        with storage_errors(self.root):
            for path, known, _ in notes:
                if known == revision:
                    path.unlink(missing_ok=True)
        kept = {name for _, known, name in notes if known not in (revision, self._commit(name))}
        return tuple(self.root / name for name in sorted(dropped - kept))

    def forget(self, snapshot: Path) -> None:
        """Remove a snapshot and the notes that point at it."""
        with storage_errors(snapshot):
            for path, _, name in self._notes():
                if name == snapshot.name:
                    path.unlink(missing_ok=True)
            remove_folder(snapshot)

    def _ref(self, revision: str, weights_file: str | None) -> Path:
        text = revision if weights_file is None else f"{revision}#{weights_file}"
        return self.root / "refs" / f"{file_key(text)}.json"

    def _commit(self, snapshot: str) -> str | None:
        manifest = readable_manifest(self.root / snapshot)
        return manifest.commit if manifest else None

    def _notes(self) -> Iterator[tuple[Path, str, str]]:
        for path in list_children(self.root / "refs"):
            note = read_note(path, _Note)
            if note is not None:
                yield path, note.revision, note.snapshot


def touch(folder: Path) -> None:
    """Note that a folder was used now, where that can be written."""
    with suppress(OSError):
        os.utime(folder / "manifest.json")


def readable_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, or None if there is none that can be read."""
    try:
        return read_manifest(folder)
    except (ModelFolderError, UnsafePathError, OSError):
        return None


def list_children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CacheError(
            f"Cannot read {folder}: {error.strerror}. Set SEGPIPE_HOME to a folder of yours.", path=folder
        ) from None


@dataclass(frozen=True)
class _Stored:
    """A file that lies on this disk: as a part of ours, or in an older snapshot."""

    entry: FileEntry
    part: Part | None
    path: Path


def _store(files: Sequence[RemoteFile], source: Source, shelf: Shelf, transport: Transport) -> dict[str, _Stored]:
    """Find the files in older snapshots, or fetch them."""
    stored = {file.path: found for file in files if (found := _find_stored(shelf, file))}
    missing = [file for file in files if file.path not in stored]
    check_free_space(shelf.root, sum(file.size or 0 for file in missing))
    fetched = fetch_all(source, shelf.parts, transport, missing)
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


def _pinned(files: tuple[RemoteFile, ...], wanted: Wanted, label: str) -> tuple[RemoteFile, ...]:
    """Return the files with the digest that is known beforehand; IntegrityError if the source lists another one."""
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
    """Return the same bytes in an older snapshot of the model, if there are any."""
    for snapshot in shelf.snapshots():
        path = snapshot / file.path
        if os.path.isfile(path) and not path.is_symlink() and (entry := _matching_entry(path, file)):
            return _Stored(entry, None, path)
    return None


def _matching_entry(path: Path, file: RemoteFile) -> FileEntry | None:
    """Return the entry of a file on this disk if its size and its digest are the listed ones."""
    size = path.stat().st_size
    if file.digest is None or file.size not in (None, size):
        return None
    if file.known_sha256 is None and git_sha1_of(path) != file.git_sha1:
        return None
    actual = sha256_of(path)
    return FileEntry(file.path, size, actual) if actual.startswith(file.known_sha256 or "") else None


def _unchanged(shelf: Shelf, manifest: Manifest, stored: dict[str, _Stored]) -> Path | None:
    """Return the snapshot of these files if each of them was found in it: then all of it has just been hashed."""
    snapshot = shelf.whole(manifest.id)
    is_same = snapshot is not None and all(found.path == snapshot / path for path, found in stored.items())
    return snapshot if is_same else None


def _put_all(stored: dict[str, _Stored], folder: Path) -> None:
    for found in stored.values():
        if found.part is None:
            link_or_copy(found.path, folder / found.entry.path)
        else:
            found.part.move_to(folder / found.entry.path)


def _point(shelf: Shelf, snapshot: Path, wanted: Wanted, listing: Listing) -> None:
    names = {wanted.weights_file}
    if wanted.weights_file == select_weights_name([file.path for file in listing.files]):
        names.add(None)  # without a name the same file would be chosen
    for revision in {wanted.revision, listing.commit or wanted.revision}:
        for name in names:
            shelf.point(revision, snapshot, name)


@dataclass(frozen=True)
class _Note:
    """A note of which snapshot a revision stood for."""

    revision: RevisionText
    snapshot: SnapshotName


def _problems(snapshot: Path) -> tuple[str, ...]:
    """Return what is visibly wrong with a snapshot: its manifest is another's, or a file has another size."""
    try:
        manifest = read_manifest(snapshot)
    except (ModelFolderError, UnsafePathError, OSError) as error:
        return (str(error),)
    if manifest is None or manifest.id != snapshot.name:
        return ("its manifest is not the one it was stored with",)
    return tuple(str(problem) for problem in find_missing(snapshot, manifest))


def _is_damaged(snapshot: Path, manifest: Manifest) -> bool:
    """Return whether a snapshot is not what its manifest says; reads every file."""
    return bool(_problems(snapshot)) or any(problem.kind != "extra" for problem in find_problems(snapshot, manifest))
