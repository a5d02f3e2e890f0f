"""Requests: errors by status, retries, redirects, proxies, certificates, bounds."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import FAST, NAME

from segpipe.errors import AccessDeniedError, DownloadError, InputError, ModelNotFoundError, OfflineError
from segpipe.hub import Hub, Limits, Transport, fetch_bytes, read_settings
from segpipe.hub.connections import body_length
from segpipe.hub.http import Credentials
from segpipe.hub.retries import Backoff, UnknownHostError, parse_retry_after
from segpipe.hub.settings import VARIABLES, describe_variables

TOKEN = Credentials("HF_TOKEN", "hf_secretsecret")


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def transport(waits: list[float]) -> Transport:
    """Writes down its waits instead of waiting; jitter always at its most."""
    return Transport(Limits(attempts=4, first_delay=1, deadline=100), sleep=waits.append, jitter=lambda: 1.0)


@pytest.mark.parametrize(
    ("code", "error"),
    [(401, AccessDeniedError), (403, AccessDeniedError), (404, ModelNotFoundError), (410, ModelNotFoundError)],
)
def test_refusal_is_typed_and_not_repeated(hub: Hub, server: FaultServer, monkeypatch, code, error):  # case 10
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    server.fail_always("/api/models/", faults.status(code))
    with pytest.raises(error, match="HF_TOKEN") as caught:
        hub.resolve(f"hf:{NAME}")
    assert type(caught.value) is error
    assert "hf_secretsecret" not in str(caught.value)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("code", "header", "error"),
    [(403, "GatedRepo", AccessDeniedError), (401, "RepoNotFound", ModelNotFoundError), (400, "", DownloadError)],
)
def test_error_code_of_hugging_face_says_which(
    transport: Transport, server: FaultServer, code, header, error
):  # case 10
    server.fail("x", faults.status(code, {"X-Error-Code": header}))
    with pytest.raises(error) as caught:
        transport.fetch(f"{server.url}/static/x", what="The list", credentials=TOKEN)
    assert type(caught.value) is error
    assert header in str(caught.value)


def test_token_is_neither_shown_nor_logged(monkeypatch, hub: Hub, server: FaultServer, caplog):  # case 10
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    server.fail("/api/models/", faults.status(500))
    with caplog.at_level("DEBUG"):
        hub.resolve(f"hf:{NAME}")
    assert "hf_secretsecret" not in caplog.text + repr(read_settings()) + repr(TOKEN) + str(describe_variables())
    assert server.seen[0].headers["authorization"] == "Bearer hf_secretsecret"


def test_waits_double_up_to_the_last_attempt(transport: Transport, server: FaultServer, waits: list[float]):  # case 11
    server.fail("x", *[faults.status(code) for code in (500, 502, 503, 504)])
    with pytest.raises(DownloadError, match="Gave up after 4 attempts"):
        transport.fetch(f"{server.url}/static/x", what="The list")
    assert waits == [1, 2, 4]


def test_an_unknown_host_is_asked_for_twice_at_most(transport: Transport, without_dns, waits: list[float]):
    without_dns()
    with pytest.raises(DownloadError, match=r"not known\)\. Gave up after 2 attempts\. Check the address"):
        transport.fetch("http://street.invalid/x", what="The list")
    assert waits == [1]


def test_a_name_server_that_is_lost_after_progress_is_given_all_attempts(waits: list[float]):
    backoff = Backoff(Limits(attempts=3, first_delay=1), sleep=waits.append, jitter=lambda: 1.0)
    error = UnknownHostError("The file: no answer from a host (Name or service not known).")
    backoff.reset()
    for _ in range(2):
        backoff.pause(error)
    with pytest.raises(DownloadError, match="Gave up after 3 attempts"):
        backoff.pause(error)
    assert waits == [1, 2]


def test_retry_after_is_obeyed(transport: Transport, server: FaultServer, waits: list[float]):  # case 11
    server.static["x"] = b"here"
    server.fail("x", faults.status(429, {"Retry-After": "7"}), faults.status(503))
    assert transport.fetch(f"{server.url}/static/x", what="The list") == b"here"
    assert waits == [7, 2]


def test_retry_after_beyond_the_deadline_gives_up_at_once(transport: Transport, server: FaultServer, waits):  # case 11
    server.fail_always("x", faults.status(429, {"Retry-After": "3600"}))
    with pytest.raises(DownloadError, match="429"):
        transport.fetch(f"{server.url}/static/x", what="The list")
    assert waits == []


def test_jitter_spreads_the_waits(server: FaultServer, waits: list[float]):  # case 11
    transport = Transport(Limits(attempts=3, first_delay=4), sleep=waits.append, jitter=lambda: 0.0)
    server.fail_always("x", faults.status(503))
    with pytest.raises(DownloadError):
        transport.fetch(f"{server.url}/static/x", what="The list")
    assert waits == [2, 4]


def test_retry_after_may_be_a_date():
    moment = datetime.now(timezone.utc) + timedelta(seconds=90)
    assert parse_retry_after(format_datetime(moment)) == pytest.approx(90, abs=3)
    assert parse_retry_after("soon") is None
    assert parse_retry_after(None) is None


def test_body_that_takes_too_long_meets_the_deadline(server: FaultServer):  # case 12
    server.static["x"] = b"y" * 500
    server.fail_always("x", faults.trickle())
    with pytest.raises(DownloadError, match=r"longer than 0\.1 s"):
        fetch_bytes(f"{server.url}/static/x", deadline=0.1)
    assert len(server.seen) == 1


def test_silent_server_meets_the_deadline(server: FaultServer):  # case 12
    released = threading.Event()
    server.static["x"] = b"y" * 500
    server.fail_always("x", faults.stall_after(100, released))
    started = time.monotonic()
    with pytest.raises(DownloadError):
        fetch_bytes(f"{server.url}/static/x", deadline=0.2, timeout=(10, 10))
    released.set()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "-1", "1.5"])
def test_header_that_is_no_number_is_as_good_as_none(number: str):
    assert parse_retry_after(number) is None
    assert body_length({"Content-Length": number}) is None


def test_numbers_in_headers_are_read():
    assert parse_retry_after(" 7 ") == 7
    assert parse_retry_after("Mon, 01 Jan 99999999999999999999 00:00:00 GMT") is None
    assert body_length({"Content-Length": "500"}) == 500


def test_redirect_to_another_host_loses_the_token(transport: Transport, server: FaultServer):  # case 15
    with FaultServer() as other:
        other.static["x"] = b"moved"
        server.fail("x", faults.redirect(f"{other.url}/static/x"))
        assert transport.fetch(f"{server.url}/static/x", what="The file", credentials=TOKEN) == b"moved"
        assert "authorization" in server.seen[0].headers
        assert "authorization" not in other.seen[0].headers


def test_redirect_on_the_same_host_keeps_the_token(transport: Transport, server: FaultServer):  # case 15
    server.static["y"] = b"renamed"
    server.fail("/static/x", faults.redirect("/static/y"))
    assert transport.fetch(f"{server.url}/static/x", what="The file", credentials=TOKEN) == b"renamed"
    assert "authorization" in server.seen[1].headers


def test_token_does_not_come_back_after_a_detour(transport: Transport, server: FaultServer):  # case 15
    with FaultServer() as other:
        server.static["y"] = b"back"
        server.fail("/static/x", faults.redirect(f"{other.url}/static/z"))
        other.fail("/static/z", faults.redirect(f"{server.url}/static/y"))
        transport.fetch(f"{server.url}/static/x", what="The file", credentials=TOKEN)
        assert "authorization" not in server.seen[1].headers


def test_cookie_of_modelscope_stays_with_its_host(hub: Hub, server: FaultServer, monkeypatch):  # case 15
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret")
    with FaultServer() as cdn:
        cdn.static["weights"] = server.models[NAME]["model.safetensors"]
        server.fail("FilePath=model.safetensors", faults.redirect(f"{cdn.url}/static/weights"))
        hub.resolve(f"modelscope:{NAME}")
        assert server.seen[0].headers["cookie"] == "m_session_id=ms-secret"
        assert not {"cookie", "authorization"} & set(cdn.seen[0].headers)


def test_malformed_redirect_is_a_download_error(transport: Transport, server: FaultServer):
    server.fail("x", faults.redirect("http://[::1"))
    with pytest.raises(DownloadError, match="malformed URL"):
        transport.fetch(f"{server.url}/static/x", what="The file")


def test_endless_redirects_end(transport: Transport, server: FaultServer):  # case 15
    server.fail_always("x", faults.redirect("/static/x"))
    with pytest.raises(DownloadError, match="redirects"):
        transport.fetch(f"{server.url}/static/x", what="The file")
    assert len(server.seen) == Limits().max_redirects + 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody but itself has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    paths = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "cert.pem"),
    ]
    try:
        subprocess.run([*command, *paths], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the openssl program")
    return folder / "cert.pem", folder / "key.pem"


def test_self_signed_certificate_is_refused_at_once(transport: Transport, waits, certificate):  # case 16
    with FaultServer(static={"x": b"private"}) as server:
        server.use_tls(*certificate)
        with pytest.raises(DownloadError, match="REQUESTS_CA_BUNDLE"):
            transport.fetch(f"{server.url}/static/x", what="The file")
        assert (server.seen, waits) == ([], [])


def test_ca_bundle_of_the_environment_is_trusted(transport: Transport, certificate, monkeypatch):  # case 16
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with FaultServer(static={"x": b"private"}) as server:
        server.use_tls(*certificate)
        assert transport.fetch(f"{server.url}/static/x", what="The file") == b"private"


def test_https_is_not_left_for_http(transport: Transport, server: FaultServer, certificate, monkeypatch):  # case 15
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with FaultServer() as secure:
        secure.use_tls(*certificate)
        secure.fail("x", faults.redirect(f"{server.url}/static/x"))
        with pytest.raises(DownloadError, match="not as secure"):
            transport.fetch(f"{secure.url}/static/x", what="The file", credentials=TOKEN)
    assert not server.seen


def test_proxy_of_the_environment_is_used(transport: Transport, server: FaultServer, monkeypatch):  # case 16
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    server.fail("models.invalid", lambda handler, body: handler.send(200, b"by proxy"))
    assert transport.fetch("http://models.invalid/static/x", what="The file") == b"by proxy"


def test_no_proxy_of_the_environment_is_obeyed(transport: Transport, server: FaultServer, monkeypatch):  # case 16
    server.static["x"] = b"direct"
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    assert transport.fetch(f"{server.url}/static/x", what="The file") == b"direct"


def test_offline_transport_opens_no_socket(monkeypatch: pytest.MonkeyPatch):  # case 14
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("SEGPIPE_OFFLINE", "1")
    with pytest.raises(OfflineError):
        fetch_bytes("http://127.0.0.1:9/picture.jpg")


def test_fetch_bytes_gives_the_bytes(server: FaultServer):
    server.static["street.jpg"] = b"\xff\xd8picture"
    assert fetch_bytes(f"{server.url}/static/street.jpg") == b"\xff\xd8picture"


def test_fetch_bytes_stops_at_the_limit(server: FaultServer):
    server.static["big"] = bytes(2_000_000)
    with pytest.raises(DownloadError, match="more than 1,000,000 bytes"):
        fetch_bytes(f"{server.url}/static/big", max_bytes=1_000_000)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "gopher://host", "/etc/passwd", "data:,x"])
def test_fetch_bytes_takes_web_addresses_alone(url: str):
    with pytest.raises(DownloadError, match="not a web address"):
        fetch_bytes(url)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://127.0.0.1:99999999/"])
def test_fetch_bytes_of_a_malformed_url_is_a_download_error(url: str):
    with pytest.raises(DownloadError):
        fetch_bytes(url, deadline=0.1)


def test_secret_query_of_a_url_is_not_in_messages(server: FaultServer):
    with pytest.raises(ModelNotFoundError) as caught:
        fetch_bytes(f"{server.url}/static/none?signature=sesame")
    assert "sesame" not in str(caught.value)


def test_refused_connection_is_a_download_error_with_its_reason():
    with pytest.raises(DownloadError, match="Connection refused"):
        Transport(FAST, sleep=lambda _: None).fetch("http://127.0.0.1:9/x?signature=sesame", what="The file")


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "SEGPIPE_HUB"])
@pytest.mark.parametrize("value", ["https://me:sesame@host", "https://sesame@host/x", "http://host/x?token=sesame"])
def test_secret_in_an_address_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=name) as caught:
        read_settings()
    assert "sesame" not in str(caught.value) + str(describe_variables())


def test_every_variable_is_described(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    lines = {name: value for name, value, _ in describe_variables()}
    assert set(lines) == {variable.name for variable in VARIABLES}
    assert (lines["HF_TOKEN"], lines["SEGPIPE_HUB"]) == ("set", "not set")
