"""Find the folders and files of a data set below its root, by their own names or those in other tools' documents."""

from __future__ import annotations

import os
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from segpipe.errors import InputError
from segpipe.files import current_place

from .splits import names_of

AnyPath = str | os.PathLike[str]
Parts = tuple[str, ...]
_MOST_PARTS = 16
"""Folders in front of these say nothing more about where a file lies."""


def existing_folder(root: AnyPath) -> Path:
    """Return the root as a path; InputError unless it is a folder."""
    folder = Path(os.path.expanduser(root))
    if os.path.isfile(folder):
        raise InputError(f"{folder} is a file; the root of a data set is its folder. Give {folder.parent}.")
    if not os.path.isdir(folder):
        raise InputError(
            f"There is no folder {folder}; the root of a data set is one. Check the path. {current_place()}"
        )
    return folder


def find_below(root: Path, path: str) -> Path:
    """Return the folder or file at a path below a root, whatever the case of its names.

    Where a part of the path is a split, it is found by any of its spellings: images/val is images/validation, too.
    Where nothing is there, the path comes back as it is.
    """
    found = root
    for part in PurePosixPath(path).parts:
        found = _child(found, part)
    return found


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones; none if it is not there."""
    if not os.path.isdir(folder):
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what os.walk does, sorted, through links to folders too, without hidden folders.

    A link to a folder that the way down to it has passed is left out: two of them in one folder would never end.
    """
    passed = {str(folder): frozenset({_identity(str(folder))})}
    for parent, folders, files in os.walk(folder, followlinks=True):
        above = passed.pop(parent)
        below = {name: _identity(os.path.join(parent, name)) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, identity in below.items() if identity not in above]
        passed.update({os.path.join(parent, name): above | {below[name]} for name in folders})
        yield parent, folders, files


def has_files(folder: Path, endings: Sequence[str]) -> bool:
    """Return whether there is a file with one of the endings, however deep; hidden ones do not count."""
    return next(_matching(folder, endings), None) is not None


def list_files(
    folder: Path, endings: Sequence[str], *, is_other: Callable[[str], bool] = lambda name: False
) -> dict[str, str]:
    """Return the files whose names have one of the endings, in any case: path below the folder → path, sorted.

    Sub-folders are searched, hidden files are not listed.

    Args:
        is_other: whether the sub-folder of a name belongs to something else and is not searched.
    """
    return dict(sorted((below, path) for below, _, path in _matching(folder, endings, is_other)))


def group_files(folder: Path, endings: Sequence[str]) -> dict[str, list[str]]:
    """Return what `list_files` does by path without the ending, which several files may share, such as a.jpg and a.png.

    Names are normalized (NFC), since one file system keeps "é" as one letter and another as two.
    """
    found: dict[str, list[str]] = {}
    for below, ending, path in _matching(folder, endings):
        found.setdefault(normalize_name(below[: -len(ending)]), []).append(path)
    return dict(sorted(found.items()))


def find_files(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Return what `group_files` does, a file for each name; InputError where two have one, such as a.jpg and a.png."""
    groups = group_files(folder, endings)
    twice = next((paths for paths in groups.values() if len(paths) > 1), None)
    if twice is not None:
        raise InputError(same_name(twice))
    return {key: Path(path) for key, (path,) in groups.items()}


def same_name(paths: Sequence[str]) -> str:
    """Say that files have one name."""
    return f"{paths[0]} and {paths[1]} have the same name; images and labels are paired by it. Keep one of the two."


def normalize_name(name: str) -> str:
    """Return a name in which each letter with its accents is one character (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _matching(
    folder: Path, endings: Sequence[str], is_other: Callable[[str], bool] = lambda name: False
) -> Iterator[tuple[str, str, str]]:
    """Yield path below the folder, ending and path of each file whose name has one of the endings."""
    lowered = [ending.lower() for ending in endings]
    for parent, folders, files in walk(folder):
        folders[:] = [name for name in folders if not is_other(name)]
        below = Path(parent).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in sorted(files):
            low = name.lower()
            ending = next((ending for ending in lowered if low.endswith(ending)), None)
            if ending is not None and not name.startswith("."):
                yield f"{prefix}{name}", ending, os.path.join(parent, name)


def _child(folder: Path, name: str) -> Path:
    if os.path.lexists(folder / name) or not os.path.isdir(folder):
        return folder / name
    stem, suffix = os.path.splitext(name)
    present = {entry.lower(): entry for entry in sorted(_names_in(folder), reverse=True)}
    wanted = (f"{spelling}{suffix}".lower() for spelling in names_of(stem))
    return folder / next((present[each] for each in wanted if each in present), name)


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


class NamedFiles:
    """The files below a folder, found by a name that may have been written on another machine.

    A name is looked up among the files, so that it cannot lead out of the folder. First it is taken as a path below the
    folder. Else it means the file whose path ends as the name does, as far as both go: `C:\\images\\a.jpg`,
    `/home/me/images/a.jpg`, `https://host/images/a.jpg?size=big` and `/data/local-files/?d=images/a.jpg` all mean
    `a.jpg` in the folder, and `a.jpg` means `sub/a.jpg` there. Letters are compared without case and in one Unicode
    form. A name that fits several files equally well means none of them.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        """Take the files as `places.list_files` lists them."""
        self._files = files

    def find(self, name: str) -> str | None:
        """Return the path of the file that a name means, or None."""
        if name in self._files:
            return self._files[name]
        found = (self._best(parts) for parts in _spellings(name))
        return next((path for path in found if path is not None), None)

    @cached_property
    def _by_parts(self) -> dict[Parts, list[tuple[Parts, str]]]:
        """Return the parts and paths of files by the folded parts, the last part first."""
        by_parts: dict[Parts, list[tuple[Parts, str]]] = {}
        for below, path in self._files.items():
            parts = tuple(below.split("/")[-_MOST_PARTS:])
            by_parts.setdefault(_folded(parts)[::-1], []).append((parts, path))
        return by_parts

    @cached_property
    def _in_order(self) -> list[Parts]:
        return sorted(self._by_parts)

    def _best(self, parts: Parts) -> str | None:
        ranked: dict[tuple[bool, bool], list[str]] = {}
        for theirs, path in self._fitting(_folded(parts)[::-1]):
            shared = min(len(parts), len(theirs))
            rank = (len(parts) == len(theirs), parts[-shared:] == theirs[-shared:])
            ranked.setdefault(rank, []).append(path)
        best = ranked[max(ranked)] if ranked else []
        return best[0] if len(best) == 1 else None

    def _fitting(self, wanted: Parts) -> list[tuple[Parts, str]]:
        """Return the parts and paths of files that share the most parts with a name; both are compared from the end.

        Files whose paths go on where the name ends stand beside one another in the order. Others are looked up, so that
        100 000 files of one name in as many folders are found in a second.
        """
        places = range(bisect_left(self._in_order, wanted), len(self._in_order))
        after = takewhile(lambda key: key[: len(wanted)] == wanted, (self._in_order[place] for place in places))
        whole = [file for key in after for file in self._by_parts[key]]
        shorter = (self._by_parts.get(wanted[:count], []) for count in range(len(wanted) - 1, 0, -1))
        return whole or next(filter(None, shorter), [])


def _spellings(name: str) -> Iterator[Parts]:
    """Yield the parts of the paths that a name may mean: itself, and a URL's path and the last value of its query."""
    plain = name.strip().replace("\\", "/")
    decoded = unquote(plain)
    path, _, query = decoded.partition("?")
    for text in dict.fromkeys((plain, decoded, path, query.rpartition("=")[2])):
        parts = tuple(part for part in text.split("/")[-_MOST_PARTS:] if part not in ("", ".", ".."))
        if parts:
            yield parts


def _folded(parts: Parts) -> Parts:
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
