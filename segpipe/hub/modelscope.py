"""ModelScope as a source of models and of data sets: its file lists and its download addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote_plus

from segpipe.configuration import Count
from segpipe.errors import DownloadError, ModelNotFoundError
from segpipe.limits import limit

from .sources import Listing, RemoteFile
from .transport import Credentials, Transport

DATA = "modelscope-data"
"""What stands before a data set's name where a model's has its source."""
PAGE = 200
"""Entries of a data set's file list that are asked for at a time; the server may send fewer."""
PAGES = 1000
"""How often more is asked for."""
_HIDDEN = {".gitignore", ".gitattributes"}
_ADVICE = "Check MODELSCOPE_ENDPOINT."


@dataclass(frozen=True)
class ModelScopeSource:
    """A model on ModelScope."""

    name: str
    """owner/name"""
    endpoint: str
    credentials: Credentials
    default_revision: str = "master"

    @property
    def label(self) -> str:
        return f"modelscope:{self.name}"

    def list_files(self, transport: Transport, revision: str) -> Listing:
        what = f"The file list of {self.label}@{revision}"
        url = f"{self._base}/files?Revision={quote_plus(revision)}&Recursive=True"
        answer = transport.fetch_json(url, _Answer, what=what, credentials=self.credentials, advice=_ADVICE)
        return Listing(tuple(self._file(entry, revision) for entry in _files(answer, what)))

    @property
    def _base(self) -> str:
        return f"{self.endpoint}/api/v1/models/{self.name}/repo"

    def _file(self, entry: _Entry, revision: str) -> RemoteFile:
        url = f"{self._base}?Revision={quote_plus(revision)}&FilePath={quote_plus(entry.Path)}"
        return RemoteFile(entry.Path, url, entry.Size, sha256=entry.Sha256 or None)


@dataclass(frozen=True)
class ModelScopeDataSource:
    """A data set on ModelScope.

    Small files are in its repository, as a model's are. Large ones may be attached to it: they have signed addresses on
    another server, and no digest.
    """

    name: str
    """owner/name"""
    endpoint: str
    credentials: Credentials
    default_revision: str = "master"

    @property
    def label(self) -> str:
        return f"{DATA}:{self.name}"

    def list_files(self, transport: Transport, revision: str) -> Listing:
        files = {file.path: file for file in self._in_repository(transport, revision)}
        for file in self._attached(transport, revision):
            files.setdefault(file.path, file)
        return Listing(tuple(files.values()))

    @property
    def _base(self) -> str:
        return f"{self.endpoint}/api/v1/datasets/{self.name}"

    def _in_repository(self, transport: Transport, revision: str) -> Iterator[RemoteFile]:
        """Ask page by page, until one has nothing new: how long a page is, the server decides."""
        what = f"The file list of {self.label}@{revision}"
        url = f"{self._base}/repo/tree?Revision={quote_plus(revision)}&Root=%2F&Recursive=True&PageSize={PAGE}"
        seen: set[str] = set()
        for page in range(1, PAGES + 1):
            answer = transport.fetch_json(
                f"{url}&PageNumber={page}", _Answer, what=what, credentials=self.credentials, advice=_ADVICE
            )
            new = [entry for entry in _files(answer, what, with_folders=True) if entry.Path not in seen]
            seen.update(entry.Path for entry in new)
            if not new or len(seen) > limit("listed_files"):
                return
            yield from (self._file(entry, revision) for entry in new if _is_file(entry))
        raise DownloadError(f"{what} has more than {PAGES:,} pages. Check the name; it may be too large for segpipe.")

    def _file(self, entry: _Entry, revision: str) -> RemoteFile:
        url = f"{self._base}/repo?Source=SDK&Revision={quote_plus(revision)}&FilePath={quote_plus(entry.Path)}"
        return RemoteFile(entry.Path, url, entry.Size, sha256=entry.Sha256 or None)

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


def modelscope_credentials(token: str | None) -> Credentials:
    """ModelScope takes its token as a bearer token and as a session cookie."""
    return Credentials("MODELSCOPE_API_TOKEN", token, cookie="m_session_id")


@dataclass(frozen=True)
class _Entry:
    Type: str
    Path: str
    Size: Count | None = None
    Sha256: str | None = None


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


def _files(answer: _Answer, what: str, *, with_folders: bool = False) -> list[_Entry]:
    if answer.Code != 200 or not answer.Success:
        said = (answer.Message or "")[:200]
        raise ModelNotFoundError(f"{what}: ModelScope says {said!r}. Check the name and the revision.")
    if answer.Data is None:
        raise DownloadError(f"{what}: the answer has no list of files. Check MODELSCOPE_ENDPOINT.")
    return [entry for entry in answer.Data.Files or () if with_folders or _is_file(entry)]


def _is_file(entry: _Entry) -> bool:
    return entry.Type != "tree" and entry.Path not in _HIDDEN
