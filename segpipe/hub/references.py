"""Names that others may have written: of models, of revisions, of the files in a folder. Nothing is looked up here.

A path that is allowed is allowed on every operating system.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Meta

from segpipe.errors import InputError, ModelNameError, UnsafePathError
from segpipe.files import absolute_path, file_url_path
from segpipe.limits import check_limit, limit

Kind = Literal["bare", "modelscope", "hf", "web", "directory", "package"]
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_MAX_NAME = 300
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}"
RevisionText = Annotated[str, Meta(pattern=rf"^{_REVISION}\Z")]
_ADDRESS = re.compile(r"https?:/*|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_FORMS = (
    "A model is a folder on disk, a preset's name, owner/name, modelscope:owner/name, hf:owner/name, "
    "https://host/path or file:///directory, each with @revision behind it if need be"
)
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_DEVICES |= {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DOUBTFUL = re.compile(r"[. ](?:/|$)|//|/$|(?:^|/)(?:" + "|".join(map(re.escape, _DEVICES)) + ")", re.IGNORECASE)
"""Nothing else can be a wrong part; what it finds may still be right."""
_KEY = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True)
class Reference:
    """A model name, taken apart."""

    kind: Kind
    location: str
    """owner/name, a URL, or an absolute directory; for `package` a file name."""
    revision: str | None = None

    @property
    def label(self) -> str:
        """The name as a user would write it, without the revision."""
        if self.kind in ("modelscope", "hf", "package"):
            return f"{self.kind}:{self.location}"
        return Path(self.location).as_uri() if self.kind == "directory" else self.location

    @property
    def is_weights_file(self) -> bool:
        """Whether it is the address of one file of weights."""
        return self.kind == "web" and self.location.endswith(WEIGHT_SUFFIXES)


def parse_reference(name: str, revision: str | None = None) -> Reference:
    """Take a name apart. `revision` must not contradict `@revision`.

    Raises:
        ModelNameError: it cannot be a model's name.
    """
    if not isinstance(name, str) or not name or (len(name) > _MAX_NAME and not name.startswith("file://")):
        raise _bad_name(name, f"needs 1 to {_MAX_NAME} characters")
    if has_secrets(name):  # before the revision is looked for: user@host would be one
        raise _bad_name(name, "must not have a user, a query or a fragment")
    bare, named = _split_revision(name)
    if revision is not None and named is not None and revision != named:
        raise ModelNameError(f"{name!r} names the revision {named!r} and revision is {revision!r}. Give one of them.")
    chosen = named if revision is None else revision
    if chosen is not None:
        check_revision(chosen)
    kind, location = _parse_location(bare)
    return Reference(kind, location, chosen)


def check_model_name(name: str) -> str:
    """Return the name if each of its parts is plain: letters, digits, dot, hyphen, underscore."""
    for segment in name.split("/"):
        if not _SEGMENT.fullmatch(segment) or ".." in segment or segment.endswith("."):
            raise _bad_name(name, f"has the part {segment[:40]!r}; a part has letters, digits, '.', '-' and '_'")
    return name


def check_revision(revision: str) -> str:
    """Return the revision if it can be a branch, tag or commit; else raise ModelNameError."""
    text = revision if isinstance(revision, str) else ""
    is_plain = re.fullmatch(_REVISION, text) and ".." not in text and "//" not in text
    if not is_plain or text.endswith(("/", ".", ".lock")):
        raise ModelNameError(
            f"{str(revision)[:60]!r} is not a revision. It needs letters, digits, '.', '-', '_' and '/', e.g. 'main' "
            "or 'v1.0'.",
            key=str(revision),
        )
    return revision


def parse_hub(value: str) -> Reference:
    """Take apart what SEGPIPE_HUB says: `modelscope:`, `hf:`, or a static hub's URL or directory."""
    if value.rstrip(":") == "modelscope":
        return Reference("modelscope", "")
    if value.rstrip(":") == "hf":
        return Reference("hf", "")
    if value.startswith(("https://", "http://", "file://")):
        return Reference(*_parse_location(value))
    return Reference("directory", str(absolute_path(value, error=InputError)))


def has_secrets(text: str) -> bool:
    """Return whether it is an address with a user, a query or a fragment, any of which may hold a password."""
    match = _ADDRESS.match(text)
    rest = text[match.end() :] if match else ""
    return "@" in rest.partition("/")[0] or "?" in rest or "#" in rest


def without_secrets(text: str) -> str:
    """Return the text for a message: nothing but the scheme of an address that may hold secrets."""
    match = _ADDRESS.match(text)
    return f"{match[0]}…" if match and has_secrets(text) else text


def check_relative_path(path: str) -> str:
    """Return the path if every operating system would keep it inside its folder; else raise UnsafePathError."""
    _check_path(path, _Bounds.in_force())
    return path


def check_relative_paths(paths: Collection[str]) -> None:
    """Check each path, their number, and that no two would be one file where case or Unicode form is ignored.

    Sorted, paths that share a folder stand side by side, so each is compared with its neighbor alone.
    """
    bounds = _Bounds.in_force()
    check_limit("listed_files", len(paths), "The source lists", error=UnsafePathError, advice="Check its name")
    for path in paths:
        _check_path(path, bounds)
    ordered = sorted((_folded(path).replace("/", "\0"), path) for path in paths)
    for (_, path), (_, neighbor) in pairwise(ordered):
        _require_apart(path, neighbor)


def file_key(text: str) -> str:
    """Return a file name that stands for `text` on every operating system. Different texts give different names."""
    if _KEY.fullmatch(text) and _part_problem(text, len(text)) is None:
        return text
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")[:60]
    return f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}".lstrip("-")


def _split_revision(name: str) -> tuple[str, str | None]:
    # In an address an earlier @ belongs to its path.
    head, slash, tail = name.rpartition("/") if "://" in name else ("", "", name)
    last, at, revision = tail.partition("@")
    return (f"{head}{slash}{last}", revision) if at else (name, None)


def _parse_location(name: str) -> tuple[Kind, str]:
    scheme, colon, rest = name.partition(":")
    if not colon:
        return "bare", check_model_name(name)
    if scheme == "modelscope":
        return "modelscope", _owner_and_name(rest, name)
    if scheme == "hf":
        return "hf", _owner_and_name(rest, name)
    if scheme in ("http", "https"):
        return "web", _checked_url(name)
    if scheme == "file":
        return "directory", _directory(name)
    if scheme == "package":
        return "package", check_model_name(rest)
    raise _bad_name(name, f"has the unknown source {scheme[:40]!r}")


def _owner_and_name(text: str, name: str) -> str:
    if text.count("/") != 1:
        raise _bad_name(name, "needs an owner and a name")
    return check_model_name(text)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _bad_name(url, "is not a URL") from None
    if not host:
        raise _bad_name(url, "needs a host")
    path = unquote(parts.path)
    if ".." in path.split("/") or "\\" in path or any(ord(letter) < 33 or ord(letter) > 126 for letter in url):
        raise _bad_name(url, "has '..', a space or a letter beyond ASCII in its path")
    return url.rstrip("/")


def _directory(url: str) -> str:
    path = Path(file_url_path(url, error=ModelNameError))
    if not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise _bad_name(url, "needs an absolute directory without '..'")
    return str(path)


def _bad_name(name: object, problem: str) -> ModelNameError:
    shown = without_secrets(str(name))[:80]
    return ModelNameError(f"{shown!r} is not a model name: it {problem}. {_FORMS}.", key=shown)


@dataclass(frozen=True)
class _Bounds:
    """The limits on paths, read once for all paths of a list."""

    path_bytes: int
    part_bytes: int
    depth: int

    @classmethod
    def in_force(cls) -> _Bounds:
        return cls(limit("path_bytes"), limit("path_part_bytes"), limit("path_depth"))


def _check_path(path: str, bounds: _Bounds) -> None:
    problem = _path_problem(path, bounds)
    if problem:
        raise UnsafePathError(
            f"The file name {path[:120]!r} {problem}. A model folder's files need plain relative names such as "
            "'model.safetensors'. Do not use this source, or ask its owner to rename the file.",
            key=path[:120],
        )


def _path_problem(path: str, bounds: _Bounds) -> str | None:
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
    """Raise UnsafePathError where two paths are one file, or one is spelled otherwise or lies below the other."""
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
