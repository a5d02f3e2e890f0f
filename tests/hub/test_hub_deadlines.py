"""Servers that drip, flood and never end: a request ends at its deadline, and what is not needed is not read."""

from __future__ import annotations

import dataclasses
import gzip
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import FAST, NAME
from test_hub_transport import certificate  # noqa: F401 (a fixture)

from segpipe.errors import DownloadError, InputError, IntegrityError
from segpipe.hub import Hub, Limits, Transport, fetch_bytes

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "nothing": (b"", b""),
    "status": (b"HTTP/1.1 200 ", b"O"),
    "headers": (OK, b"A: b\r\n"),
    "one header": (OK + b"A: ", b"b"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "body without length": (OK + b"\r\n", b"x"),
    "chunk size": (CHUNKED, b"0"),
    "chunk extension": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"A: b\r\n"),
    "gzip": (OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\0\0\0\xff\xff"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: ", b"/"),
    "error": (b"HTTP/1.1 404 Not Found\r\n", b"A: b\r\n"),
}


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Far above the deadlines here, and far below what the servers take."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("drip", DRIPS)
def test_a_deadline_holds_whatever_drips(server: FaultServer, drip: str):
    head, endless = DRIPS[drip]
    server.fail_always("x", faults.drip(head, endless or b"\0", pause=0.02 if endless else 8.0))
    with at_most(4), pytest.raises(DownloadError, match=r"longer than 0\.4 s"):
        fetch_bytes(f"{server.url}/static/x", deadline=0.4, timeout=(10, 10))
    assert len(server.seen) <= 1  # a busy machine may not have read it by then


@pytest.mark.parametrize("drip", DRIPS)
def test_a_file_that_drips_is_given_up(hub: Hub, server: FaultServer, drip: str):
    head, endless = DRIPS[drip]
    limits = dataclasses.replace(FAST, read_timeout=0.3, slow_window=0.3, attempts=1)
    server.fail_always("model.safetensors", faults.drip(head, endless or b"\0", pause=0.02 if endless else 8.0))
    with at_most(4), pytest.raises((DownloadError, IntegrityError), match="one attempt"):
        Hub(limits=limits).resolve(f"hf:{NAME}")


def test_a_deadline_holds_below_tls(server: FaultServer, certificate, monkeypatch):  # noqa: F811
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with FaultServer() as secure:
        secure.use_tls(*certificate)
        secure.fail_always("x", faults.drip(OK, b"A: b\r\n"))
        with at_most(4), pytest.raises(DownloadError, match=r"longer than 0\.4 s"):
            fetch_bytes(f"{secure.url}/static/x", deadline=0.4)


@pytest.mark.parametrize("pause", [0.02, 8.0])
def test_a_deadline_holds_while_tls_is_agreed_on(pause: float):
    record = b"\x16\x03\x03\x40\x00"
    with (
        faults.raw_server(lambda connection: faults.drip_into(connection, record, b"\x02", pause, 8.0)) as port,
        at_most(4),
        pytest.raises(DownloadError, match=r"longer than 0\.4 s|no answer"),
    ):
        fetch_bytes(f"https://127.0.0.1:{port}/x", deadline=0.4)


def test_a_deadline_holds_while_a_proxy_opens_its_tunnel(monkeypatch: pytest.MonkeyPatch):
    def talk(connection) -> None:
        connection.recv(1000)
        faults.drip_into(connection, b"HTTP/1.1 200 Connection established\r\n", b"A: b\r\n", 0.02, 8.0)

    with faults.raw_server(talk) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with at_most(4), pytest.raises(DownloadError, match=r"longer than 0\.4 s"):
            fetch_bytes("https://models.invalid/x", deadline=0.4)


def test_a_deadline_is_over_all_redirects(server: FaultServer):
    server.fail_always("x", faults.drip(b"HTTP/1.1 302 Found\r\nLocation: /static/x\r\n", b"A: b\r\n" * 2 + b"\r\n"))
    with at_most(4), pytest.raises(DownloadError, match=r"longer than 0\.6 s"):
        fetch_bytes(f"{server.url}/static/x", deadline=0.6)


def test_a_slow_answer_in_time_is_read(server: FaultServer):
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    server.fail("x", faults.drip(b"", body, pause=0.005, seconds=len(body) * 0.02))
    assert fetch_bytes(f"{server.url}/static/x", deadline=5) == b"abc"


def test_the_watchdog_of_one_request_spares_the_next(server: FaultServer):
    server.static["y"] = b"right"
    server.fail("x", faults.drip(OK, b"A: b\r\n"))
    transport = Transport(Limits(read_timeout=0.2, attempts=1))
    with pytest.raises(DownloadError):
        transport.fetch(f"{server.url}/static/x", what="The file")
    assert transport.fetch(f"{server.url}/static/y", what="The file") == b"right"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_the_body_of_a_redirect_is_never_read(server: FaultServer, code: int):
    server.static["y"] = b"right"
    flood = faults.Flood(b"HTTP/1.1 %d Found\r\nLocation: /static/y\r\n\r\n" % code)
    server.fail("/static/x", flood)
    assert fetch_bytes(f"{server.url}/static/x") == b"right"
    assert flood.sent < 2**25  # what fits into the buffers of the connection


@pytest.mark.parametrize("code", [404, 500, 204, 302])
def test_the_body_of_an_error_is_never_read(server: FaultServer, code: int):
    flood = faults.Flood(b"HTTP/1.1 %d Error\r\n\r\n" % code)
    server.fail("/static/x", flood)
    with pytest.raises(DownloadError):
        Transport(dataclasses.replace(FAST, attempts=1)).fetch(f"{server.url}/static/x", what="The file")
    assert flood.sent < 2**25


@pytest.mark.parametrize(
    "head",
    [OK + b"\r\n", OK + b"Content-Length: 1000000000\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n"],
    ids=["without length", "with length", "after continue"],
)
def test_an_endless_body_is_cut_at_the_limit(server: FaultServer, head: bytes):
    flood = faults.Flood(head)
    server.fail("/static/x", flood)
    with at_most(10), pytest.raises(DownloadError, match="more than 100,000 bytes"):
        fetch_bytes(f"{server.url}/static/x", max_bytes=100_000)
    assert flood.sent < 2**25


def test_endless_headers_end(server: FaultServer):
    server.fail_always("x", faults.Flood(OK, b"A: b\r\n" * 10000))
    with at_most(10), pytest.raises(DownloadError):
        Transport(dataclasses.replace(FAST, attempts=1)).fetch(f"{server.url}/static/x", what="The file")


def test_an_endless_file_without_a_length_ends_at_the_limit(hub: Hub, server: FaultServer, monkeypatch):
    monkeypatch.setenv("SEGPIPE_MAX_DOWNLOAD_BYTES", "1000000")
    flood = faults.Flood(OK + b"\r\n", b"\x80" * 2**16)
    server.fail_always("weights.pth", flood)
    with pytest.raises(DownloadError, match=r"1,000,000"):
        hub._weights_of(_reference(f"{server.url}/static/weights.pth"), None, None, False)
    assert flood.sent < 2**25


def _reference(url: str):
    from segpipe.hub.references import parse_reference

    return parse_reference(url)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "x-gzip"])
def test_a_packed_answer_is_unpacked(server: FaultServer, coding: str):
    body = bytes(range(256)) * 4000
    packed = zlib.compress(body) if coding == "deflate" else gzip.compress(body[:500]) + gzip.compress(body[500:])
    server.fail("x", faults.status(200, {"Content-Encoding": coding}, packed))
    assert fetch_bytes(f"{server.url}/static/x") == body


def test_a_small_answer_that_unpacks_to_much_is_cut_at_the_limit(server: FaultServer):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    server.fail("x", faults.status(200, {"Content-Encoding": "gzip"}, packed))
    with pytest.raises(DownloadError, match="more than 100,000 bytes"):
        fetch_bytes(f"{server.url}/static/x", max_bytes=100_000)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"right" * 1000)[:-9]),
        ("gzip", b"no gzip"),
        ("br", b"\x8b\x02\x80right\x03"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"right"))),
        ("zstd", b"(\xb5/\xfd"),
    ],
)
def test_a_packed_answer_that_cannot_be_unpacked_is_a_typed_error(server: FaultServer, coding: str, body: bytes):
    server.fail_always("x", faults.status(200, {"Content-Encoding": coding}, body))
    with pytest.raises((DownloadError, IntegrityError)):
        Transport(dataclasses.replace(FAST, attempts=1)).fetch(f"{server.url}/static/x", what="The file")


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>hello</html>",
        b"HTTP/0.9 200 OK\r\n\r\nx" * 3,
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        OK + b"\xff\xfe: \xff\r\n\r\n",
        OK + b"A" * 70000 + b"\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xe2\x98\x83.invalid:99999/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://.:1/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 300 + b".invalid/\r\n\r\n",
        b"",
    ],
    ids=range(17),
)
def test_an_answer_that_is_not_http_is_a_typed_error_or_empty(server: FaultServer, answer: bytes):
    def talk(handler: faults.Handler, body: bytes) -> None:
        handler.connection.sendall(answer)
        handler.close_connection = True

    server.fail_always("x", talk)
    transport = Transport(dataclasses.replace(FAST, attempts=1))
    try:
        body = transport.fetch(f"{server.url}/static/x", what="The file")
    except (DownloadError, IntegrityError):
        return
    assert len(body) < 100


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0.0, -1.0, 1e300, 86401.0])
def test_a_time_is_positive_and_at_most_a_day(monkeypatch: pytest.MonkeyPatch, seconds: float):
    from segpipe.hub import read_settings

    with pytest.raises(InputError, match="deadline is"):
        fetch_bytes("http://127.0.0.1:9/x", deadline=seconds)
    with pytest.raises(InputError, match="read_timeout is"):
        Limits(read_timeout=seconds)
    monkeypatch.setenv("SEGPIPE_DOWNLOAD_TIMEOUT", str(seconds))
    with pytest.raises(InputError, match="SEGPIPE_DOWNLOAD_TIMEOUT is"):
        read_settings()
