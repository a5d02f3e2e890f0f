"""Download files: resumed where possible, their sizes and digests verified, synced to disk, shown as they come."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from segpipe.atomic import fsync_file, storage_errors
from segpipe.errors import DownloadError, IntegrityError
from segpipe.limits import check_limit
from segpipe.log import get_logger
from segpipe.progress_bars import byte_bar

from .connections import Answer, body_length, is_packed
from .http import Credentials, Transport, login_page_hint, shown_url
from .manifest import FileEntry, git_sha1_of, sha256_of
from .origins import RemoteFile, Source
from .partial_downloads import Origin, Part, claim_part
from .retries import Backoff, SlowError, TransientError

logger = get_logger(__name__)

WORKERS = 4
WRONG_BODIES = 2
"""How often a file is asked for again after it came with a wrong size or digest."""
_ENOUGH_PROGRESS = 2**18
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_VERSION = re.compile(r"[\x20-\x7e]{1,200}")


class CancelledError(DownloadError):
    """Another file of the same model failed, so this one is not needed any more."""


def fetch_all(
    source: Source, parts: Path, transport: Transport, files: Sequence[RemoteFile]
) -> list[tuple[Part, FileEntry]]:
    """Fetch files side by side into the folder `parts`.

    The first failure is raised; the other files end with their next bytes, wait or timeout.
    """
    if not files:
        return []
    sizes = [file.size for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    cancelled = threading.Event()
    with byte_bar(source.label, total) as report:
        fetcher = Fetcher(transport, parts, source.label, source.credentials, report, cancelled)
        return _run_all([partial(fetcher.fetch, file) for file in files], cancelled)


@dataclass(frozen=True)
class Fetcher:
    """Fetches files of one model into one folder of parts."""

    transport: Transport
    folder: Path
    label: str
    credentials: Credentials | None = None
    report: Callable[[int], object] = lambda count: None
    """Told of each arrived (or, negative, discarded) number of bytes."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the file is not needed any more."""

    def fetch(self, file: RemoteFile) -> tuple[Part, FileEntry]:
        """Return the finished part and its digest.

        When the rest fails, what arrived is kept for a later run, except bytes that are wrong.
        """
        if file.size is not None:
            check_limit("download_bytes", file.size, f"{file.path} has", error=DownloadError)
        with storage_errors(self.folder, file.size):
            part = claim_part(self.folder, Origin(file.path, shown_url(file.url), file.size, file.digest))
            try:
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
        credentials = None if file.is_elsewhere else self.credentials
        with self.transport.open(
            file.url, what=what, credentials=credentials, headers=_range(part, offset), accept=(200, 206, 416)
        ) as answer:
            self._prepare(answer, file, part, offset)
            self._write_body(answer, file, part, what)

    def _prepare(self, answer: Answer, file: RemoteFile, part: Part, offset: int) -> None:
        """Make the part end where the answer begins."""
        status = answer.status
        if status == 416:
            self._restart(part)
            raise TransientError(f"{file.path}: the server has fewer than {offset:,} bytes of it.", retry_after=0.0)
        if status == 206 and not _continues(answer, file, part.origin, offset):
            self._restart(part)
            raise TransientError(
                f"{file.path}: the server sent another range than asked for, or one of another version.",
                retry_after=0.0,
            )
        if status == 200 and offset:
            # The server ignores ranges, or the file has changed: what follows is the whole file.
            self._restart(part)
        if status == 200 and file.digest is None:
            size = body_length(answer.headers) if file.size is None else file.size
            part.note(replace(part.origin, size=size, version=_version(answer)))

    def _write_body(self, answer: Answer, file: RemoteFile, part: Part, what: str) -> None:
        received = part.size
        expected = part.origin.size if file.size is None else file.size
        with part.append() as handle:
            for piece in answer.pieces():
                self._require_needed(file)
                received += len(piece)
                if expected is None:
                    check_limit("download_bytes", received, f"{what} has at least", error=DownloadError)
                elif received > expected:
                    raise IntegrityError(f"{what}: more than the {expected:,} bytes it should have came.")
                _write_all(handle, piece)
                self.report(len(piece))
        fsync_file(part.path)

    def _require_needed(self, file: RemoteFile) -> None:
        if self.cancelled.is_set():
            raise CancelledError(f"{file.path} of {self.label} is not needed any more, another file failed.")

    def _restart(self, part: Part) -> None:
        self.report(-part.size)
        part.restart()


def _run_all(
    tasks: list[Callable[[], tuple[Part, FileEntry]]], cancelled: threading.Event
) -> list[tuple[Part, FileEntry]]:
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="segpipe-download") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if any(not future.done() or future.exception() for future in futures):
                cancelled.set()
                pool.shutdown(wait=True, cancel_futures=True)
    finished = [future for future in futures if not future.cancelled()]
    errors = [error for future in finished if (error := future.exception())]
    if errors:
        for future in finished:
            if not future.exception():
                future.result()[0].release()
        raise next((error for error in errors if not isinstance(error, CancelledError)), errors[0])
    return [future.result() for future in futures]


def _range(part: Part, offset: int) -> dict[str, str]:
    """Return the headers that ask for the rest; none if nothing would tell whether it is the rest of the same bytes."""
    if not offset:
        return {}
    if part.origin.digest is not None:  # which will tell
        return {"Range": f"bytes={offset}-"}
    if part.origin.version is None:
        return {}
    # It makes the server send the whole file when it has changed.
    return {"Range": f"bytes={offset}-", "If-Range": part.origin.version}


def _continues(answer: Answer, file: RemoteFile, origin: Origin, offset: int) -> bool:
    """Return whether a partial answer is the range that was asked for, of the file that the part is of."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or is_packed(answer.headers):
        return False
    start, end = int(match[1]), int(match[2])
    total = origin.size if match[3] == "*" else int(match[3])
    expected = origin.size if file.size is None else file.size
    if start != offset or start > end or (total is not None and end >= total) or expected not in (None, total):
        return False
    return not offset or file.digest is not None or _version(answer) == origin.version


def _version(answer: Answer) -> str | None:
    """Return what tells the bytes of an answer from those of any other version, or None.

    A weak ETag stands for several versions that are as good as each other, a packed body is not the one that ranges are
    counted in.
    """
    etag = answer.headers.get("ETag")
    version = answer.headers.get("Last-Modified") if etag is None else etag if etag.startswith('"') else None
    return version if version and _VERSION.fullmatch(version) and not is_packed(answer.headers) else None


def _write_all(handle: BinaryIO, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[handle.write(view) :]


def _verified(file: RemoteFile, part: Part, label: str) -> FileEntry:
    """Return the file's entry for the manifest; IntegrityError if size or digest are not as announced."""
    what = f"{file.path} of {label}"
    size = part.size
    hint = login_page_hint(part.head()) if size else "The answer was empty."
    announced = part.origin.size
    if (announced is not None and size != announced) or (size == 0 and announced is None):
        expected = "some" if announced is None else f"{announced:,}"
        problem = "empty response" if not size else f"{size:,} bytes came"
        raise IntegrityError(
            f"{what}: {problem}, {expected} bytes were expected. {hint or 'Try again later.'}",
            path=part.path,
            url=part.origin.url,
        )
    actual = sha256_of(part.path)
    known = file.known_sha256
    if known is not None and not actual.startswith(known):
        raise _wrong_digest(what, "sha256", known, actual, hint)
    if known is None and file.git_sha1 is not None and git_sha1_of(part.path) != file.git_sha1:
        raise _wrong_digest(what, "git sha1", file.git_sha1, git_sha1_of(part.path), hint)
    if file.digest is None and size and hint:
        raise IntegrityError(f"{what} is not a weights file. {hint}", url=part.origin.url)
    return FileEntry(file.path, size, actual)


def _wrong_digest(what: str, kind: str, expected: str, actual: str, hint: str | None) -> IntegrityError:
    advice = hint or "The bytes were thrown away. Try again; if it stays so, the source or a proxy serves another file."
    return IntegrityError(f"{what}: its {kind} is {actual}, expected {expected}. {advice}")
