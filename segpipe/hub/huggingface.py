"""Hugging Face as a source of models: its file list and its download addresses."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from segpipe.configuration import Count, Sha256

from .notes import RevisionText
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
        answer = transport.fetch_json(
            url, _Answer, what=what, credentials=self.credentials, advice="Check HF_ENDPOINT."
        )
        return Listing(tuple(self._file(entry, answer.sha) for entry in answer.siblings), answer.sha)

    def _file(self, entry: _Entry, commit: str) -> RemoteFile:
        # By commit, not by branch: the branch may move between the list and the files.
        address = f"{quote(commit, safe='')}/{quote(entry.rfilename)}"
        url = f"{self.endpoint}/{self.name}/resolve/{address}"
        if entry.lfs:
            return RemoteFile(entry.rfilename, url, entry.lfs.size, sha256=entry.lfs.sha256)
        return RemoteFile(entry.rfilename, url, entry.size, git_sha1=entry.blobId)


@dataclass(frozen=True)
class _Large:
    size: Count
    sha256: Sha256


@dataclass(frozen=True)
class _Entry:
    rfilename: str
    size: Count | None = None
    blobId: str | None = None
    lfs: _Large | None = None


@dataclass(frozen=True)
class _Answer:
    sha: RevisionText
    siblings: list[_Entry]


def huggingface_credentials(token: str | None) -> Credentials:
    """Hugging Face takes a bearer token."""
    return Credentials("HF_TOKEN", token)
