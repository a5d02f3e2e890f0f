"""HTTP as the hub needs it: typed errors, checked redirects, retries, minimum speed, no socket when offline."""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from segpipe.errors import AccessDeniedError, DownloadError, ModelNotFoundError, OfflineError

from .retries import (
    Backoff,
    Limits,
    ShortBodyError,
    SlowError,
    TransientError,
    UnknownHostError,
    parse_count,
    parse_retry_after,
)

if TYPE_CHECKING:
    import requests

CHUNK_BYTES = 2**18
MAX_JSON_BYTES = 64 * 2**20
_REDIRECTS = {301, 302, 303, 307, 308}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Credentials:
    """A token and the variable that it comes from; it is sent to the first host alone."""

    variable: str
    token: str | None = field(default=None, repr=False)
    cookie: str | None = None
    """Name of a cookie that carries the token as well."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a prepared request (this is how `requests` takes its `auth`)."""
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"
            if self.cookie:
                request.headers["Cookie"] = f"{self.cookie}={self.token}"
        return request


class Transport:
    """Makes GET requests. Proxies, CA bundles and .netrc are read from the environment, as `requests` does.

    Args:
        offline_reason: why no request may be made, e.g. "SEGPIPE_OFFLINE is set"; None when it may.
        sleep, clock, jitter: for tests.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        offline_reason: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.limits = limits or Limits()
        self.offline_reason = offline_reason
        self.clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._local = threading.local()

    def backoff(self, sleep: Callable[[float], object] | None = None) -> Backoff:
        """A new count of attempts, which waits by `sleep`."""
        return Backoff(self.limits, sleep or self._sleep, self.clock, self._jitter)

    def fetch(
        self, url: str, *, what: str, credentials: Credentials | None = None, max_bytes: int = MAX_JSON_BYTES
    ) -> bytes:
        """The body behind a URL, with retries; DownloadError when it has more than `max_bytes`."""
        backoff = self.backoff()
        while True:
            try:
                return self._fetch_once(url, what, credentials, max_bytes, backoff.started + self.limits.deadline)
            except TransientError as error:
                backoff.pause(error)

    def fetch_json(self, url: str, *, what: str, credentials: Credentials | None = None) -> Any:
        """The JSON document behind a URL; a login page or the like is a DownloadError."""
        data = self.fetch(url, what=what, credentials=credentials)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            hint = login_page_hint(data) or "Check the address."
            raise DownloadError(f"{what}: {shown_url(url)} did not answer with JSON. {hint}") from None

    @contextmanager
    def open(
        self,
        url: str,
        *,
        what: str,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
    ) -> Iterator[requests.Response]:
        """One request, redirects followed; the body is still to be read. Other statuses than `accept` raise."""
        if self.offline_reason:
            raise OfflineError(f"{what} would need a request to {shown_url(url)} and {self.offline_reason}.")
        response = self._follow(url, what, credentials, dict(headers or {}))
        try:
            if response.status_code not in accept:
                raise _status_error(response, what, credentials)
            yield response
        finally:
            response.close()

    def read_body(self, response: requests.Response, *, what: str, until: float | None = None) -> Iterator[bytes]:
        """The body in pieces as they arrive. Too slow, cut off or past `until` (a clock time): TransientError."""
        expected = body_length(response)
        received = 0
        window_start, window_bytes = self.clock(), 0
        while piece := _read_some(response, what):
            received += len(piece)
            window_bytes += len(piece)
            yield piece
            now = self.clock()
            if until is not None and now > until:
                raise TransientError(f"{what} took longer than {self.limits.deadline:g} s.", retry_after=float("inf"))
            if now - window_start >= self.limits.slow_window:
                if window_bytes < self.limits.min_speed * (now - window_start):
                    raise SlowError(f"{what} arrives with less than {self.limits.min_speed:g} bytes a second.")
                window_start, window_bytes = now, 0
        if expected is not None and received < expected:
            raise ShortBodyError(f"{what}: the answer ended after {received:,} of {expected:,} bytes.")

    def _fetch_once(self, url: str, what: str, credentials: Credentials | None, max_bytes: int, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        with self.open(url, what=what, credentials=credentials) as response:
            for piece in self.read_body(response, what=what, until=until):
                size += len(piece)
                if size > max_bytes:
                    raise DownloadError(f"{what}: {shown_url(url)} has more than {max_bytes:,} bytes, the limit here.")
                parts.append(piece)
        return b"".join(parts)

    def _follow(
        self, url: str, what: str, credentials: Credentials | None, headers: dict[str, str]
    ) -> requests.Response:
        session = self._session()
        for _ in range(self.limits.max_redirects + 1):
            response = _get(session, url, what, headers=headers, credentials=credentials, limits=self.limits)
            target = session.get_redirect_target(response) if response.status_code in _REDIRECTS else None
            if target is None:
                return response
            response.close()
            target = _joined(url, target)
            _check_redirect(url, target, what)
            if _origin(target) != _origin(url):
                credentials = None
            url = target
        raise DownloadError(f"{what}: more than {self.limits.max_redirects} redirects. Check the address.")

    def _session(self) -> requests.Session:
        """One per thread: a session is not made for sharing."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = _new_session()
        return session


def fetch_bytes(
    url: str,
    *,
    timeout: tuple[float, float] = (10.0, 30.0),
    max_bytes: int = 100 * 2**20,
    deadline: float = 60.0,
    offline: bool | None = None,
) -> bytes:
    """The bytes behind an http or https URL, e.g. a picture; DownloadError says why there are none.

    Args:
        timeout: (to connect, without a byte), in seconds.
        deadline: in seconds, looked at before each attempt and when bytes of the body come: a silent server adds at
            most one timeout, headers that trickle in are not cut short.
        offline: None: as SEGPIPE_OFFLINE says.
    """
    from .settings import read_settings

    reason = "SEGPIPE_OFFLINE is set" if read_settings(offline=offline).offline else None
    if _parts(url).scheme not in ("http", "https"):
        raise DownloadError(f"{shown_url(url)!r} is not a web address. It needs http:// or https://.")
    connect, read = min(timeout[0], deadline), min(timeout[1], deadline)
    limits = replace(Limits(), connect_timeout=connect, read_timeout=read, deadline=deadline, attempts=3)
    transport = Transport(limits, offline_reason=reason)
    return transport.fetch(url, what=f"The download of {shown_url(url)}", max_bytes=max_bytes)


def shown_url(url: str) -> str:
    """A URL for messages: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:
        return "a malformed URL"


def body_length(response: requests.Response) -> int | None:
    """Content-Length of a body that is not compressed on the way, or None."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return None
    return parse_count(response.headers.get("Content-Length", ""))


def login_page_hint(head: bytes) -> str | None:
    """What to say when the bytes look like a web page instead of a file."""
    start = head[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "It looks like a web page: perhaps a login page or a proxy answers. Check the network and HTTPS_PROXY."
    return None


def _new_session() -> requests.Session:
    from http.cookiejar import DefaultCookiePolicy

    import requests

    from segpipe import __version__

    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    session.headers.update({"User-Agent": f"segpipe/{__version__} python/{python}", "Accept-Encoding": "identity"})
    return session


def _get(
    session: requests.Session,
    url: str,
    what: str,
    *,
    headers: dict[str, str],
    credentials: Credentials | None,
    limits: Limits,
) -> requests.Response:
    import requests

    timeout = (limits.connect_timeout, limits.read_timeout)
    auth = credentials if credentials is not None and credentials.token else None
    try:
        return session.get(url, headers=headers, auth=auth, timeout=timeout, stream=True, allow_redirects=False)
    except requests.exceptions.SSLError as error:
        raise DownloadError(
            f"{what}: the certificate of {urlsplit(url).hostname} is not trusted ({_reason(error)}). "
            "Behind a company's proxy, point REQUESTS_CA_BUNDLE at its certificate."
        ) from None
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        is_unknown = any(isinstance(cause, socket.gaierror) for cause in _causes(error))
        kind = UnknownHostError if is_unknown else TransientError
        raise kind(f"{what}: no answer from {urlsplit(url).hostname} ({_reason(error)}).") from None
    except (requests.exceptions.RequestException, ValueError) as error:  # ValueError: a malformed redirect
        raise DownloadError(f"{what}: {shown_url(url)} cannot be asked ({type(error).__name__}).") from None


def _read_some(response: requests.Response, what: str) -> bytes:
    """What has arrived, at most CHUNK_BYTES; b"" at the end. Does not wait for a full piece, so speed can be seen."""
    import http.client

    import requests
    import urllib3

    raw = response.raw
    read = getattr(raw, "read1", None) or raw.read
    try:
        return bytes(read(CHUNK_BYTES, decode_content=True))
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, requests.RequestException, OSError) as error:
        causes = _causes(error)
        if any(isinstance(cause, http.client.IncompleteRead) for cause in causes):
            raise ShortBodyError(f"{what}: the answer ended before its announced end.") from None
        raise TransientError(f"{what}: the connection broke ({_reason(error)}).") from None
    except ValueError:  # http.client on a chunk header that was cut off
        raise ShortBodyError(f"{what}: the answer ended inside a chunk.") from None


def _check_redirect(url: str, target: str, what: str) -> None:
    scheme, target_scheme = _parts(url).scheme, _parts(target).scheme
    if target_scheme not in ("http", "https") or (scheme == "https" and target_scheme == "http"):
        raise DownloadError(
            f"{what}: {shown_url(url)} redirects to {shown_url(target)}, which is not as secure. "
            "It would need https. Check the address or the proxy."
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # both may be malformed as well
    except ValueError:
        raise DownloadError("A malformed URL was given, or redirected to. Check the address.") from None
    return parts


def _joined(url: str, target: str) -> str:
    _parts(target)
    return urljoin(url, target)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = _parts(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _status_error(response: requests.Response, what: str, credentials: Credentials | None) -> DownloadError:
    status = response.status_code
    code = response.headers.get("X-Error-Code", "")
    at = f"{what}: {shown_url(response.url)} answered {status}"
    if status in _TRANSIENT:
        return TransientError(f"{at}.", parse_retry_after(response.headers.get("Retry-After")))
    if status in (404, 410) or code in ("RepoNotFound", "RevisionNotFound", "EntryNotFound"):
        advice = "Check the name and the revision." if credentials else "Check the address."
        return ModelNotFoundError(f"{f'{at} {code}'.rstrip()}. {advice}{_token_hint(credentials)}")
    if code == "GatedRepo":
        return AccessDeniedError(f"{at} GatedRepo. Accept the model's terms on its page.{_token_hint(credentials)}")
    if status in (401, 403):
        return AccessDeniedError(f"{at}. It needs permission, or does not exist.{_token_hint(credentials)}")
    if status == 407:
        return AccessDeniedError(f"{at}: the proxy wants a password. Put it into HTTPS_PROXY.")
    return DownloadError(f"{at}, which segpipe cannot use. Check the address.")


def _token_hint(credentials: Credentials | None) -> str:
    if credentials is None:
        return ""
    if credentials.token:
        return f" The token in {credentials.variable} was sent."
    return f" For a private model, set {credentials.variable}."


def _reason(error: BaseException) -> str:
    """The innermost cause in words. Not str(error): that has the URL with its query."""
    causes = _causes(error)
    words = next((cause.strerror for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror), None)
    return words or type(causes[-1]).__name__


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it was raised for, outermost first."""
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in causes:
        causes.append(current)
        wrapped = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        current = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)
    return causes
