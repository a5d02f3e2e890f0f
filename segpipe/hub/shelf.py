"""One model's place in the cache: snapshots that never change, and notes of which revision is which snapshot."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segpipe.atomic import atomic_folder, is_finished, remove_folder, replaced_folder, storage_errors, write_atomically
from segpipe.errors import CacheError, ModelFolderError, UnsafePathError
from segpipe.log import get_logger

from .manifest import Manifest, find_missing, find_problems, read_manifest, write_manifest
from .notes import RevisionText, SnapshotName, read_note
from .paths import file_key

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger = get_logger(__name__)


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
        """The whole snapshot of a revision, or None. Sizes are checked, digests are not; nothing is written."""
        note = read_note(self._ref(revision, weights_file), _Reference)
        return None if note is None else self.whole(note.snapshot)

    def whole(self, name: str) -> Path | None:
        """The snapshot of that name, or None. Sizes are checked, digests are not."""
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
        """The finished snapshots."""
        return tuple(sorted(path for path in list_children(self.root) if path.name.isalnum() and is_finished(path)))

    def revisions(self) -> tuple[tuple[str, str], ...]:
        """(revision, name of its snapshot) of each note."""
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

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Keep other processes from downloading the same model meanwhile. Saves bandwidth, nothing rests on it:
        where locks do not work, or one is held for longer than `timeout` seconds, the block runs without."""
        import filelock

        with storage_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        lock = _new_lock(self.root / ".lock")
        try:
            _acquire(lock, timeout)
        except filelock.Timeout:
            logger.warning("Another process has held %s for %g s. Going on without it.", self.root, timeout)
        except (OSError, NotImplementedError) as error:
            logger.info("No lock in %s (%s). Going on without it.", self.root, error)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.release()

    def _ref(self, revision: str, weights_file: str | None) -> Path:
        text = revision if weights_file is None else f"{revision}#{weights_file}"
        return self.root / "refs" / f"{file_key(text)}.json"

    def _commit(self, snapshot: str) -> str | None:
        manifest = readable_manifest(self.root / snapshot)
        return manifest.commit if manifest else None

    def _notes(self) -> Iterator[tuple[Path, str, str]]:
        for path in list_children(self.root / "refs"):
            note = read_note(path, _Reference)
            if note is not None:
                yield path, note.revision, note.snapshot


@dataclass(frozen=True)
class _Reference:
    """A note of which snapshot a revision stood for."""

    revision: RevisionText
    snapshot: SnapshotName


def touch(folder: Path) -> None:
    """Note that a folder was used now, where that can be written."""
    with suppress(OSError):
        os.utime(folder / "manifest.json")


def readable_manifest(folder: Path) -> Manifest | None:
    """The manifest of a folder, None where there is none or none that can be read."""
    try:
        return read_manifest(folder)
    except (ModelFolderError, UnsafePathError, OSError):
        return None


def _problems(snapshot: Path) -> tuple[str, ...]:
    """What is visibly wrong with a snapshot: its manifest is another's, or a file has another size."""
    try:
        manifest = read_manifest(snapshot)
    except (ModelFolderError, UnsafePathError, OSError) as error:
        return (str(error),)
    if manifest is None or manifest.id != snapshot.name:
        return ("its manifest is not the one it was stored with",)
    return tuple(str(problem) for problem in find_missing(snapshot, manifest))


def _is_damaged(snapshot: Path, manifest: Manifest) -> bool:
    """Whether a snapshot is not what its manifest says; reads every file."""
    return bool(_problems(snapshot)) or any(problem.kind != "extra" for problem in find_problems(snapshot, manifest))


def list_children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CacheError(f"Cannot read {folder}: {error.strerror}. Set SEGPIPE_HOME to a folder of yours.") from None


def _acquire(lock: BaseFileLock, timeout: float) -> None:
    import filelock

    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.info("Waiting for another process that holds %s.", lock.lock_file)
        lock.acquire(timeout=timeout)


def _new_lock(path: Path) -> BaseFileLock:
    """A lock of the kernel, which ends with its process; never a file whose mere existence locks."""
    import filelock

    try:
        return filelock.FileLock(path, fallback_to_soft=False)
    except TypeError:  # an older filelock, which has no such fallback
        return filelock.FileLock(path)
