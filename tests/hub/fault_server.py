"""A web server on 127.0.0.1 that speaks ModelScope's and Hugging Face's protocols and fails on demand."""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Fault = Callable[["Handler", bytes], None]
"""Answers one request instead of the server; gets the handler and the body that would have been right."""


@dataclass
class Seen:
    """One request that came."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def url(self) -> str:
        return f"{self.path}?{'&'.join(f'{key}={value}' for key, value in self.query.items())}"


@dataclass
class FaultServer:
    """Models and files to serve, faults to inject, requests that came.

        with FaultServer() as server:
            server.add_model("owner/name", {"configuration.json": b"...", "model.safetensors": b"..."})
            server.fail("model.safetensors", reset_after(1000))     # the first such request; later ones are answered

    ModelScope and Hugging Face are both at `server.url`; a static file `a/b` at `server.url/static/a/b`.
    """

    models: dict[str, dict[str, bytes]] = field(default_factory=dict)
    data: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """ModelScope's data sets: what is in their repositories."""
    attached: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """ModelScope's data sets: what is attached to them, which is served under another host name."""
    page: int = 100
    """Entries of a data set's file list that are sent at a time, at most."""
    static: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    commit: str = COMMIT
    token: str | None = None
    """When set, requests without it get 401."""
    with_cdn: bool = False
    """Hugging Face's large files are redirected to `/cdn/...`, as the real one does."""
    etags: bool = True

    def __post_init__(self) -> None:
        self._faults: list[tuple[str, Fault]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (self.handler,), {"owner": self}))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # clients that hang up are part of the game
        self._scheme = "http"

    @property
    def handler(self) -> type[Handler]:
        """What answers the requests."""
        return Handler

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def use_tls(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "https"

    def add_model(self, name: str, files: dict[str, bytes]) -> None:
        self.models[name] = dict(files)

    def fail(self, part_of_url: str, *faults: Fault) -> None:
        """Each fault answers one request whose URL contains the text; the order is kept."""
        with self._lock:
            self._faults += [(part_of_url, fault) for fault in faults]

    def fail_always(self, part_of_url: str, fault: Fault) -> None:
        self.fail(part_of_url, *[fault] * 200)

    def requests_for(self, part_of_url: str) -> list[Seen]:
        return [seen for seen in list(self.seen) if part_of_url in seen.url]

    def take_fault(self, url: str) -> Fault | None:
        with self._lock:
            for index, (part, fault) in enumerate(self._faults):
                if part in url:
                    del self._faults[index]
                    return fault
        return None

    def __enter__(self) -> FaultServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        path = f"//{parts.netloc}{parts.path}" if parts.netloc else parts.path  # with a host: asked as a proxy
        seen = Seen(unquote(path), query, {key.lower(): value for key, value in self.headers.items()})
        self.owner.seen.append(seen)
        fault = self.owner.take_fault(seen.url)
        status, body, headers = self._answer(seen)
        if fault is not None:
            fault(self, body)
        elif status != 200:
            self.send(status, body, headers)
        else:
            self.send_file(body, headers)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        """With ranges, as a good server does it."""
        headers = dict(headers or {})
        start = self.range_start()
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        if self.owner.etags:
            headers["ETag"] = etag
        if self.headers.get("If-Range", etag) != etag:
            start = 0
        if start and start >= len(body):
            self.send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        elif start:
            content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.send(206, body[start:], {**headers, "Content-Range": content_range})
        else:
            self.send(200, body, headers)

    def range_start(self) -> int:
        value = self.headers.get("Range", "bytes=0-")
        return int(value.removeprefix("bytes=").split("-")[0])

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, seen: Seen) -> tuple[int, bytes, dict[str, str]]:
        if self.owner.token and seen.headers.get("authorization") != f"Bearer {self.owner.token}":
            return 401, b'{"error": "who are you?"}', {}
        path = seen.path.lstrip("/")
        parts = path.split("/")
        if path.startswith("api/v1/datasets/"):
            return self._modelscope_data("/".join(parts[3:5]), parts[5:], seen)
        if path.startswith("api/v1/models/"):
            return self._modelscope("/".join(parts[3:5]), parts[5:], seen)
        if path.startswith("api/models/"):
            return self._huggingface_list("/".join(parts[2:4]))
        if len(parts) > 3 and parts[2] == "resolve":
            return self._huggingface_file("/".join(parts[:2]), "/".join(parts[4:]))
        if path.startswith("attached/"):
            return self._found(self.owner.attached["/".join(parts[1:3])].get("/".join(parts[3:])))
        if path.startswith("cdn/"):
            return self._found(self.owner.models["/".join(parts[1:3])].get("/".join(parts[3:])))
        return self._found(self.owner.static.get(path.removeprefix("static/")))

    def _found(self, body: bytes | None) -> tuple[int, bytes, dict[str, str]]:
        return (404, b"not found", {}) if body is None else (200, body, {})

    def _modelscope(self, name: str, rest: list[str], seen: Seen) -> tuple[int, bytes, dict[str, str]]:
        files = self.owner.models.get(name)
        if files is None or seen.query["Revision"] not in ("master", "v1"):
            body = {"Code": 10010205001, "Message": "model not exists", "RequestId": "r", "Success": False}
            return 404, json.dumps(body).encode(), {}
        if rest == ["repo"]:
            return self._found(files.get(seen.query["FilePath"]))
        entries = [_modelscope_entry(path, data) for path, data in files.items()]
        body = {"Code": 200, "Data": {"Files": entries}, "Message": "success", "RequestId": "r", "Success": True}
        return 200, json.dumps(body).encode(), {}

    def _modelscope_data(self, name: str, rest: list[str], seen: Seen) -> tuple[int, bytes, dict[str, str]]:
        files = self.owner.data.get(name)
        if files is None or seen.query["Revision"] != "master":
            return (
                404,
                json.dumps({"Code": 10990101005, "Message": "dataset not exists", "Success": False}).encode(),
                {},
            )
        if rest == ["repo"]:
            return self._found(files.get(seen.query["FilePath"]))
        if rest[0] == "oss":
            host = f"{self.owner._scheme}://localhost:{self.owner.port}"
            attached = self.owner.attached.get(name, {})
            keys = [
                {"Key": key, "Size": len(data), "Url": f"{host}/attached/{name}/{key}?Signature=x"}
                for key, data in attached.items()
            ]
            return 200, json.dumps({"Code": 200, "Data": keys, "Success": True}).encode(), {}
        entries = [_modelscope_entry(path, data) for path, data in files.items()]
        folders = {path.rpartition("/")[0] for path in files} - {""}
        entries += [{"Name": path, "Path": path, "Size": 0, "Sha256": "", "Type": "tree"} for path in sorted(folders)]
        size = min(int(seen.query.get("PageSize", 100)), self.owner.page)
        start = size * (int(seen.query.get("PageNumber", 1)) - 1)
        body = {"Code": 200, "Data": {"Files": entries[start : start + size]}, "Message": "success", "Success": True}
        return 200, json.dumps(body).encode(), {}

    def _huggingface_list(self, name: str) -> tuple[int, bytes, dict[str, str]]:
        files = self.owner.models.get(name)
        if files is None:
            return 401, b'{"error": "Invalid username or password."}', {"X-Error-Code": "RepoNotFound"}
        siblings = [_huggingface_entry(path, data) for path, data in files.items()]
        return 200, json.dumps({"id": name, "sha": self.owner.commit, "siblings": siblings}).encode(), {}

    def _huggingface_file(self, name: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        data = self.owner.models.get(name, {}).get(path)
        if data is None:
            return 404, b"", {"X-Error-Code": "EntryNotFound"}
        headers = {"X-Repo-Commit": self.owner.commit, "X-Linked-Etag": hashlib.sha256(data).hexdigest()}
        if self.owner.with_cdn and _is_large(path):
            return 302, b"", {**headers, "Location": f"{self.owner.url}/cdn/{name}/{path}"}
        return 200, data, headers


def _is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".bin", ".pt", ".pth"))


def _modelscope_entry(path: str, data: bytes) -> dict[str, object]:
    return {
        "CommitMessage": "add",
        "CommittedDate": 1667548386,
        "CommitterName": "someone",
        "InCheck": False,
        "IsLFS": _is_large(path),
        "Mode": "33188",
        "Name": path.rpartition("/")[2],
        "Path": path,
        "Revision": COMMIT,
        "Sha256": hashlib.sha256(data).hexdigest(),
        "Size": len(data),
        "Type": "blob",
    }


def _huggingface_entry(path: str, data: bytes) -> dict[str, object]:
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    entry: dict[str, object] = {"rfilename": path, "size": len(data), "blobId": blob}
    if _is_large(path):
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry


# Faults. Each is one answer.


def reset_after(count: int) -> Fault:
    """Send `count` bytes of the body and reset the connection."""

    def answer(handler: Handler, body: bytes) -> None:
        _send_part(handler, body, count)
        handler.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        _hang_up(handler)

    return answer


def cut_after(count: int) -> Fault:
    """Send `count` bytes of the body and close politely, as if that were all."""

    def answer(handler: Handler, body: bytes) -> None:
        _send_part(handler, body, count)
        _hang_up(handler)

    return answer


def cut_chunked_after(count: int) -> Fault:
    """The same without a Content-Length: chunks, and no last one."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{count:x}\r\n".encode() + body[:count] + b"\r\n")
        _hang_up(handler)

    return answer


def whole_file(handler: Handler, body: bytes) -> None:
    """Ignore Range."""
    handler.send(200, body)


def wrong_range(handler: Handler, body: bytes) -> None:
    """Answer a Range with one that starts 5 bytes earlier."""
    start = max(0, handler.range_start() - 5)
    handler.send(206, body[start:], {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})


def flipped_byte(handler: Handler, body: bytes) -> None:
    """The right size, one byte different."""
    handler.send(200, body[:100] + bytes([body[100] ^ 1]) + body[101:])


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"no") -> Fault:
    """An error."""
    return lambda handler, _: handler.send(code, body, headers)


def empty(handler: Handler, body: bytes) -> None:
    """200 and nothing."""
    handler.send(200, b"")


def login_page(handler: Handler, body: bytes) -> None:
    """What a captive portal says."""
    page = b"<!DOCTYPE html><html><title>Please log in</title></html>"
    handler.send(200, page, {"Content-Type": "text/html"})


def redirect(url: str) -> Fault:
    """302 to another address."""
    return lambda handler, _: handler.send(302, b"", {"Location": url})


def trickle(pause: float = 0.02) -> Fault:
    """One byte at a time."""

    def answer(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            for value in body[:500]:
                handler.wfile.write(bytes([value]))
                time.sleep(pause)
        except OSError:
            pass
        handler.close_connection = True

    return answer


def drip(head: bytes, endless: bytes, pause: float = 0.02, seconds: float = 8.0) -> Fault:
    """Send `head` at once and then one byte of `endless` after the other, over and over, until the client hangs up."""

    def answer(handler: Handler, body: bytes) -> None:
        drip_into(handler.connection, head, endless, pause, seconds)
        handler.close_connection = True

    return answer


def drip_into(connection: socket.socket, head: bytes, endless: bytes, pause: float, seconds: float) -> None:
    """What `drip` sends, into any connection."""
    end = time.monotonic() + seconds
    try:
        connection.sendall(head)
        for value in itertools.cycle(endless):
            if time.monotonic() > end:
                return
            connection.sendall(bytes([value]))
            time.sleep(pause)
    except OSError:
        return


@dataclass
class Flood:
    """Sends `head` and then `piece` without end, as fast as the client takes it; counts what it sent."""

    head: bytes
    piece: bytes = bytes(2**16)
    sent: int = 0

    def __call__(self, handler: Handler, body: bytes) -> None:
        try:
            handler.connection.sendall(self.head)
            while self.sent < 2**30:
                handler.connection.sendall(self.piece)
                self.sent += len(self.piece)
        except OSError:
            pass
        handler.close_connection = True


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that hands each connection to `talk`, before anything was read from it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=talk, args=(connection,), daemon=True).start()
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def stall_after(count: int, released: threading.Event) -> Fault:
    """Send `count` bytes, then nothing until the event is set."""

    def answer(handler: Handler, body: bytes) -> None:
        _send_part(handler, body, count)
        released.wait(20)
        _hang_up(handler)

    return answer


def _send_part(handler: Handler, body: bytes, count: int) -> None:
    start = handler.range_start()
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    handler.send_header("Content-Length", str(len(body) - start))
    handler.end_headers()
    handler.wfile.write(body[start : start + count])
    handler.wfile.flush()


def _hang_up(handler: Handler) -> None:
    # Both file objects hold the socket open.
    handler.close_connection = True
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()
