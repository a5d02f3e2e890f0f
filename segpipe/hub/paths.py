"""Which relative paths a model folder may hold: the same list on every operating system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from segpipe.errors import UnsafePathError
from segpipe.limits import limit

_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DOUBTFUL = re.compile(r"[. ](?:/|$)|//|/$|(?:^|/)(?:" + "|".join(map(re.escape, _DEVICES)) + ")", re.IGNORECASE)
"""Nothing else can be a wrong part; what it finds may still be right."""
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def check_relative_path(path: str) -> str:
    """The path itself when every operating system would keep it inside its folder; else UnsafePathError."""
    _check(path, _Bounds.in_force())
    return path


def check_relative_paths(paths: Collection[str]) -> None:
    """Check each path, their number, and that no two would be one file where case or Unicode form is ignored.

    Sorted, paths that share a folder stand side by side, so each is compared with its neighbour alone.
    """
    bounds = _Bounds.in_force()
    if len(paths) > bounds.files:
        raise UnsafePathError(
            f"The source lists {len(paths):,} files; at most {bounds.files:,} are taken. Check that it is the right "
            "one; docs/limits.md says how to raise the limit."
        )
    for path in paths:
        _check(path, bounds)
    ordered = sorted((_folded(path).replace("/", "\0"), path) for path in paths)
    for (_, path), (_, neighbour) in pairwise(ordered):
        _require_apart(path, neighbour)


def file_key(text: str) -> str:
    """A file name that stands for `text` on every operating system; equal texts give equal names, others do not."""
    if _KEY.fullmatch(text) and _part_problem(text, len(text)) is None:
        return text
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")[:60]
    return f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}".lstrip("-")


@dataclass(frozen=True)
class _Bounds:
    """The limits on paths, read once for all paths of a list."""

    files: int
    path_bytes: int
    part_bytes: int
    depth: int

    @classmethod
    def in_force(cls) -> _Bounds:
        return cls(limit("listed_files"), limit("path_bytes"), limit("path_part_bytes"), limit("path_depth"))


def _check(path: str, bounds: _Bounds) -> None:
    problem = _problem(path, bounds)
    if problem:
        raise UnsafePathError(
            f"The file name {path[:120]!r} {problem}. A model folder's files need plain relative names such as "
            "'model.safetensors'. Do not use this source, or ask its owner to rename the file."
        )


def _problem(path: str, bounds: _Bounds) -> str | None:
    if not path:
        return "is empty"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if length > bounds.path_bytes:
        return f"is {length} bytes long, more than {bounds.path_bytes}"
    if path.startswith("/"):
        return "is absolute"
    if _FORBIDDEN.search(path):
        return 'has a control character or one of \\ : * ? " < > |'
    depth = path.count("/") + 1
    if depth > bounds.depth:
        return f"has {depth} parts, more than {bounds.depth}"
    if length <= bounds.part_bytes and not _DOUBTFUL.search(path):
        return None
    return next((problem for part in path.split("/") if (problem := _part_problem(part, bounds.part_bytes))), None)


def _part_problem(part: str, most_bytes: int) -> str | None:
    if part in ("", ".", ".."):
        return "has an empty, '.' or '..' part"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if part.partition(".")[0].rstrip(" ").lower() in _DEVICES:
        return "has a part that is a device on Windows"
    if len(part.encode()) > most_bytes:
        return f"has a part of more than {most_bytes} bytes"
    return None


def _require_apart(path: str, other: str) -> None:
    """UnsafePathError where two paths are one file, or one is spelt otherwise or lies below the other."""
    for part, counterpart in zip(path.split("/"), other.split("/"), strict=False):
        if part != counterpart:
            if _folded(part) == _folded(counterpart):
                raise _collision(part, counterpart)
            return
    if path == other:
        raise _collision(path, other)
    raise UnsafePathError(f"The file name {other[:120]!r} lies below another file. Do not use this source.")


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _collision(name: str, other: str) -> UnsafePathError:
    return UnsafePathError(
        f"The file names {name!r} and {other!r} are one file where letter case or Unicode form is ignored. "
        "Do not use this source, or ask its owner to rename one of them."
    )
