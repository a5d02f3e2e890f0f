"""Image and label files by the names that documents of other tools give them."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple
from urllib.parse import unquote

_MOST_PARTS = 16
"""Folders in front of these say nothing more about where a file lies."""

Parts = tuple[str, ...]


class _File(NamedTuple):
    parts: Parts
    path: str


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
    def _by_parts(self) -> dict[Parts, list[_File]]:
        """Return the files by the folded parts of their paths, the last part first."""
        by_parts: dict[Parts, list[_File]] = {}
        for below, path in self._files.items():
            parts = tuple(below.split("/")[-_MOST_PARTS:])
            by_parts.setdefault(_folded(parts)[::-1], []).append(_File(parts, path))
        return by_parts

    @cached_property
    def _in_order(self) -> list[Parts]:
        return sorted(self._by_parts)

    def _best(self, parts: Parts) -> str | None:
        ranked: dict[tuple[bool, bool], list[str]] = {}
        for file in self._fitting(_folded(parts)[::-1]):
            shared = min(len(parts), len(file.parts))
            rank = (len(parts) == len(file.parts), parts[-shared:] == file.parts[-shared:])
            ranked.setdefault(rank, []).append(file.path)
        best = ranked[max(ranked)] if ranked else []
        return best[0] if len(best) == 1 else None

    def _fitting(self, wanted: Parts) -> list[_File]:
        """Return the files that share the most parts with a name; both are compared from the end.

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
