"""ModelScope as a source of models: its file list and its download addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from segpipe.errors import DownloadError, ModelNotFoundError

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
        document = transport.fetch_json(url, what=what, credentials=self.credentials)
        entries = _entries(document, what)
        return Listing(tuple(self._file(entry, revision) for entry in entries))

    @property
    def _base(self) -> str:
        return f"{self.endpoint}/api/v1/models/{self.name}/repo"

    def _file(self, entry: dict[str, Any], revision: str) -> RemoteFile:
        path = entry["Path"]
        url = f"{self._base}?Revision={quote_plus(revision)}&FilePath={quote_plus(path, errors='replace')}"
        return RemoteFile(path, url, entry.get("Size"), sha256=entry.get("Sha256") or None)


def modelscope_credentials(token: str | None) -> Credentials:
    """ModelScope takes its token as a bearer token and as a session cookie."""
    return Credentials("MODELSCOPE_API_TOKEN", token, cookie="m_session_id")


def _entries(document: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(document, dict):
        raise DownloadError(f"{what}: the answer is no object. Check MODELSCOPE_ENDPOINT.")
    if document.get("Code") != 200 or not document.get("Success"):
        message = str(document.get("Message"))[:200]
        raise ModelNotFoundError(f"{what}: ModelScope says {message!r}. Check the name and the revision.")
    try:
        files = [entry for entry in document["Data"]["Files"] if entry["Type"] != "tree"]
        return [entry for entry in files if isinstance(entry["Path"], str) and entry["Path"] not in _HIDDEN]
    except (KeyError, TypeError):
        raise DownloadError(f"{what}: the answer has no list of files. Check MODELSCOPE_ENDPOINT.") from None
