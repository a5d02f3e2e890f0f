"""Hugging Face as a source of models: its file list and its download addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from segpipe.errors import DownloadError

from .sources import Listing, RemoteFile
from .transport import Credentials, Transport


@dataclass(frozen=True)
class HuggingFaceSource:
    """A model on Hugging Face."""

    name: str
    """owner/name"""
    endpoint: str
    credentials: Credentials
    default_revision: str = "main"

    @property
    def label(self) -> str:
        return f"hf:{self.name}"

    def list_files(self, transport: Transport, revision: str) -> Listing:
        what = f"The file list of {self.label}@{revision}"
        url = f"{self.endpoint}/api/models/{self.name}/revision/{quote(revision, safe='')}?blobs=true"
        document = transport.fetch_json(url, what=what, credentials=self.credentials)
        try:
            commit = str(document["sha"])
            files = tuple(self._file(entry, commit) for entry in document["siblings"])
        except (KeyError, TypeError, AttributeError):
            raise DownloadError(f"{what}: the answer has no list of files. Check HF_ENDPOINT.") from None
        return Listing(files, commit)

    def _file(self, entry: dict[str, Any], commit: str) -> RemoteFile:
        path = str(entry["rfilename"])
        # By commit, not by branch: the branch may move between the list and the files.
        url = f"{self.endpoint}/{self.name}/resolve/{quote(commit, safe='')}/{quote(path, errors='replace')}"
        large = entry.get("lfs")
        if large:
            return RemoteFile(path, url, large["size"], sha256=str(large["sha256"]))
        return RemoteFile(path, url, entry.get("size"), git_sha1=entry.get("blobId"))


def huggingface_credentials(token: str | None) -> Credentials:
    """Hugging Face takes a bearer token."""
    return Credentials("HF_TOKEN", token)
