"""The cache folder as a whole: what it holds, whether that is intact, and how to make it smaller."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from segpipe.errors import ModelFolderError, UnsafePathError

from .manifest import Manifest, Problem, check_folder, read_manifest
from .parts import left_behind
from .paths import file_key
from .shelf import Shelf, list_children
from .storage import folder_bytes, is_finished, remove_folder, storage_errors, write_atomically

CACHEDIR_TAG = b"Signature: 8a477f597d28d172789f06886806bc55\n# Cache of segpipe; it can be deleted.\n"
_DAY = 86400.0


@dataclass(frozen=True)
class CachedModel:
    """One folder in the cache."""

    path: Path
    kind: Literal["downloaded", "converted"]
    source: str
    """The name it was asked for by, e.g. hf:owner/name; for a converted folder, its key."""
    revisions: tuple[str, ...]
    """What points at it; empty for a snapshot that no revision stands for any more."""
    size: int
    """Bytes."""
    last_used: datetime


@dataclass(frozen=True)
class Checked:
    """A cached folder with what is wrong with it; no problems: it is intact."""

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
    converted/<key>/    foreign weights in segpipe's own format
    """

    def __init__(self, home: Path) -> None:
        self.home = home

    def prepare(self) -> None:
        """Make the folder and mark it as a cache, so that backup programs leave it out."""
        tag = self.home / "CACHEDIR.TAG"
        if tag.is_file():
            return
        with storage_errors(tag):
            self.home.mkdir(parents=True, exist_ok=True)
            write_atomically(tag, CACHEDIR_TAG)

    def shelf(self, label: str) -> Shelf:
        """The place of one model, by its name with the source in front."""
        return Shelf(self.home / "models" / file_key(label))

    def converted_folder(self, key: str) -> Path:
        """Where the converted form of something lies or will lie; write it with `atomic_folder`."""
        return self.home / "converted" / file_key(key)

    def models(self) -> tuple[CachedModel, ...]:
        """Everything that is whole, the most recently used first."""
        found = [*self._downloaded(), *self._converted()]
        return tuple(sorted(found, key=lambda model: model.last_used, reverse=True))

    def verify(self) -> tuple[Checked, ...]:
        """Hash every file again."""
        return tuple(Checked(model, check_folder(model.path)) for model in self.models())

    def prune(self, *, unused_for: timedelta | None = None, keep_last: int | None = None) -> Pruned:
        """Remove what dead downloads left and snapshots that no revision stands for and that are a day old.

        Args:
            unused_for: remove also what was not used for so long.
            keep_last: remove also all but so many folders, the most recently used ones stay.
        """
        now = datetime.now(timezone.utc)
        removed: list[tuple[Path, int]] = list(self._remove_leftovers())
        for rank, model in enumerate(self.models()):
            is_orphan = model.kind == "downloaded" and not model.revisions and now - model.last_used > timedelta(days=1)
            is_old = unused_for is not None and now - model.last_used > unused_for
            if is_orphan or is_old or (keep_last is not None and rank >= keep_last):
                self._forget(model)
                removed.append((model.path, model.size))
        return Pruned(tuple(path for path, _ in removed), sum(size for _, size in removed))

    def remove(self, label: str, revision: str | None = None) -> Pruned:
        """Remove one model, or one revision of it; nothing happens when it is not there."""
        shelf = self.shelf(label)
        wanted = [m for m in self._on_shelf(shelf) if revision is None or revision in m.revisions]
        for model in wanted:
            self._forget(model)
        if revision is None and shelf.root.is_dir():
            with storage_errors(shelf.root):
                remove_folder(shelf.root)
        return Pruned(tuple(model.path for model in wanted), sum(model.size for model in wanted))

    def _downloaded(self) -> Iterator[CachedModel]:
        for folder in list_children(self.home / "models"):
            yield from self._on_shelf(Shelf(folder))

    def _on_shelf(self, shelf: Shelf) -> Iterator[CachedModel]:
        notes = shelf.revisions()
        for path in shelf.snapshots():
            revisions = tuple(sorted({revision for revision, name in notes if name == path.name}))
            manifest = _readable_manifest(path)
            source = manifest.source if manifest and manifest.source else shelf.root.name
            yield CachedModel(path, "downloaded", source, revisions, folder_bytes(path), _last_used(path))

    def _converted(self) -> Iterator[CachedModel]:
        for path in list_children(self.home / "converted"):
            if is_finished(path):
                yield CachedModel(path, "converted", path.name, (), folder_bytes(path), _last_used(path))

    def _forget(self, model: CachedModel) -> None:
        if model.kind == "downloaded":
            Shelf(model.path.parent).forget(model.path)
            return
        with storage_errors(model.path):
            remove_folder(model.path)

    def _remove_leftovers(self) -> Iterator[tuple[Path, int]]:
        for parts in (self.home / "models").glob("*/parts"):
            for path in left_behind(parts):
                size = path.stat().st_size if path.exists() else 0
                path.unlink(missing_ok=True)
                path.with_name(path.name + ".json").unlink(missing_ok=True)
                yield path, size
        for pattern in ("models/*/.incoming-*", "models/*/.removed-*", "converted/.incoming-*", "converted/.removed-*"):
            for path in self.home.glob(pattern):
                # A living process may be filling it; nobody fills one for a day.
                if time.time() - path.stat().st_mtime > _DAY:
                    size = folder_bytes(path)
                    shutil.rmtree(path, ignore_errors=True)
                    yield path, size


def _readable_manifest(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except (ModelFolderError, UnsafePathError, OSError):
        return None


def _last_used(folder: Path) -> datetime:
    return datetime.fromtimestamp((folder / "manifest.json").stat().st_mtime, timezone.utc)
