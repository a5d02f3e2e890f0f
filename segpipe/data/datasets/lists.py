"""Find and read lists of a data set's files: an image a line, or an image and its label."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from segpipe.errors import InputError
from segpipe.files import read_text
from segpipe.limits import limit
from segpipe.names import listing

from ..findings import Fault, Finding
from ..image_folders import IMAGE_SUFFIXES
from ..label_files import LABEL_SUFFIXES
from .finding_files import AnyPath, NamedFiles, find_below, list_files, normalize_name

_ENDINGS = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *LABEL_SUFFIXES)))
_ENDING = "|".join(re.escape(ending) for ending in sorted(_ENDINGS, key=len, reverse=True))
_TWO_NAMES = re.compile(rf"(.*?(?:{_ENDING}))\s+(\S.*?(?:{_ENDING}))(?:\s.*)?", re.IGNORECASE)
"""Two names of files with blanks between; a name may hold blanks, too."""
_QUOTES = "\"'"
_LONGEST_LINE = 8192
_CORRECT = "Correct the list, or add the files"


class Row(NamedTuple):
    """A line of a list."""

    image: str
    label: str | None
    """None where the list names images alone."""


def find_list(root: Path, names: Iterable[str]) -> Path | None:
    """Return the first list of these names below the root."""
    paths = (find_below(root, name) for name in names)
    return next((path for path in paths if os.path.isfile(path)), None)


def resolve_list(given: AnyPath, root: Path) -> Path:
    """Return the list that the caller names, from the current folder or else below the root."""
    path = Path(os.path.expanduser(given))
    return path if os.path.isfile(path) else root / path


def read_names(path: Path) -> tuple[str, ...]:
    """Return the lines of a text without blank ones and comments (#); InputError where one is there twice, or none."""
    names = _read_lines(path)
    twice = _twice(names)
    if twice:
        raise InputError(f"The list {path} has {len(twice)} lines twice: {listing(twice)}. Keep each one once.")
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


def once_each(rows: Sequence[Row], path: Path) -> tuple[list[Row], list[Fault]]:
    """Return the rows whose image was not in an earlier one, and a fault where there are others."""
    twice = _twice([row.image for row in rows])
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.image, row)
    message = f"The list {path} names {len(twice)} images twice: {listing(twice)}. Name each one once."
    texts = [f"{name} is named twice" for name in twice]
    return list(first.values()), _faults(message, path, texts, "Name each image once.")


def select(images: Mapping[str, str], rows: Sequence[Row], path: Path) -> tuple[dict[str, str], list[Fault]]:
    """Return the images that a list of one column names, in its order, and what is wrong with the list.

    A name is a path below the folder of the images, with or without its ending, or any that `NamedFiles` understands.
    """
    keys = NamedFiles({name: key for key, image in images.items() for name in (f"{key}{_ending_of(key, image)}", key)})
    found = {row.image: keys.find(normalize_name(row.image)) for row in rows}
    missing = [name for name, key in found.items() if key is None]
    chosen = [key for key in found.values() if key is not None]
    message = (
        f"{path} names {len(missing)} images that are not there: {listing(missing)}. Names are like "
        f"{next(iter(images), 'none')!r}. Correct the list or add the images."
    )
    faults = _faults(message, path, [f"{name} is not there" for name in missing], _CORRECT)
    if len(set(chosen)) < len(chosen):
        text = "names an image with and without its ending"
        faults += _faults(f"{path} {text}. Name each one once.", path, [text], "Name each image once.")
    return {key: images[key] for key in chosen}, faults


def find_listed(
    rows: Sequence[Row], path: Path, root: Path, folders: tuple[Path, Path]
) -> tuple[list[tuple[str, str]], list[Fault]]:
    """Return the images and labels that a list of two columns names, in its order, and what is wrong with the list.

    A name is a path below the root, the list's folder, or that of all images or labels; see `NamedFiles`.

    Args:
        root: the data set's folder, which has all of the files.
        folders: where images and labels lie without a list.
    """
    here = Path(os.path.normpath(path.parent))
    places = [root, path.parent] if here.is_relative_to(os.path.normpath(root)) else [root]
    finders = [
        [_files_in(place, endings) for place in dict.fromkeys((*places, folder))]
        for folder, endings in zip(folders, (IMAGE_SUFFIXES, LABEL_SUFFIXES), strict=True)
    ]
    pairs: list[tuple[str, str]] = []
    missing: list[str] = []
    for row in rows:
        image, label = _find(row.image, finders[0]), _find(row.label or "", finders[1])
        missing += [name for name, file in ((row.image, image), (row.label, label)) if name and file is None]
        if image is not None and label is not None:
            pairs.append((image, label))
    message = (
        f"{path} names {len(missing)} files that are not there: {listing(missing)}. Paths begin at the root of the "
        f"data set or at the list's folder. {_CORRECT}."
    )
    return pairs, _faults(message, path, [f"{name} is not there" for name in missing], _CORRECT)


def _files_in(folder: Path, endings: Sequence[str]) -> NamedFiles:
    """Return the files of a folder by their names with and without the ending."""
    files = list_files(folder, endings)
    return NamedFiles({**{os.path.splitext(name)[0]: path for name, path in files.items()}, **files})


def _find(name: str, places: Sequence[NamedFiles]) -> str | None:
    return next((path for files in places if (path := files.find(name)) is not None), None)


def _read_lines(path: Path) -> tuple[str, ...]:
    text = read_text(path, max_bytes=limit("annotation_bytes"), error=InputError)
    lines = [line.strip() for line in text.splitlines()]
    names = tuple(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise InputError(f"The list {path} is empty; it needs a line for each image or class. Fill it.")
    return names


def _twice(names: Sequence[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def _parse(line: str) -> Row:
    line = _without_comment(line)
    separator = next((sign for sign in "\t,;|" if sign in line), None)
    if separator is not None:
        named = [field for field in _fields(line, separator) if _is_file_name(field)]
        if len(named) >= 2:
            return Row(named[0], named[1])
    names = _two_names(line) if any(map(_is_file_name, line.split())) else _two_paths(line)
    if names is None:
        return Row(line.strip(_QUOTES), None)
    return Row(names[0].strip(_QUOTES), names[1].strip(_QUOTES))


def _two_names(line: str) -> tuple[str, str] | None:
    match = _TWO_NAMES.fullmatch(line) if len(line) <= _LONGEST_LINE else None
    return None if match is None else (match[1], match[2])


def _two_paths(line: str) -> tuple[str, str] | None:
    """Return the two paths without endings that a line consists of, or None. A path may hold commas, too."""
    for separator in (r"\s+", r"[\s,;]+"):
        parts = re.split(separator, line)
        if len(parts) == 2 and all(re.search(r"[\\/][^,;]", part) for part in parts):
            return parts[0].rstrip(",;"), parts[1]
    return None


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


def _ending_of(key: str, path: str) -> str:
    return normalize_name(os.path.basename(path))[len(key.rpartition("/")[2]) :]


def _faults(message: str, path: Path, texts: Sequence[str], fix: str) -> list[Fault]:
    findings = tuple(Finding("list", str(path), text, fix) for text in texts)
    return [Fault(message, findings)] if findings else []
