"""Which relative paths a model folder may hold: the same list on every operating system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable

from segpipe.errors import UnsafePathError

MAX_PART_BYTES = 200
MAX_PATH_BYTES = 1000
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def check_relative_path(path: str) -> str:
    """The path itself when every operating system would keep it inside its folder; else UnsafePathError."""
    problem = _problem(path)
    if problem:
        raise UnsafePathError(
            f"The file name {path[:120]!r} {problem}. A model folder's files need plain relative names such as "
            "'model.safetensors'. Do not use this source, or ask its owner to rename the file."
        )
    return path


def check_relative_paths(paths: Iterable[str]) -> None:
    """Check each path, and that no two of them would be one file where case or Unicode form is ignored."""
    spellings: dict[str, str] = {}
    files: set[str] = set()
    for path in paths:
        check_relative_path(path)
        for prefix in _prefixes(path):
            other = spellings.setdefault(_folded(prefix), prefix)
            if other != prefix:
                raise _collision(prefix, other)
        if _folded(path) in files:
            raise _collision(path, path)
        files.add(_folded(path))
    for path in spellings.values():
        if any(_folded(parent) in files for parent in _prefixes(path)[:-1]):
            raise UnsafePathError(f"The file name {path!r} lies below another file. Do not use this source.")


def file_key(text: str) -> str:
    """A file name that stands for `text` on every operating system; equal texts give equal names, others do not."""
    if _KEY.fullmatch(text) and _problem(text) is None:
        return text
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")[:60]
    return f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}".lstrip("-")


def _problem(path: str) -> str | None:
    if not path:
        return "is empty"
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if length > MAX_PATH_BYTES:
        return f"is {length} bytes long, more than {MAX_PATH_BYTES}"
    if path.startswith("/"):
        return "is absolute"
    if _FORBIDDEN.search(path):
        return 'has a control character or one of \\ : * ? " < > |'
    return next((problem for part in path.split("/") if (problem := _part_problem(part))), None)


def _part_problem(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "has an empty, '.' or '..' part"
    if part[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if part.split(".")[0].rstrip(" ").lower() in _DEVICES:
        return "has a part that is a device on Windows"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"has a part of more than {MAX_PART_BYTES} bytes"
    return None


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _collision(path: str, other: str) -> UnsafePathError:
    return UnsafePathError(
        f"The file names {path!r} and {other!r} are one file where letter case or Unicode form is ignored. "
        "Do not use this source, or ask its owner to rename one of them."
    )
