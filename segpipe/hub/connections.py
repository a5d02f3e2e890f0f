"""One request on a connection of its own, as the environment says: proxies, certificates, .netrc.

Importing this imports `requests`, so it is imported where a request is made.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter

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
        timeout: (to connect to one address, between two bytes), in seconds.
        connected: gets the connection as soon as there is one, before TLS and before a proxy has answered.
    """
    session = requests.Session()
    session.headers.update(_own_headers())
    request = session.prepare_request(requests.Request("GET", url, headers=dict(headers), auth=auth))
    settings = session.merge_environment_settings(str(request.url), {}, True, None, None)
    return _Adapter(connected).send(request, timeout=timeout, **settings)


def _own_headers() -> dict[str, str]:
    from segpipe import __version__

    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "User-Agent": f"segpipe/{__version__} python/{python}",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


class _Adapter(HTTPAdapter):
    """Tells of each connection that it makes."""

    def __init__(self, connected: Connected) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._connected = connected

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **options)
        pool.ConnectionCls = _telling(pool.ConnectionCls, self._connected)
        return pool


def _telling(kind: Any, connected: Connected) -> Any:
    """The connection class, with and without TLS or a SOCKS proxy, that passes on its socket when it has one."""

    class Telling(kind):
        def _new_conn(self) -> Any:
            made = super()._new_conn()
            connected(made)
            return made

    return Telling
