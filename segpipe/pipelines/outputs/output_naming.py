"""Names for the files that are written for each of many images: distinct, and telling of the image."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote

from segpipe.data import parse_source

LONGEST_NAME = 255
"""Bytes of a file's name, on nearly all file systems."""
_DIGITS = 8
_PLAIN = re.compile(r"[\w.-]*")
_MOST_FOLDERS = 8
"""Folders above an image that the name of its outputs may have."""


def output_names(sources: Sequence[str], endings: Sequence[str], *, taken: Collection[str] = ()) -> list[str]:
    """Return the beginning of the names of each source's outputs; an ending such as "-overlay.png" follows.

    An image's outputs have its stem: street.jpg gives "street". Where several sources have one stem, theirs are the
    first of these forms that tells them apart: 500.jpg and 500.png keep their suffixes, a/500.jpg and b/500.jpg have
    their folders, "a-500" and "b-500". What is left, such as a source that is given twice, is numbered. Upper and lower
    case and the ways to encode an accent count as equal, since file systems may take them so. A name that would be too
    long is cut and ends in a digest of the whole name.

    Args:
        sources: paths, URLs and other strings that are read as images.
        endings: what is appended to a name; the longest counts.
        taken: names of the outputs of other images, from earlier commands.
    """
    room = LONGEST_NAME - max(len(ending.encode()) for ending in endings)
    paths = [_path_of(source, index) for index, source in enumerate(sources)]
    keys = [_folded(str(path)) for path in paths]
    groups: defaultdict[str, dict[str, PurePosixPath]] = defaultdict(dict)
    for key, path in zip(keys, paths, strict=True):
        groups[_folded(path.stem)].setdefault(key, path)
    earlier = set(map(_folded, taken))
    used = earlier | {stem for stem, members in groups.items() if len(members) == 1}
    names: dict[str, str] = {}
    for stem, members in groups.items():
        paths = [*members.values()]
        is_alone = len(paths) == 1 and stem not in earlier
        chosen = [_fitted(paths[0].stem, room)] if is_alone else _told_apart(paths, used, room)
        names.update(zip(members, chosen, strict=True))
    return _numbered([names[key] for key in keys], room, earlier)


def _path_of(source: str, index: int) -> PurePosixPath:
    """Return folders, stem and suffix of a source, without what a file cannot be called."""
    text = parse_source(source).name(index)
    text = unquote(text) if "://" in text[:40] else text
    *folders, name = os.path.normpath(text.replace("\\", "/")).split("/")
    stem, suffix = os.path.splitext(name)
    kept = [folder for folder in map(_clean, folders) if folder]
    stem, suffix = _clean(stem) or f"picture-{index}", _clean(suffix)
    return PurePosixPath(*kept, f"{stem}.{suffix}" if suffix else stem)


def _clean(text: str) -> str:
    """Return a text with a hyphen for all but letters, digits, their marks, emoji, and _ . - inside."""
    if _PLAIN.fullmatch(text):  # nearly all are
        return text.strip("-.")
    kept = (letter if letter in "_.-" or _is_letter(letter) else " " for letter in text)
    return "-".join("".join(kept).split()).strip("-.")


def _is_letter(letter: str) -> bool:
    category = unicodedata.category(letter)
    return category[0] in "LMN" or category == "So"


def _told_apart(paths: Sequence[PurePosixPath], taken: set[str], room: int) -> list[str]:
    """Return the first form in which names differ from one another and from those taken, and add it to these."""
    for names in _forms(paths):
        fitted = [_fitted(name, room) for name in names]
        folded = {_folded(name) for name in fitted}
        if len(folded) == len(paths) and not folded & taken:
            break
    taken |= folded
    return fitted


def _forms(paths: Sequence[PurePosixPath]) -> Iterator[list[str]]:
    """Yield longer and longer names: without and with the suffix, after no folder, one, two, …"""
    for count in range(_MOST_FOLDERS + 1):
        folders = [path.parts[:-1][max(0, len(path.parts) - 1 - count) :] for path in paths]
        yield ["-".join([*above, path.stem]) for above, path in zip(folders, paths, strict=True)]
        yield ["-".join([*above, path.name]) for above, path in zip(folders, paths, strict=True)]


def _numbered(names: Sequence[str], room: int, earlier: Collection[str]) -> list[str]:
    """Return the names with a number after each that was there before, none of them another one's own name."""
    taken = {*earlier, *map(_folded, names)}
    counts = defaultdict(int, dict.fromkeys(earlier, 1))
    numbered = []
    for name in names:
        chosen, key = name, _folded(name)
        counts[key] += 1
        while counts[key] > 1 and _folded(chosen := _fitted(f"{name}-{counts[key]}", room)) in taken:
            counts[key] += 1
        taken.add(_folded(chosen))
        numbered.append(chosen)
    return numbered


def _fitted(name: str, room: int) -> str:
    """Return a name of at most `room` bytes; a longer one is cut at a character and ends in a digest of the whole."""
    encoded = name.encode()
    if len(encoded) <= room:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGITS]
    return f"{encoded[: room - _DIGITS - 1].decode(errors='ignore')}-{digest}"


def _folded(name: str) -> str:
    """Return a form that is equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
