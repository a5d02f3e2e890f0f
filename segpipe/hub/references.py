"""What a model name says: which source, which model there, which revision. Nothing is looked up here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from segpipe.errors import InputError, ModelNameError
from segpipe.files import absolute_path, file_url_path

Kind = Literal["bare", "modelscope", "hf", "web", "directory", "package"]
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
_MAX_NAME = 300
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}")
_ADDRESS = re.compile(r"https?:/*|[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_FORMS = (
    "A model is a folder on disk, a preset's name, owner/name, modelscope:owner/name, hf:owner/name, "
    "https://host/path or file:///directory, each with @revision behind it if need be"
)


@dataclass(frozen=True)
class Reference:
    """A model name, taken apart."""

    kind: Kind
    location: str
    """owner/name, a URL, or an absolute directory; for `package` a file name."""
    revision: str | None = None

    @property
    def label(self) -> str:
        """The name as one would write it, without the revision."""
        if self.kind in ("modelscope", "hf", "package"):
            return f"{self.kind}:{self.location}"
        return Path(self.location).as_uri() if self.kind == "directory" else self.location


def parse_reference(name: str, revision: str | None = None) -> Reference:
    """Take a name apart; ModelNameError when it cannot be one. `revision` must not contradict `@revision`."""
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
    """The name itself when each of its parts is plain: letters, digits, dot, hyphen, underscore."""
    for segment in name.split("/"):
        if not _SEGMENT.fullmatch(segment) or ".." in segment or segment.endswith("."):
            raise _bad_name(name, f"has the part {segment[:40]!r}; a part has letters, digits, '.', '-' and '_'")
    return name


def check_revision(revision: str) -> str:
    """The revision itself when it can be a branch, tag or commit; else ModelNameError."""
    text = revision if isinstance(revision, str) else ""
    is_plain = _REVISION.fullmatch(text) and ".." not in text and "//" not in text
    if not is_plain or text.endswith(("/", ".", ".lock")):
        raise ModelNameError(
            f"{str(revision)[:60]!r} is no revision. It needs letters, digits, '.', '-', '_' and '/', e.g. 'main' or "
            "'v1.0'."
        )
    return revision


def parse_hub(value: str) -> Reference:
    """What SEGPIPE_HUB says: `modelscope:`, `hf:`, or a static hub's URL or directory."""
    if value.rstrip(":") == "modelscope":
        return Reference("modelscope", "")
    if value.rstrip(":") == "hf":
        return Reference("hf", "")
    if value.startswith(("https://", "http://", "file://")):
        return Reference(*_parse_location(value))
    return Reference("directory", str(absolute_path(value, error=InputError)))


def has_secrets(text: str) -> bool:
    """Whether it is an address with a user, a query or a fragment, which may hold a password or a token."""
    match = _ADDRESS.match(text)
    rest = text[match.end() :] if match else ""
    return "@" in rest.partition("/")[0] or "?" in rest or "#" in rest


def without_secrets(text: str) -> str:
    """The text for a message: nothing but the scheme of an address that may hold secrets."""
    match = _ADDRESS.match(text)
    return f"{match[0]}…" if match and has_secrets(text) else text


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
        raise _bad_name(url, "is no URL") from None
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
    return ModelNameError(f"{without_secrets(str(name))[:80]!r} is no model name: it {problem}. {_FORMS}.")
