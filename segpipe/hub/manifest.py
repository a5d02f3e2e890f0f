"""The manifest of a model folder: the size and SHA-256 of each of its files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from segpipe.atomic import MANIFEST_NAME, write_atomically
from segpipe.configuration import Count, Sha256, Text, decode_document
from segpipe.errors import ModelFolderError, UnsafePathError
from segpipe.files import open_regular, read_file
from segpipe.limits import limit

from .references import check_relative_paths

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One file of a folder."""

    path: str
    """Relative, with forward slashes."""
    size: Count
    sha256: Sha256


@dataclass(frozen=True)
class Manifest:
    """What a folder should hold and where that came from."""

    files: tuple[FileEntry, ...]
    source: str | None = None
    """Where the files came from, e.g. modelscope:owner/name."""
    revision: str | None = None
    """The revision that was asked for."""
    commit: str | None = None
    """What the revision stood for, where the source says so."""
    created: str | None = None
    """ISO 8601, UTC."""

    @property
    def id(self) -> str:
        """20 hexadecimal digits that stand for the names and bytes of all files."""
        lines = sorted(f"{entry.path}\0{entry.size}\0{entry.sha256}\n" for entry in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:20]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def entry(self, path: str) -> FileEntry | None:
        """Return the entry of one file, or None."""
        return next((entry for entry in self.files if entry.path == path), None)


@dataclass(frozen=True)
class Problem:
    """One difference between a folder and its manifest."""

    kind: Literal["missing", "changed", "extra", "unlisted"]
    """unlisted: the folder has no manifest at all."""
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    return _file_digest(path, hashlib.sha256())


def git_sha1_of(path: Path) -> str:
    """Return the id that git gives a file: SHA-1 of `blob <size>`, a zero byte and the bytes."""
    header = f"blob {path.stat().st_size}\0".encode()
    return _file_digest(path, hashlib.sha1(header, usedforsecurity=False))


def build_manifest(folder: Path, paths: Iterable[str]) -> Manifest:
    """Hash the named files of `folder`."""
    names = sorted(paths)
    check_relative_paths(names)
    entries = [FileEntry(name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in names]
    return Manifest(tuple(entries), created=timestamp())


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of `folder`, or None if there is none; ModelFolderError if it is not one."""
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        return None
    return parse_manifest(read_file(path, max_bytes=limit("manifest_bytes"), error=ModelFolderError), str(path))


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Decode a manifest; every path in it has passed the rule for safe paths."""
    try:
        document = decode_document(data, _Document)
    except ValueError as error:
        raise ModelFolderError(
            f"{where} is not a manifest: {error}. It needs format_version and files with path, size and sha256. "
            "Seal or download the folder again."
        ) from None
    if document.format_version > MANIFEST_VERSION:
        raise ModelFolderError(
            f"{where} has format_version {document.format_version}, this segpipe reads {MANIFEST_VERSION}. "
            "Upgrade segpipe."
        )
    check_relative_paths([entry.path for entry in document.files])
    origin = (document.source, document.revision, document.commit, document.created)
    return Manifest(tuple(document.files), *origin)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; do it last, since a folder with one counts as whole."""
    origin = {key: getattr(manifest, key) for key in ("source", "revision", "commit", "created")}
    files = [{"path": entry.path, "size": entry.size, "sha256": entry.sha256} for entry in manifest.files]
    document = {"format_version": MANIFEST_VERSION, **{k: v for k, v in origin.items() if v}, "files": files}
    write_atomically(folder / MANIFEST_NAME, (json.dumps(document, indent=2) + "\n").encode())


def find_problems(folder: Path, manifest: Manifest) -> tuple[Problem, ...]:
    """Hash every file that the manifest names and report what differs; files it does not name are `extra`."""
    problems = [problem for entry in manifest.files if (problem := _entry_problem(folder, entry))]
    known = {entry.path for entry in manifest.files} | {MANIFEST_NAME}
    extra = [Problem("extra", path, "is not in the manifest") for path in _files_below(folder) if path not in known]
    return (*problems, *extra)


def check_folder(folder: Path) -> tuple[Problem, ...]:
    """Return what differs between a folder and its manifest; a folder without one has the problem `unlisted`."""
    try:
        manifest = read_manifest(folder)
    except (ModelFolderError, UnsafePathError) as error:
        return (Problem("changed", "manifest.json", str(error)),)
    if manifest is None:
        return (Problem("unlisted", "manifest.json", "is not there, so nothing can be verified"),)
    return find_problems(folder, manifest)


def find_missing(folder: Path, manifest: Manifest) -> tuple[Problem, ...]:
    """Return the files that are absent or have another size; none is read, see `find_problems`."""
    return tuple(problem for entry in manifest.files if (problem := _size_problem(folder, entry)))


def timestamp() -> str:
    """Return the time, in UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class _Document:
    """A manifest as JSON."""

    format_version: Count
    files: list[FileEntry]
    source: Text | None = None
    revision: Text | None = None
    commit: Text | None = None
    created: Text | None = None


def _file_digest(path: Path, digest: Any) -> str:
    with open_regular(path, error=ModelFolderError) as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return str(digest.hexdigest())


def _entry_problem(folder: Path, entry: FileEntry) -> Problem | None:
    problem = _size_problem(folder, entry)
    if problem:
        return problem
    try:
        actual = sha256_of(folder / entry.path)
    except (ModelFolderError, OSError) as error:
        return Problem("changed", entry.path, f"cannot be read ({error})")
    if actual == entry.sha256:
        return None
    return Problem("changed", entry.path, f"has sha256 {actual}, the manifest says {entry.sha256}")


def _size_problem(folder: Path, entry: FileEntry) -> Problem | None:
    try:
        status = os.stat(folder / entry.path)
    except OSError:
        return Problem("missing", entry.path, "is in the manifest and not in the folder")
    if not stat.S_ISREG(status.st_mode):
        return Problem("changed", entry.path, "is not a regular file")
    if status.st_size == entry.size:
        return None
    return Problem("changed", entry.path, f"has {status.st_size:,} bytes, the manifest says {entry.size:,}")


def _files_below(folder: Path) -> list[str]:
    names = [Path(root, name) for root, _, files in os.walk(folder) for name in files]
    return sorted(path.relative_to(folder).as_posix() for path in names)
