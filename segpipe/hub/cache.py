"""The cache folder as a whole: what it holds, whether that is intact, and how to make it smaller."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from segpipe.atomic import UNFINISHED, is_finished, remove_folder, storage_errors, write_atomically
from segpipe.errors import InputError
from segpipe.log import get_logger

from .manifest import Problem, check_folder
from .partial_downloads import left_behind
from .references import file_key
from .snapshots import Shelf, list_children, readable_manifest

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger = get_logger(__name__)

CACHEDIR_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Cache of segpipe; it can be deleted.\n"
ModelKind = Literal["downloaded", "converted", "data"]
_DAY = 86400.0


@dataclass(frozen=True)
class CachedModel:
    """One folder in the cache."""

    path: Path
    kind: ModelKind
    source: str
    """Where it came from, e.g. hf:owner/name; for a converted folder that does not say, its key."""
    revisions: tuple[str, ...]
    """What points at it; empty for a converted folder, and for a snapshot that no revision stands for any more."""
    size: int
    """Bytes."""
    last_used: datetime


@dataclass(frozen=True)
class Checked:
    """A cached folder and what is wrong with it; without problems it is intact."""

    model: CachedModel
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Pruned:
    """What was removed."""

    paths: tuple[Path, ...]
    size: int
    """Bytes."""


class Cache:
    """The folder at SEGPIPE_HOME:

    models/<source>/    downloaded snapshots, see Shelf
    converted/<key>/    foreign weights in segpipe's own format, and networks exported for other runtimes
    data/<source>/      data sets, unpacked; their archives were verified before, and nothing is kept to verify them by
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def prepare(self) -> None:
        """Make the folder and mark it as a cache, so that backup programs leave it out."""
        tag = self.home / "CACHEDIR.TAG"
        with storage_errors(tag):
            if os.path.isfile(tag):
                return
            self.home.mkdir(parents=True, exist_ok=True)
            write_atomically(tag, CACHEDIR_TAG)

    def shelf(self, label: str) -> Shelf:
        """Return the place of one model, by its name with the source in front."""
        return Shelf(self.home / "models" / file_key(label))

    def data_shelf(self, label: str) -> Shelf:
        """Return the place of one data set, with its unfinished downloads."""
        return Shelf(self.home / "data" / file_key(label))

    def converted_folder(self, key: str) -> Path:
        """Return where the converted form of something lies or will lie; write it with `atomic_folder`."""
        return self.home / "converted" / file_key(key)

    def models(self) -> tuple[CachedModel, ...]:
        """Return everything that is whole, the most recently used first."""
        found = [*self._downloaded(), *self._converted(), *self._data()]
        return tuple(sorted(found, key=lambda model: model.last_used, reverse=True))

    def verify(self) -> tuple[Checked, ...]:
        """Hash every file of each model again."""
        return tuple(Checked(model, check_folder(model.path)) for model in self.models() if model.kind != "data")

    def prune(self, *, unused_for: timedelta | None = None, keep_last: int | None = None) -> Pruned:
        """Remove what dead downloads and removals left, and what is a day old and of no use.

        Of no use are snapshots that no revision stands for, and converted folders whose source was removed.

        Args:
            unused_for: also remove what was not used for this long.
            keep_last: also remove all but this many folders, the most recently used.
        """
        if unused_for is not None and unused_for < timedelta():
            raise InputError(f"unused_for is {unused_for}; it cannot be negative. Pass e.g. timedelta(days=30).")
        if keep_last is not None and keep_last < 0:
            raise InputError(f"keep_last is {keep_last}; it is the number of folders to keep, 0 or more.")
        now = datetime.now(timezone.utc)
        removed: list[tuple[Path, int]] = list(self._remove_leftovers())
        models = self.models()
        for rank, model in enumerate(models):
            is_orphan = _is_orphan(model, models) and now - model.last_used > timedelta(days=1)
            is_old = unused_for is not None and now - model.last_used > unused_for
            if is_orphan or is_old or (keep_last is not None and rank >= keep_last):
                self._forget(model)
                removed.append((model.path, model.size))
        return Pruned(tuple(path for path, _ in removed), sum(size for _, size in removed))

    def remove(self, label: str, revision: str | None = None) -> Pruned:
        """Remove one model, or one revision of it; nothing happens when it is not there.

        A snapshot for which another revision stands as well is kept; with the last one goes what was converted.
        """
        shelf = self.shelf(label)
        wanted = list(self._on_shelf(shelf))
        if revision is not None:
            dropped = shelf.drop(revision)
            wanted = [model for model in wanted if model.path in dropped]
        if len(wanted) == len(shelf.snapshots()):
            wanted += [model for model in self._converted() if model.source == label]
        for model in wanted:
            self._forget(model)
        if revision is None and os.path.isdir(shelf.root):
            with storage_errors(shelf.root):
                remove_folder(shelf.root)
        return Pruned(tuple(model.path for model in wanted), sum(model.size for model in wanted))

    def remove_data(self, label: str, revision: str | None = None) -> Pruned:
        """Remove one data set, or one revision of it; nothing happens when it is not there."""
        wanted = [each for each in self._data() if each.source == label and revision in (None, *each.revisions)]
        for each in wanted:
            self._forget(each)
        if revision is None:
            with storage_errors(self.data_shelf(label).root):
                remove_folder(self.data_shelf(label).root)
        return Pruned(tuple(each.path for each in wanted), sum(each.size for each in wanted))

    def _downloaded(self) -> Iterator[CachedModel]:
        for folder in _visible(self.home / "models"):
            yield from self._on_shelf(Shelf(folder))

    def _on_shelf(self, shelf: Shelf) -> Iterator[CachedModel]:
        notes = shelf.revisions()
        for path in shelf.snapshots():
            revisions = {revision for revision, name in notes if name == path.name}
            yield _cached(path, "downloaded", shelf.root.name, revisions)

    def _converted(self) -> Iterator[CachedModel]:
        for path in _visible(self.home / "converted"):
            if is_finished(path):
                yield _cached(path, "converted", path.name)

    def _data(self) -> Iterator[CachedModel]:
        for path in (path for shelf in _visible(self.home / "data") for path in _visible(shelf) if is_finished(path)):
            manifest = readable_manifest(path)
            yield _cached(path, "data", path.parent.name, [manifest.revision] if manifest and manifest.revision else [])

    def _forget(self, model: CachedModel) -> None:
        if model.kind == "downloaded":
            Shelf(model.path.parent).forget(model.path)
            return
        with storage_errors(model.path):
            remove_folder(model.path)

    def _remove_leftovers(self) -> Iterator[tuple[Path, int]]:
        for parts in (*self.home.glob("models/*/parts"), *self.home.glob("data/*/parts")):
            for path in left_behind(parts):
                size = _folder_bytes(path) if os.path.isdir(path) else _size(path)
                for leftover in (path, path.with_name(path.name + ".json")):
                    with storage_errors(leftover):
                        remove_folder(leftover)
                yield path, size
        for folder in ("models", "models/*", "converted", "data/*", "publishing"):
            for path in (path for pattern in UNFINISHED for path in self.home.glob(f"{folder}/{pattern}")):
                # A living process may be filling it; none needs a day for it.
                if time.time() - _modified(path) > _DAY:
                    size = _folder_bytes(path)
                    shutil.rmtree(path, ignore_errors=True)
                    yield path, size


@contextmanager
def folder_lock(folder: Path, timeout: float) -> Iterator[None]:
    """Keep other processes from filling the same folder of the cache meanwhile.

    It saves bandwidth, and nothing rests on it: where locks do not work, or another process holds this one for longer
    than `timeout` seconds, the block runs without it.
    """
    import filelock

    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = _new_lock(folder / ".lock")
    try:
        _acquire(lock, timeout)
    except filelock.Timeout:
        logger.warning("Another process has held %s for %g s. Going on without it.", folder, timeout)
    except (OSError, NotImplementedError) as error:
        logger.info("No lock in %s (%s). Going on without it.", folder, error)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()


def _cached(path: Path, kind: ModelKind, name: str, revisions: Iterable[str] = ()) -> CachedModel:
    """Return what a folder is; `name` stands for its source where its manifest does not say one."""
    manifest = readable_manifest(path)
    source = manifest.source if manifest and manifest.source else name
    return CachedModel(path, kind, source, tuple(sorted(revisions)), _folder_bytes(path), _last_used(path))


def _is_orphan(model: CachedModel, models: Iterable[CachedModel]) -> bool:
    """Return whether nothing leads to a folder: no revision to a snapshot, no snapshot to what was made of one."""
    if model.kind == "downloaded":
        return not model.revisions
    if model.kind == "data" or model.source == model.path.name:  # made of a folder that is not in the cache
        return False
    return not any(other.kind == "downloaded" and other.source == model.source for other in models)


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, without what is being made or removed there."""
    return [path for path in list_children(folder) if not path.name.startswith(".")]


def _last_used(folder: Path) -> datetime:
    try:
        return datetime.fromtimestamp(_modified(folder / "manifest.json"), timezone.utc)
    except (ValueError, OverflowError):  # a time that no calendar has
        return datetime.fromtimestamp(0, timezone.utc)


def _modified(path: Path) -> float:
    """Return when a path was changed, 0 where it is gone."""
    with suppress(OSError):
        return os.lstat(path).st_mtime
    return 0.0


def _size(path: Path) -> int:
    with suppress(OSError):
        return os.lstat(path).st_size
    return 0


def _folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below `folder`; links are not followed."""
    return sum(_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names)


def _acquire(lock: BaseFileLock, timeout: float) -> None:
    import filelock

    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.info("Waiting for another process that holds %s.", lock.lock_file)
        lock.acquire(timeout=timeout)


def _new_lock(path: Path) -> BaseFileLock:
    """Return a lock of the kernel, which ends with its process; never a file whose mere existence locks."""
    import filelock

    try:
        return filelock.FileLock(path, fallback_to_soft=False)
    except TypeError:  # an older filelock, which has no such fallback
        return filelock.FileLock(path)
