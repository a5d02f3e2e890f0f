"""Lists of a data set's files: an image a line, or an image and its label."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segpipe.errors import InputError
from segpipe.files import read_text
from segpipe.limits import limit
from segpipe.names import listing

from ..faults import Fault
from ..findings import Finding
from ..label_files import LABEL_SUFFIXES
from ..picture_folders import PICTURE_SUFFIXES
from .places import normalize_name

_ENDINGS = tuple(dict.fromkeys((*PICTURE_SUFFIXES, *LABEL_SUFFIXES)))
_ENDING = "|".join(re.escape(ending) for ending in sorted(_ENDINGS, key=len, reverse=True))
_TWO_NAMES = re.compile(rf"(.*?(?:{_ENDING}))\s+(\S.*?(?:{_ENDING}))(?:\s.*)?", re.IGNORECASE)
"""Two names of files with blanks between; a name may hold blanks, too."""
_QUOTES = "\"'"
_LONGEST_LINE = 8192
_MOST_PARTS = 64
_CORRECT = "Correct the list, or add the files"


class Row(NamedTuple):
    """A line of a list."""

    image: str
    label: str | None
    """None where the list names images alone."""


def read_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text without blank ones and comments (#); InputError where one is there twice, or none."""
    names = _read_lines(path)
    twice = _twice(names)
    if twice:
        raise InputError(f"The list {path} names {len(twice)} pictures twice: {listing(twice)}. Name each one once.")
    return names


def read_rows(path: Path) -> tuple[Row, ...]:
    """Return the rows of a list: one column, or two with commas, semicolons, tabs or blanks between.

    A first line of column titles is left out.

    Raises:
        InputError: the list is empty, or names a label for some of its images only.
    """
    rows = [_parse(line) for line in _read_lines(path)]
    if len(rows) > 1 and rows[0].label is None and rows[1].label is not None and not _is_file_name(rows[0].image):
        rows = rows[1:]  # titles, such as image,mask
    single = [row.image for row in rows if row.label is None]
    if single and len(single) < len(rows):
        raise InputError(
            f"The list {path} names an image and its label in {len(rows) - len(single):,} lines, and not in "
            f"{len(single):,} others: {listing(single)}. Name both in each line, or the images alone."
        )
    return tuple(rows)


def has_labels(rows: Sequence[Row]) -> bool:
    """Whether a list names labels, too."""
    return rows[0].label is not None


def once_each(rows: Sequence[Row], path: Path) -> tuple[list[Row], list[Fault]]:
    """Return the rows whose image was not in an earlier one, and a fault where there are others."""
    twice = _twice([row.image for row in rows])
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.image, row)
    message = f"The list {path} names {len(twice)} pictures twice: {listing(twice)}. Name each one once."
    texts = [f"{name} is named twice" for name in twice]
    return list(first.values()), _faults(message, path, texts, "Name each image once.")


def select(images: Mapping[str, Path], rows: Sequence[Row], path: Path) -> tuple[dict[str, Path], list[Fault]]:
    """Return the images that a list of one column names, in its order, and what is wrong with the list.

    A name is a path below the folder of the images, with or without its ending; leading folders that it has besides,
    such as those of another machine, do not count.
    """
    known = {_normal(name): key for key in images for name in (key, f"{key}{_ending_of(key, images[key])}")}
    found = {row.image: _look_up(row.image, known) for row in rows}
    missing = [name for name, key in found.items() if key is None]
    keys = [key for key in found.values() if key is not None]
    message = (
        f"{path} names {len(missing)} pictures that are not there: {listing(missing)}. Names are like "
        f"{next(iter(images), 'none')!r}. Correct the list or add the pictures."
    )
    faults = _faults(message, path, [f"{name} is not there" for name in missing], _CORRECT)
    if len(set(keys)) < len(keys):
        text = "names a picture with and without its ending"
        faults += _faults(f"{path} {text}. Name each one once.", path, [text], "Name each image once.")
    return {key: images[key] for key in keys}, faults


class FileFinder:
    """Finds the files that a list names below a root.

    A name is a path below one of the folders, with / or \\ between its parts, in any case of its ending. Leading
    folders that are not there, such as those of the machine that the list was written on, do not count.
    """

    def __init__(self, root: Path, folders: Sequence[Path]) -> None:
        self._root = os.path.normpath(root)
        self._folders = tuple(dict.fromkeys(os.path.normpath(folder) for folder in folders))
        self._known: dict[str, dict[str, str]] = {}

    def find(self, name: str) -> str | None:
        """Return the path of a file, or None."""
        for tail in _tails(name):
            for folder in self._folders:
                path = os.path.normpath(os.path.join(folder, tail))
                if self._is_below(path):
                    parent, last = os.path.split(path)
                    found = self._names(parent).get(_normal(last))
                    if found is not None:
                        return os.path.join(parent, found)
        return None

    def _is_below(self, path: str) -> bool:
        if self._root == os.curdir:
            return not os.path.isabs(path) and path.split(os.sep)[0] != os.pardir
        return path.startswith(os.path.join(self._root, ""))

    def _names(self, folder: str) -> dict[str, str]:
        if folder not in self._known:
            try:
                entries = [entry.name for entry in os.scandir(folder) if entry.is_file()]
            except (OSError, ValueError):
                entries = []
            self._known[folder] = {_normal(name): name for name in entries}
        return self._known[folder]


def missing_files(names: Sequence[str], path: Path) -> list[Fault]:
    """Return the fault of a list that names files which are not there."""
    message = (
        f"{path} names {len(names)} files that are not there: {listing(names)}. Paths begin at the root of the data "
        f"set or at the list's folder. {_CORRECT}."
    )
    return _faults(message, path, [f"{name} is not there" for name in names], _CORRECT)


def _read_lines(path: Path) -> tuple[str, ...]:
    text = read_text(path, max_bytes=limit("annotation_bytes"), error=InputError)
    lines = [line.strip() for line in text.splitlines()]
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise InputError(f"The list {path} is empty; it has one picture a line. Fill it.")
    return names


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _parse(line: str) -> Row:
    line = _without_comment(line)
    separator = next((sign for sign in "\t,;" if sign in line), None)
    if separator is not None:
        named = [field for field in _fields(line, separator) if _is_file_name(field)]
        if len(named) >= 2:
            return Row(named[0], named[1])
    match = _TWO_NAMES.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    if match is None:
        return Row(line.strip(_QUOTES), None)
    return Row(match[1].strip(_QUOTES), match[2].strip(_QUOTES))


def _fields(line: str, separator: str) -> list[str]:
    try:
        fields = next(csv.reader([line], delimiter=separator))
    except csv.Error:  # a field of more than 128 KiB
        fields = line.split(separator)
    return [field.strip() for field in fields]


def _is_file_name(text: str) -> bool:
    return text.lower().endswith(_ENDINGS)


def _without_comment(line: str) -> str:
    """Return a line without " # …", and without " #…" behind the name of a file; a name may hold such a sign, too."""
    before, sign, after = line.partition(" #")
    is_comment = sign and (_is_file_name(before.rstrip()) or not after.strip() or after[0].isspace())
    return before.rstrip() if is_comment else line


def _tails(name: str) -> Iterator[str]:
    """Yield a path as it is, then with one more of its leading folders taken off each time."""
    parts = [part for part in re.split(r"[\\/]+", name) if part not in ("", ".")][-_MOST_PARTS:]
    return (os.path.join(*parts[start:]) for start in range(len(parts)))


def _look_up(name: str, known: Mapping[str, str]) -> str | None:
    tails = (name, *(tail.replace(os.sep, "/") for tail in _tails(name)))
    return next((known[_normal(tail)] for tail in tails if _normal(tail) in known), None)


def _ending_of(key: str, path: Path) -> str:
    return normalize_name(path.name)[len(key.rpartition("/")[2]) :]


def _normal(name: str) -> str:
    """Return a name with composed letters and its ending in lower case."""
    stem, ending = os.path.splitext(normalize_name(name))
    return f"{stem}{ending.lower()}"


def _faults(message: str, path: Path, texts: Sequence[str], fix: str) -> list[Fault]:
    findings = tuple(Finding("list", str(path), text, fix) for text in texts)
    return [Fault(message, findings)] if findings else []
