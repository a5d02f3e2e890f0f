"""Web servers as sources: a static hub that serves manifests, and the address of a single weights file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from segpipe.atomic import MANIFEST_NAME
from segpipe.errors import ModelNotFoundError
from segpipe.limits import limit

from .manifest import parse_manifest
from .sources import Listing, RemoteFile
from .transport import Credentials, Transport


@dataclass(frozen=True)
class StaticHubSource:
    """A model on a static hub: `<url>/<revision>/manifest.json` and the files that it names."""

    url: str
    """Of the model, without the revision."""
    credentials: Credentials | None = None
    default_revision: str = "main"

    @property
    def label(self) -> str:
        return self.url

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
class WeightsFileSource:
    """One weights file behind a URL, as presets name it. It has no configuration beside it."""

    url: str
    sha256: str | None = None
    credentials: Credentials | None = None
    default_revision: str = "main"

    @property
    def label(self) -> str:
        return self.url

    @property
    def file_name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    def list_files(self, transport: Transport, revision: str) -> Listing:
        start = _digest_in_name(self.file_name)
        return Listing((RemoteFile(self.file_name, self.url, sha256=self.sha256, sha256_start=start),))


def _read_listing(transport: Transport, base: str, label: str) -> Listing:
    url = f"{base}/{MANIFEST_NAME}"
    data = transport.fetch(url, what=f"The manifest of {label}", max_bytes=limit("manifest_bytes"))
    manifest = parse_manifest(data, url)
    files = [RemoteFile(f.path, f"{base}/{quote(f.path)}", f.size, sha256=f.sha256) for f in manifest.files]
    return Listing(tuple(files), manifest.id)


def _digest_in_name(name: str) -> str | None:
    """The first digits of the SHA-256, which PyTorch's and OpenMMLab's file names end with."""
    match = re.search(r"-([0-9a-f]{8,64})\.(?:pt|pth|bin|safetensors)$", name)
    return match[1] if match else None
