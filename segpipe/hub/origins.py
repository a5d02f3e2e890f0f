"""Where models come from: what every source offers, static web hubs, Hugging Face and ModelScope.

A source lists the files of a revision with their sizes and digests, and says where to get them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, quote_plus

from segpipe.atomic import MANIFEST_NAME
from segpipe.configuration import Count, Sha256
from segpipe.errors import DownloadError, ModelNotFoundError
from segpipe.limits import limit

from .http import Credentials, Transport
from .manifest import parse_manifest
from .references import RevisionText

DATA = "modelscope-data"
"""What stands before a data set's name where a model's has its source."""
PAGE = 200
"""Entries of a data set's file list that are asked for at a time; the server may send fewer."""
PAGES = 1000
"""How often more is asked for."""
_HIDDEN = {".gitignore", ".gitattributes"}
_ADVICE = "Check MODELSCOPE_ENDPOINT."


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
        """Refuse what cannot be true: an empty digest would fit any file."""
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
            "Check the address of the source, or try again later.",
            key=self.path,
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


@dataclass(frozen=True)
class _WebSource:
    """What lies behind an address that its user gave."""

    url: str
    credentials = None
    default_revision = "main"

    @property
    def label(self) -> str:
        return self.url


class StaticHubSource(_WebSource):
    """A model on a static hub: `<url>/<revision>/manifest.json` and the files that it names."""

    def list_files(self, transport: Transport, revision: str) -> Listing:
        base = f"{self.url}/{quote(revision)}"
        try:
            return _read_listing(transport, base, self.label)
        except ModelNotFoundError:
            if revision != self.default_revision:
                raise
        # A folder put on a web server as it is, without revisions.
        return _read_listing(transport, self.url, self.label)


@dataclass(frozen=True)
class WeightsFileSource(_WebSource):
    """One weights file behind a URL, as presets name it. It has no configuration beside it."""

    sha256: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def list_files(self, transport: Transport, revision: str) -> Listing:
        # The names of PyTorch's and OpenMMLab's files end with the first digits of their SHA-256.
        match = re.search(r"-([0-9a-f]{8,64})\.(?:pt|pth|bin|safetensors)$", self.file_name)
        start = match[1] if match else None
        return Listing((RemoteFile(self.file_name, self.url, sha256=self.sha256, sha256_start=start),))


@dataclass(frozen=True)
class Repository:
    """A repository on Hugging Face or ModelScope."""

    name: str
    """owner/name"""
    endpoint: str
    credentials: Credentials
    kind = "modelscope"
    """What stands before its name."""
    default_revision = "master"

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.name}"


class HuggingFaceSource(Repository):
    """A model on Hugging Face."""

    kind = "hf"
    default_revision = "main"

    def list_files(self, transport: Transport, revision: str) -> Listing:
        what = f"The file list of {self.label}@{revision}"
        url = f"{self.endpoint}/api/models/{self.name}/revision/{quote(revision, safe='')}?blobs=true"
        answer = transport.fetch_json(
            url, _Revision, what=what, credentials=self.credentials, advice="Check HF_ENDPOINT."
        )
        return Listing(tuple(self._file(entry, answer.sha) for entry in answer.siblings), answer.sha)

    def _file(self, entry: _Sibling, commit: str) -> RemoteFile:
        # By commit, not by branch: the branch may move between the list and the files.
        address = f"{quote(commit, safe='')}/{quote(entry.rfilename)}"
        url = f"{self.endpoint}/{self.name}/resolve/{address}"
        if entry.lfs:
            return RemoteFile(entry.rfilename, url, entry.lfs.size, sha256=entry.lfs.sha256)
        return RemoteFile(entry.rfilename, url, entry.size, git_sha1=entry.blobId)


class ModelScopeSource(Repository):
    """A model on ModelScope."""

    def list_files(self, transport: Transport, revision: str) -> Listing:
        what = f"The file list of {self.label}@{revision}"
        base = f"{self.endpoint}/api/v1/models/{self.name}/repo"
        url = f"{base}/files?Revision={quote_plus(revision)}&Recursive=True"
        answer = transport.fetch_json(url, _Answer, what=what, credentials=self.credentials, advice=_ADVICE)
        return Listing(tuple(entry.file(f"{base}?", revision) for entry in _files(answer, what) if entry.is_file))


class ModelScopeDataSource(Repository):
    """A data set on ModelScope.

    Small files are in its repository, as a model's are. Large ones may be attached to it: they have signed addresses on
    another server, and no digest.
    """

    kind = DATA

    def list_files(self, transport: Transport, revision: str) -> Listing:
        files = {file.path: file for file in self._in_repository(transport, revision)}
        for file in self._attached(transport, revision):
            files.setdefault(file.path, file)
        return Listing(tuple(files.values()))

    @property
    def _base(self) -> str:
        return f"{self.endpoint}/api/v1/datasets/{self.name}"

    def _in_repository(self, transport: Transport, revision: str) -> Iterator[RemoteFile]:
        """Ask page by page, until one has nothing new: the server decides how long a page is."""
        what = f"The file list of {self.label}@{revision}"
        url = f"{self._base}/repo/tree?Revision={quote_plus(revision)}&Root=%2F&Recursive=True&PageSize={PAGE}"
        seen: set[str] = set()
        for page in range(1, PAGES + 1):
            answer = transport.fetch_json(
                f"{url}&PageNumber={page}", _Answer, what=what, credentials=self.credentials, advice=_ADVICE
            )
            new = [entry for entry in _files(answer, what) if entry.Path not in seen]
            seen.update(entry.Path for entry in new)
            if not new or len(seen) > limit("listed_files"):
                return
            yield from (entry.file(f"{self._base}/repo?Source=SDK&", revision) for entry in new if entry.is_file)
        raise DownloadError(f"{what} has more than {PAGES:,} pages. Check the name; it may be too large for segpipe.")

    def _attached(self, transport: Transport, revision: str) -> Iterator[RemoteFile]:
        what = f"The list of files attached to {self.label}@{revision}"
        url = f"{self._base}/oss/tree/?MaxLimit=-1&Revision={quote_plus(revision)}&Recursive=True&FilterDir=True"
        try:
            answer = transport.fetch_json(url, _Attached, what=what, credentials=self.credentials, advice=_ADVICE)
        except ModelNotFoundError:
            return
        for entry in answer.Data or ():
            address = entry.Url
            if self.endpoint.startswith("https://"):  # a signature holds for both schemes
                address = address.replace("http://", "https://", 1)
            is_elsewhere = not address.startswith(f"{self.endpoint}/")
            yield RemoteFile(entry.Key, address, entry.Size, is_elsewhere=is_elsewhere)


def huggingface_credentials(token: str | None) -> Credentials:
    """Return what Hugging Face takes: a bearer token."""
    return Credentials("HF_TOKEN", token)


def modelscope_credentials(token: str | None) -> Credentials:
    """Return what ModelScope takes: a bearer token, which is a session cookie, too."""
    return Credentials("MODELSCOPE_API_TOKEN", token, cookie="m_session_id")


def _is_hexadecimal(text: object, digits: int) -> bool:
    return isinstance(text, str) and len(text) == digits and set(text) <= set("0123456789abcdef")


def _read_listing(transport: Transport, base: str, label: str) -> Listing:
    url = f"{base}/{MANIFEST_NAME}"
    data = transport.fetch(url, what=f"The manifest of {label}", max_bytes=limit("manifest_bytes"))
    manifest = parse_manifest(data, url)
    files = [RemoteFile(f.path, f"{base}/{quote(f.path)}", f.size, sha256=f.sha256) for f in manifest.files]
    return Listing(tuple(files), manifest.id)


@dataclass(frozen=True)
class _Large:
    size: Count
    sha256: Sha256


@dataclass(frozen=True)
class _Sibling:
    rfilename: str
    size: Count | None = None
    blobId: str | None = None
    lfs: _Large | None = None


@dataclass(frozen=True)
class _Revision:
    sha: RevisionText
    siblings: list[_Sibling]


@dataclass(frozen=True)
class _Entry:
    """A file or a folder in a repository on ModelScope."""

    Type: str
    Path: str
    Size: Count | None = None
    Sha256: str | None = None

    @property
    def is_file(self) -> bool:
        return self.Type != "tree" and self.Path not in _HIDDEN

    def file(self, address: str, revision: str) -> RemoteFile:
        url = f"{address}Revision={quote_plus(revision)}&FilePath={quote_plus(self.Path)}"
        return RemoteFile(self.Path, url, self.Size, sha256=self.Sha256 or None)


@dataclass(frozen=True)
class _Data:
    Files: list[_Entry] | None = None


@dataclass(frozen=True)
class _Answer:
    Code: int | None = None
    Success: bool | None = None
    Message: str | None = None
    Data: _Data | None = None


@dataclass(frozen=True)
class _Attachment:
    Key: str
    Url: str
    Size: Count | None = None


@dataclass(frozen=True)
class _Attached:
    Data: list[_Attachment] | None = None


def _files(answer: _Answer, what: str) -> list[_Entry]:
    """Return the files and folders of an answer; DownloadError where it has none."""
    if answer.Code != 200 or not answer.Success:
        said = (answer.Message or "")[:200]
        raise ModelNotFoundError(f"{what}: ModelScope says {said!r}. Check the name and the revision.")
    if answer.Data is None:
        raise DownloadError(f"{what}: the answer has no list of files. {_ADVICE}")
    return answer.Data.Files or []
