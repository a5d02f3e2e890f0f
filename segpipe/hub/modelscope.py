"""ModelScope as a source of models: its file list and its download addresses."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote_plus

from segpipe.errors import DownloadError, ModelNotFoundError

from .documents import Count
from .sources import Listing, RemoteFile
from .transport import Credentials, Transport

_HIDDEN = {".gitignore", ".gitattributes"}


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
        answer = transport.fetch_json(
            url, _Answer, what=what, credentials=self.credentials, advice="Check MODELSCOPE_ENDPOINT."
        )
        return Listing(tuple(self._file(entry, revision) for entry in _files(answer, what)))

    @property
    def _base(self) -> str:
        return f"{self.endpoint}/api/v1/models/{self.name}/repo"

    def _file(self, entry: _Entry, revision: str) -> RemoteFile:
        url = f"{self._base}?Revision={quote_plus(revision)}&FilePath={quote_plus(entry.Path)}"
        return RemoteFile(entry.Path, url, entry.Size, sha256=entry.Sha256 or None)


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
    Files: list[_Entry]


@dataclass(frozen=True)
class _Answer:
    Code: int | None = None
    Success: bool | None = None
    Message: str | None = None
    Data: _Data | None = None


def _files(answer: _Answer, what: str) -> list[_Entry]:
    if answer.Code != 200 or not answer.Success:
        said = (answer.Message or "")[:200]
        raise ModelNotFoundError(f"{what}: ModelScope says {said!r}. Check the name and the revision.")
    if answer.Data is None:
        raise DownloadError(f"{what}: the answer has no list of files. Check MODELSCOPE_ENDPOINT.")
    return [entry for entry in answer.Data.Files if entry.Type != "tree" and entry.Path not in _HIDDEN]
