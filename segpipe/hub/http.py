"""GET requests as the hub needs them: typed errors, checked redirects, retries, no socket when offline."""

from __future__ import annotations

import math
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from segpipe.configuration import decode_document
from segpipe.errors import AccessDeniedError, DownloadError, ModelNotFoundError, OfflineError
from segpipe.limits import limit

from .connections import Answer, Watchdog, body_length, send_request
from .retries import (
    Backoff,
    Limits,
    TransientError,
    UnknownHostError,
    check_seconds,
    innermost_reason,
    parse_retry_after,
    raised_causes,
)
from .settings import read_settings

if TYPE_CHECKING:
    import requests

Document = TypeVar("Document")

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
        offline_reason: why no request may be made, e.g. "SEGPIPE_OFFLINE is set". If None, it may.
        sleep, jitter: for tests.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        offline_reason: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.limits = limits or Limits()
        self.offline_reason = offline_reason
        self._sleep = sleep
        self._jitter = jitter

    def backoff(self, sleep: Callable[[float], object] | None = None) -> Backoff:
        """Return a new count of attempts, which waits by `sleep`."""
        return Backoff(self.limits, sleep or self._sleep, jitter=self._jitter)

    def fetch(
        self, url: str, *, what: str, credentials: Credentials | None = None, max_bytes: int | None = None
    ) -> bytes:
        """Return the body behind a URL, after retries if need be.

        Args:
            what: what messages call the URL.
            max_bytes: the largest body, unpacked. If None, `listing_bytes` of `segpipe.limits`.

        Raises:
            DownloadError: the server does not give it, or it is larger.
        """
        most = limit("listing_bytes") if max_bytes is None else max_bytes
        backoff = self.backoff()
        while True:
            try:
                return self._fetch_once(url, what, credentials, most, backoff.started + self.limits.deadline)
            except TransientError as error:
                backoff.pause(error)

    def fetch_json(
        self, url: str, kind: type[Document], *, what: str, credentials: Credentials | None = None, advice: str
    ) -> Document:
        """Return the JSON document behind a URL, decoded into `kind`. Anything else, say a login page, is an error."""
        data = self.fetch(url, what=what, credentials=credentials)
        try:
            return decode_document(data, kind)
        except ValueError as error:
            hint = login_page_hint(data) or advice
            raise DownloadError(
                f"{what}: the answer of {shown_url(url)} has no list of files ({error}). {hint}",
                url=shown_url(url),
            ) from None

    @contextmanager
    def open(
        self,
        url: str,
        *,
        what: str,
        credentials: Credentials | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (200,),
        until: float = math.inf,
    ) -> Iterator[Answer]:
        """Make one request and follow redirects; the body is still to be read.

        Args:
            what: what messages call the URL.
            headers: besides our own.
            accept: the status codes that are taken; any other raises an error.
            until: a time of `time.monotonic` at which the connection is shut down, whatever it is doing.
        """
        if self.offline_reason:
            message = f"{what} would need a request to {shown_url(url)} and {self.offline_reason}."
            raise OfflineError(message, url=shown_url(url))
        late = TransientError(f"{what} took longer than {self.limits.deadline:g} s.", retry_after=math.inf)
        with Watchdog(until, late) as watchdog:
            response = self._follow(url, what, credentials, dict(headers or {}), watchdog)
            try:
                if response.status_code not in accept:
                    raise _status_error(response, what, credentials)
                yield Answer(response, watchdog, self.limits, what)
            finally:
                response.close()

    def _fetch_once(self, url: str, what: str, credentials: Credentials | None, max_bytes: int, until: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        with self.open(url, what=what, credentials=credentials, until=until) as answer:
            if (body_length(answer.headers) or 0) > max_bytes:
                raise _too_large(what, url, max_bytes)
            for piece in answer.pieces():
                size += len(piece)
                if size > max_bytes:
                    raise _too_large(what, url, max_bytes)
                parts.append(piece)
        return b"".join(parts)

    def _follow(
        self, url: str, what: str, credentials: Credentials | None, headers: dict[str, str], watchdog: Watchdog
    ) -> requests.Response:
        for _ in range(self.limits.max_redirects + 1):
            response = _ask(url, what, headers=headers, credentials=credentials, limits=self.limits, watchdog=watchdog)
            target = _redirect_target(response)
            if target is None:
                return response
            response.close()
            _parts(target)  # urljoin would raise an error of its own
            target = urljoin(url, target)
            _check_redirect(url, target, what)
            if _origin(target) != _origin(url):
                credentials = None
            url = target
        message = f"{what}: more than {self.limits.max_redirects} redirects. Check the address."
        raise DownloadError(message, url=shown_url(url))


def fetch_bytes(
    url: str,
    *,
    timeout: tuple[float, float] = (10.0, 30.0),
    max_bytes: int | None = None,
    deadline: float = 60.0,
) -> bytes:
    """Return the bytes behind an http or https URL, e.g. of an image.

    Args:
        timeout: (to connect to one address, without a byte), in seconds.
        max_bytes: of the body, unpacked. If None, `url_image_bytes` of `segpipe.limits`.
        deadline: over all attempts, in seconds, from the first connection on, whatever the server does. Looking its
            name up is not included.

    Raises:
        DownloadError: says why there are none.
    """
    reason = "SEGPIPE_OFFLINE is set" if read_settings().offline else None
    if _parts(url).scheme not in ("http", "https"):
        raise DownloadError(
            f"{shown_url(url)!r} is not a web address. It needs http:// or https://.", url=shown_url(url)
        )
    check_seconds("deadline", deadline)
    connect, read = min(timeout[0], deadline), min(timeout[1], deadline)
    limits = replace(Limits(), connect_timeout=connect, read_timeout=read, deadline=deadline, attempts=3)
    transport = Transport(limits, offline_reason=reason)
    most = limit("url_image_bytes") if max_bytes is None else max_bytes
    return transport.fetch(url, what=f"The download of {shown_url(url)}", max_bytes=most)


def shown_url(url: str) -> str:
    """Return a URL for messages: without user, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    except ValueError:
        return "a malformed URL"


def login_page_hint(head: bytes) -> str | None:
    """Return what to say where the bytes look like a web page instead of a file, else None."""
    start = head[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "It looks like a web page: perhaps a login page or a proxy answers. Check the network and HTTPS_PROXY."
    return None


def _ask(
    url: str,
    what: str,
    *,
    headers: Mapping[str, str],
    credentials: Credentials | None,
    limits: Limits,
    watchdog: Watchdog,
) -> requests.Response:
    import requests

    host = urlsplit(url).hostname
    message = f"{what}: no whole answer from {host} within {limits.read_timeout:g} s."
    silent = TransientError(message, url=shown_url(url))

    def connected(connection: socket.socket) -> None:
        watchdog.guard(connection)
        watchdog.allow(limits.read_timeout, silent)

    watchdog.allow(math.inf, silent)
    timeout = (limits.connect_timeout, limits.read_timeout)
    auth = credentials if credentials is not None and credentials.token else None
    try:
        response = send_request(url, headers=headers, auth=auth, timeout=timeout, connected=connected)
        # Headers that were cut off look like headers that have ended.
        watchdog.check()
        return response
    except (requests.exceptions.RequestException, ValueError, OSError) as error:
        watchdog.check()
        raise _request_error(error, url, what) from None


def _request_error(error: Exception, url: str, what: str) -> DownloadError:
    import requests

    host = urlsplit(url).hostname
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in raised_causes(error)):
        return DownloadError(
            f"{what}: the certificate of {host} is not trusted ({innermost_reason(error)}). "
            "Behind a company's proxy, point REQUESTS_CA_BUNDLE at its certificate.",
            url=shown_url(url),
        )
    if isinstance(error, (requests.exceptions.ConnectionError, requests.exceptions.Timeout)):
        is_unknown = any(isinstance(cause, socket.gaierror) for cause in raised_causes(error))
        kind = UnknownHostError if is_unknown else TransientError
        return kind(f"{what}: no answer from {host} ({innermost_reason(error)}).", url=shown_url(url))
    return DownloadError(f"{what}: {shown_url(url)} cannot be asked ({type(error).__name__}).", url=shown_url(url))


def _too_large(what: str, url: str, max_bytes: int) -> DownloadError:
    return DownloadError(
        f"{what}: {shown_url(url)} has more than {max_bytes:,} bytes, the limit here. Check the address; "
        "docs/limits.md says how to raise the limit.",
        url=shown_url(url),
    )


def _redirect_target(response: requests.Response) -> str | None:
    """Return where a redirect leads. http.client reads headers as Latin-1; addresses are UTF-8 more often."""
    location = response.headers.get("Location") if response.status_code in _REDIRECTS else None
    return None if location is None else location.encode("latin-1", "replace").decode("utf-8", "replace")


def _check_redirect(url: str, target: str, what: str) -> None:
    scheme, target_scheme = _parts(url).scheme, _parts(target).scheme
    if target_scheme not in ("http", "https") or (scheme == "https" and target_scheme == "http"):
        raise DownloadError(
            f"{what}: {shown_url(url)} redirects to {shown_url(target)}, which is not as secure. "
            "It would need https. Check the address or the proxy.",
            url=shown_url(target),
        )


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname  # both may be malformed as well
    except ValueError:
        raise DownloadError("A malformed URL was given, or redirected to. Check the address.") from None
    return parts


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = _parts(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _status_error(response: requests.Response, what: str, credentials: Credentials | None) -> DownloadError:
    status, url = response.status_code, shown_url(response.url)
    code = response.headers.get("X-Error-Code", "")
    at = f"{what}: {url} answered {status}"
    if status in _TRANSIENT:
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        return TransientError(f"{at}.", retry_after, url=url, status=status)
    kind, message = _refusal(status, code, at, credentials)
    return kind(message, url=url, status=status)


def _refusal(status: int, code: str, at: str, credentials: Credentials | None) -> tuple[type[DownloadError], str]:
    """Return the error for a status code, and its message."""
    if status in (404, 410) or code in ("RepoNotFound", "RevisionNotFound", "EntryNotFound"):
        advice = "Check the name and the revision." if credentials else "Check the address."
        return ModelNotFoundError, f"{f'{at} {code}'.rstrip()}. {advice}{_token_hint(credentials)}"
    if code == "GatedRepo":
        return AccessDeniedError, f"{at} GatedRepo. Accept the model's terms on its page.{_token_hint(credentials)}"
    if status in (401, 403):
        return AccessDeniedError, f"{at}. It needs permission, or does not exist.{_token_hint(credentials)}"
    if status == 407:
        return AccessDeniedError, f"{at}: the proxy wants a password. Put it into HTTPS_PROXY."
    return DownloadError, f"{at}, which segpipe cannot use. Check the address."


def _token_hint(credentials: Credentials | None) -> str:
    if credentials is None:
        return ""
    if credentials.token:
        return f" The token in {credentials.variable} was sent."
    return f" For a private model, set {credentials.variable}."
