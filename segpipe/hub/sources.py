"""What every source of models offers: a list of files with sizes and digests, and where to get them."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from segpipe.errors import DownloadError, ModelNotFoundError
from segpipe.limits import limit
from segpipe.names import listing as listing_of

from .transport import Credentials, Transport

SMALL_FILES = (
    "configuration.json",
    "config.json",
    "preprocessor_config.json",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.safetensors",
    "pytorch_model.pt",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""The usual names, the preferred ones first. An index stands for the files that it names."""
LONE_WEIGHTS = (".pt", ".pth")


@dataclass(frozen=True)
class RemoteFile:
    """One file that a source offers."""

    path: str
    url: str
    size: int | None = None
    sha256: str | None = None
    """All 64 digits."""
    git_sha1: str | None = None
    sha256_start: str | None = None
    """The first digits, where a file's name has them and nothing else is known."""
    is_elsewhere: bool = False
    """Whether another server has it, which is not sent the source's credentials."""

    def __post_init__(self) -> None:
        """What a server says is believed only when it can be true: an empty digest would fit any file."""
        if self.size is not None and (type(self.size) is not int or self.size < 0):
            raise self._refusal("size", self.size, "a number of bytes")
        for kind, digest, digits in (("sha256", self.sha256, 64), ("git sha1", self.git_sha1, 40)):
            if digest is not None and not _is_hexadecimal(digest, digits):
                raise self._refusal(kind, digest, f"{digits} hexadecimal digits")

    @property
    def known_sha256(self) -> str | None:
        """As many of the first digits as are known."""
        return self.sha256 or self.sha256_start

    @property
    def digest(self) -> str | None:
        """The digest that is known, with its kind."""
        if self.known_sha256 is not None:
            return f"sha256:{self.known_sha256}"
        return None if self.git_sha1 is None else f"git:{self.git_sha1}"

    def _refusal(self, kind: str, value: object, right: str) -> DownloadError:
        return DownloadError(
            f"The source lists {self.path[:120]!r} with the {kind} {str(value)[:80]!r}; it needs {right}. "
            "Check the address of the source, or try again later."
        )


@dataclass(frozen=True)
class Listing:
    """The files of one revision."""

    files: tuple[RemoteFile, ...]
    commit: str | None = None
    """What the revision stands for at this moment, where the source says so."""


class Source(Protocol):
    """One model on one server."""

    @property
    def label(self) -> str:
        """The name that a user would write, e.g. modelscope:owner/name."""

    @property
    def default_revision(self) -> str:
        """The revision when none is asked for."""

    @property
    def credentials(self) -> Credentials | None:
        """What is sent to the server, and to no other."""

    def list_files(self, transport: Transport, revision: str) -> Listing:
        """Ask the server; ModelNotFoundError, AccessDeniedError or another DownloadError when it has no list."""


def select_files(listing: Listing, weights_file: str | None, label: str) -> tuple[RemoteFile, ...]:
    """The files that a model needs: configuration, card, licence and one weights file; never code."""
    if len(listing.files) > limit("listed_files"):
        raise _too_many(label, len(listing.files), "lists", "listed_files")
    small = [file for file in listing.files if _is_small(file.path) and file.path != weights_file]
    if len(small) >= limit("model_files"):
        raise _too_many(label, len(small) + 1, "needs", "model_files")
    return (*small, _select_weights(listing.files, weights_file, label))


def select_shards(listing: Listing, index: RemoteFile, names: Sequence[str], label: str) -> tuple[RemoteFile, ...]:
    """The files that an index names, relative to its own folder."""
    listed = {file.path: file for file in listing.files}
    folder = index.path.rpartition("/")[0]
    paths = [f"{folder}/{name}" if folder else name for name in names]
    missing = [path for path in paths if path not in listed]
    if missing:
        raise ModelNotFoundError(
            f"{label} does not offer {listing_of(missing)}, though {index.path} says that weights lie there. "
            "Name another revision, or ask its owner for the missing files."
        )
    return tuple(listed[path] for path in paths)


def select_weights_name(names: Sequence[str]) -> str | None:
    """Which of the names holds the weights; None when there is no or more than one candidate."""
    usual = next((name for name in WEIGHT_FILES if name in names), None)
    lone = [name for name in names if "/" not in name and name.endswith(LONE_WEIGHTS)]
    return usual or (lone[0] if len(lone) == 1 else None)


def _too_many(label: str, count: int, verb: str, name: str) -> DownloadError:
    return DownloadError(
        f"{label} {verb} {count:,} files; at most {limit(name):,} are taken. Check that it is the right model; "
        f"docs/limits.md says how to raise the limit."
    )


def _is_hexadecimal(text: object, digits: int) -> bool:
    return isinstance(text, str) and len(text) == digits and set(text) <= set("0123456789abcdef")


def _is_small(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in SMALL_FILES) and "/" not in path


def _select_weights(files: Sequence[RemoteFile], weights_file: str | None, label: str) -> RemoteFile:
    names = [file.path for file in files]
    wanted = weights_file or select_weights_name(names)
    if wanted in names:
        return files[names.index(wanted)]
    looked_for = weights_file or f"{', '.join(WEIGHT_FILES)}, or one *.pt or *.pth file"
    offered = ", ".join(sorted(names)[:12]) or "no file at all"
    raise ModelNotFoundError(
        f"{label} has no weights file that segpipe can choose: looked for {looked_for}; it offers {offered}. "
        "Check the name and the revision."
    )
