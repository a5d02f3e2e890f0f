"""Reading the body of an answer: watched, counted and unpacked piece by piece, so that its sender decides nothing."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from segpipe.errors import DownloadError
from segpipe.limits import limit

from .retries import Limits, ShortBodyError, SlowError, TransientError, innermost_reason, parse_count, raised_causes
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

PIECE_BYTES = 2**18
_CODINGS = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 47
"""zlib's `wbits` for either header, with the largest window."""


@dataclass(frozen=True)
class Answer:
    """An answer whose body is still to be read."""

    response: requests.Response
    watchdog: Watchdog
    limits: Limits
    what: str
    """What was asked for, as messages call it."""

    @property
    def status(self) -> int:
        """The status code."""
        return self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Their names are found in any letter case."""
        return self.response.headers

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces as they arrive, each of at most `PIECE_BYTES`.

        Raises:
            TransientError: too slow, cut off, too late, or damaged.
        """
        pieces = self._arriving()
        coding = _coding(self.headers)
        if coding == "identity":
            return pieces
        if coding not in _CODINGS:
            raise DownloadError(
                f"{self.what}: the answer is compressed ({coding[:40]!r}) though it was asked not to be; gzip and "
                "deflate can be read. Check the server, or the proxy."
            )
        return _unpacked(pieces, self.what)

    def _arriving(self) -> Iterator[bytes]:
        limits = self.limits
        error = SlowError(f"{self.what} arrives with less than {limits.min_speed:g} bytes a second.")
        received, counted, most = 0, 0, limit("download_bytes")
        self.watchdog.allow(limits.slow_window, error)
        while piece := self._read_some():
            received += len(piece)
            if received > most:
                raise DownloadError(f"{self.what} has more than {most:,} bytes, the limit here. Check the address.")
            yield piece
            if received - counted >= limits.min_speed * limits.slow_window:
                counted = received
                self.watchdog.allow(limits.slow_window, error)
        # A connection that was shut down ends like a body without a length.
        self.watchdog.check()
        expected = parse_count(self.headers.get("Content-Length", ""))
        if expected is not None and received < expected:
            raise ShortBodyError(f"{self.what}: the answer ended after {received:,} of {expected:,} bytes.")

    def _read_some(self) -> bytes:
        """What has arrived; b"" at the end. Does not wait for a full piece."""
        import http.client

        import requests
        import urllib3

        raw = self.response.raw
        read = getattr(raw, "read1", None) or raw.read
        try:
            return bytes(read(PIECE_BYTES, decode_content=False) or b"")
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, requests.RequestException, OSError) as error:
            self.watchdog.check()
            if any(isinstance(cause, http.client.IncompleteRead) for cause in raised_causes(error)):
                raise ShortBodyError(f"{self.what}: the answer ended before its announced end.") from None
            raise TransientError(f"{self.what}: the connection broke ({innermost_reason(error)}).") from None
        except ValueError:  # http.client on a chunk header that was cut off
            self.watchdog.check()
            raise ShortBodyError(f"{self.what}: the answer ended inside a chunk.") from None


def is_packed(headers: Mapping[str, str]) -> bool:
    """Whether a body is compressed on the way, though it was asked not to be."""
    return _coding(headers) != "identity"


def body_length(headers: Mapping[str, str]) -> int | None:
    """Content-Length of a body that is not compressed on the way, or None."""
    return None if is_packed(headers) else parse_count(headers.get("Content-Length", ""))


def _coding(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Encoding", "").strip().lower() or "identity"


def _unpacked(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The bytes of a gzip or zlib body. However much a piece unpacks to, it comes in small ones."""
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    is_begun = False
    for piece in pieces:
        while piece:
            if decoder.eof:  # gzip may have several members
                decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
            is_begun = True
            try:
                unpacked = decoder.decompress(piece, PIECE_BYTES)
            except zlib.error:
                raise TransientError(f"{what}: the answer is compressed, and not as gzip or zlib do it.") from None
            piece = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if unpacked:
                yield unpacked
    if not is_begun:
        return
    while rest := decoder.decompress(b"", PIECE_BYTES):
        yield rest
    if not decoder.eof:
        raise ShortBodyError(f"{what}: the compressed answer ended before its end.")
