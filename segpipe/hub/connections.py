"""One request on a connection of its own: sent, watched until its deadline, its body counted and unpacked.

What a server sends decides neither how long a request takes nor how much memory it needs.
"""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from segpipe import __version__
from segpipe.errors import DownloadError
from segpipe.limits import limit

from .retries import Limits, ShortBodyError, SlowError, TransientError, innermost_reason, parse_count, raised_causes

if TYPE_CHECKING:
    import requests

PIECE_BYTES = 2**18
_CODINGS = {"gzip", "x-gzip", "deflate"}
_GZIP_OR_ZLIB = 47
"""zlib's `wbits` for either header, with the largest window."""

Connected = Callable[[socket.socket], object]


def send_request(
    url: str,
    *,
    headers: Mapping[str, str],
    auth: Callable[[requests.PreparedRequest], requests.PreparedRequest] | None,
    timeout: tuple[float, float],
    connected: Connected,
) -> requests.Response:
    """Send a GET request and return the answer, whose body is unread. A redirect is an answer like any other.

    `requests.Session.send` reads the whole body of a redirect even when it is told not to follow it. So it is not used.

    Args:
        headers: besides our own.
        auth: signs the request.
        timeout: (to connect to one address, between two bytes), in seconds.
        connected: gets the connection as soon as there is one, before TLS and before a proxy has answered.
    """
    import requests

    session = requests.Session()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    session.headers.update(
        {
            "User-Agent": f"segpipe/{__version__} python/{python}",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
    )
    request = session.prepare_request(requests.Request("GET", url, headers=dict(headers), auth=auth))
    settings = session.merge_environment_settings(str(request.url), {}, True, None, None)
    response: requests.Response = _telling_adapter(connected).send(request, timeout=timeout, **settings)
    return response


class Watchdog:
    """Shuts a connection down when its time is up.

    The timeout of a socket starts again with each byte, so a peer that drips holds its reader for as long as it likes.
    Shutting a socket down wakes the thread that reads from it; closing it from another thread does not.

    Args:
        deadline: a time of `time.monotonic`, which `allow` does not extend.
        error: what `check` raises after it.
    """

    def __init__(self, deadline: float = math.inf, error: TransientError | None = None) -> None:
        self._deadline = self._until = deadline
        self._final = self._error = error
        self._socket: socket.socket | None = None
        self._is_late = self._is_over = False
        self._changed = threading.Condition()

    def allow(self, seconds: float, error: TransientError) -> None:
        """Give the connection this long from now. `check` raises `error` when that was not enough."""
        with self._changed:
            until = time.monotonic() + seconds
            is_sooner = until < self._until
            if self._is_late:
                return
            self._until = min(until, self._deadline)
            self._error = error if until < self._deadline else self._final
            if is_sooner:
                self._changed.notify()

    def guard(self, connection: socket.socket) -> None:
        """Watch this connection instead of the one before."""
        with self._changed:
            self._drop()
            # A duplicate stays valid when the connection is wrapped in TLS, and cannot become another one when it is
            # closed and its number is used again.
            self._socket = connection.dup()
            if self._is_late:
                self._shut_down()

    def check(self) -> None:
        """Raise the error if the time was up."""
        if self._is_late and self._error is not None:
            raise self._error

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, name="segpipe-watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._drop()
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while not self._is_over:
                left = self._until - time.monotonic()
                if left <= 0:
                    self._is_late = True
                    self._shut_down()
                    return
                self._changed.wait(min(left, threading.TIMEOUT_MAX))

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is not connected any more
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


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
        """The headers; their names are found in any letter case."""
        return self.response.headers

    def pieces(self) -> Iterator[bytes]:
        """Return the body in pieces as they arrive, each of at most `PIECE_BYTES`.

        Raises:
            TransientError: it is too slow, cut off, too late or damaged.
        """
        pieces = self._arriving()
        coding = _coding(self.headers)
        if coding == "identity":
            return pieces
        if coding not in _CODINGS:
            raise DownloadError(
                f"{self.what}: the answer is compressed ({coding[:40]!r}) though it was asked not to be; gzip and "
                "deflate can be read. Check the server, or the proxy.",
                status=self.status,
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
        """Return what has arrived without waiting for a full piece; b"" at the end."""
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
    """Return whether a body is compressed on the way, though it was asked not to be."""
    return _coding(headers) != "identity"


def body_length(headers: Mapping[str, str]) -> int | None:
    """Return the Content-Length of a body that is not compressed on the way, or None."""
    return None if is_packed(headers) else parse_count(headers.get("Content-Length", ""))


def _telling_adapter(connected: Connected) -> Any:
    """Return an adapter that passes on each connection that it makes, with and without TLS or a SOCKS proxy."""
    from requests.adapters import HTTPAdapter

    def telling(kind: Any) -> Any:
        class Telling(kind):
            def _new_conn(self) -> Any:
                made = super()._new_conn()
                connected(made)
                return made

        return Telling

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
            pool = super().get_connection_with_tls_context(*args, **options)
            pool.ConnectionCls = telling(pool.ConnectionCls)
            return pool

    return Adapter(pool_connections=1, pool_maxsize=1)


def _coding(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Encoding", "").strip().lower() or "identity"


def _unpacked(pieces: Iterable[bytes], what: str) -> Iterator[bytes]:
    """Yield the bytes of a gzip or zlib body. However much a piece unpacks to, it comes in small ones."""
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
