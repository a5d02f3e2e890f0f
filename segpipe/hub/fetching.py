"""Fetching one file into a part: resumed where possible, its size and digest verified, synced to disk."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from segpipe.errors import DownloadError, IntegrityError
from segpipe.log import get_logger

from .manifest import FileEntry, git_sha1_of, sha256_of
from .parts import Origin, Part, claim_part
from .retries import Backoff, SlowError, TransientError
from .sources import RemoteFile
from .storage import storage_errors
from .transport import Credentials, Transport, body_length, login_page_hint, shown_url

if TYPE_CHECKING:
    import requests

logger = get_logger(__name__)

WRONG_BODIES = 2
"""How often a file is asked for again after it came with a wrong size or digest."""
_ENOUGH_PROGRESS = 2**18
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


class CancelledError(DownloadError):
    """Another file of the same model failed, so this one is not needed any more."""


@dataclass(frozen=True)
class Fetcher:
    """Fetches files of one model into one folder of parts."""

    transport: Transport
    folder: Path
    label: str
    credentials: Credentials | None = None
    report: Callable[[int], None] = lambda count: None
    """Told of each arrived (or, negative, discarded) number of bytes."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the file is not needed any more."""

    def fetch(self, file: RemoteFile) -> tuple[Part, FileEntry]:
        """The finished part and its digest.

        When the rest fails, what arrived is kept for a later run, except bytes that are wrong.
        """
        with storage_errors(self.folder, file.size):
            part = claim_part(self.folder, _origin(file))
        try:
            with storage_errors(part.path, file.size):
                self.report(part.size)
            return part, self._fill(file, part)
        except (DownloadError, IntegrityError, KeyboardInterrupt):
            part.release()
            raise
        except BaseException:
            part.discard()
            raise

    def _fill(self, file: RemoteFile, part: Part) -> FileEntry:
        """Ask until the part is whole and right, or the attempts are used up."""
        backoff = self.transport.backoff(self.cancelled.wait)
        wrong = 0
        best = part.size
        while True:
            self._require_needed(file)
            try:
                self._request_rest(file, part, backoff)
                return _verified(file, part, self.label)
            except TransientError as error:
                if part.size - best >= _ENOUGH_PROGRESS and not isinstance(error, SlowError):
                    backoff.reset()
                best = max(best, part.size)
                backoff.pause(error)
            except IntegrityError as error:
                wrong += 1
                self._restart(part)
                if wrong > WRONG_BODIES:
                    raise
                logger.warning("%s Asking for it again.", error)

    def _request_rest(self, file: RemoteFile, part: Part, backoff: Backoff) -> None:
        offset = part.size
        if file.size is not None and offset > file.size:
            self._restart(part)
            offset = 0
        if offset and offset == file.size:
            return
        what = f"{file.path} of {self.label}"
        with self.transport.open(
            file.url, what=what, credentials=self.credentials, headers=_range(part, offset), accept=(200, 206, 416)
        ) as response:
            self._prepare(response, file, part, offset)
            self._write_body(response, file, part, what)

    def _prepare(self, response: requests.Response, file: RemoteFile, part: Part, offset: int) -> None:
        """Make the part end where the answer begins."""
        status = response.status_code
        if status == 416:
            self._restart(part)
            raise TransientError(f"{file.path}: the server has fewer than {offset:,} bytes of it.", retry_after=0.0)
        if status == 206 and not _continues(response, file, offset):
            self._restart(part)
            raise TransientError(f"{file.path}: the server sent another range than asked for.", retry_after=0.0)
        if status == 200 and offset:
            # The server ignores ranges, or the file has changed: what follows is the whole file.
            self._restart(part)
        if file.digest is None:
            with storage_errors(part.path):
                part.note(_announced(response, file, part.origin))

    def _write_body(self, response: requests.Response, file: RemoteFile, part: Part, what: str) -> None:
        received = part.size
        with storage_errors(part.path, file.size):
            handle = part.append()
        with handle:
            for piece in self.transport.read_body(response, what=what):
                self._require_needed(file)
                received += len(piece)
                if file.size is not None and received > file.size:
                    raise IntegrityError(f"{what}: more than the {file.size:,} bytes it should have came.")
                with storage_errors(part.path, file.size):
                    _write_all(handle, piece)
                self.report(len(piece))
            with storage_errors(part.path, file.size):
                os.fsync(handle.fileno())

    def _require_needed(self, file: RemoteFile) -> None:
        if self.cancelled.is_set():
            raise CancelledError(f"{file.path} of {self.label} is not needed any more, another file failed.")

    def _restart(self, part: Part) -> None:
        with storage_errors(part.path):
            self.report(-part.size)
            part.restart()


def _origin(file: RemoteFile) -> Origin:
    return Origin(file.path, shown_url(file.url), file.size, file.digest)


def _range(part: Part, offset: int) -> dict[str, str]:
    if not offset:
        return {}
    etag = part.origin.etag
    # If-Range makes the server send the whole file when it has changed; a digest sees that without it.
    condition = {"If-Range": etag} if etag and part.origin.digest is None else {}
    return {"Range": f"bytes={offset}-", **condition}


def _continues(response: requests.Response, file: RemoteFile, offset: int) -> bool:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != offset:
        return False
    return file.size is None or match[2] in ("*", str(file.size))


def _announced(response: requests.Response, file: RemoteFile, origin: Origin) -> Origin:
    """The origin with the size and the strong ETag of an answer; a range may leave out the size told before."""
    size = _total(response) if file.size is None else file.size
    if size is None and response.status_code == 206:
        size = origin.size
    etag = response.headers.get("ETag", "")
    return replace(origin, size=size, etag=etag if etag.startswith('"') else None)


def _total(response: requests.Response) -> int | None:
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match and match[2] != "*":
        return int(match[2])
    return body_length(response)


def _write_all(handle: BinaryIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[handle.write(view) :]


def _verified(file: RemoteFile, part: Part, label: str) -> FileEntry:
    """The file's entry for the manifest; IntegrityError when size or digest are not as announced."""
    what = f"{file.path} of {label}"
    size = part.size
    hint = login_page_hint(part.head()) if size else "The answer was empty."
    announced = part.origin.size
    if (announced is not None and size != announced) or (size == 0 and announced is None):
        expected = "some" if announced is None else f"{announced:,}"
        problem = "empty response" if not size else f"{size:,} bytes came"
        raise IntegrityError(f"{what}: {problem}, {expected} bytes were expected. {hint or 'Try again later.'}")
    actual = sha256_of(part.path)
    known = file.known_sha256
    if known is not None and not actual.startswith(known):
        raise _wrong_digest(what, "sha256", known, actual, hint)
    if known is None and file.git_sha1 is not None and git_sha1_of(part.path) != file.git_sha1:
        raise _wrong_digest(what, "git sha1", file.git_sha1, git_sha1_of(part.path), hint)
    if file.digest is None and size and hint:
        raise IntegrityError(f"{what} is no weights file. {hint}")
    return FileEntry(file.path, size, actual)


def _wrong_digest(what: str, kind: str, expected: str, actual: str, hint: str | None) -> IntegrityError:
    advice = hint or "The bytes were thrown away. Try again; if it stays so, the source or a proxy serves another file."
    return IntegrityError(f"{what}: its {kind} is {actual}, expected {expected}. {advice}")
