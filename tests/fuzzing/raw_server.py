"""A server on 127.0.0.1 that answers every connection with the same bytes and hangs up."""

from __future__ import annotations

import contextlib
import socket
import threading


class RawServer:
    """`answer` is what the next connection gets."""

    def __init__(self) -> None:
        self.answer = b""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/file"

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._socket.accept()
            with client, contextlib.suppress(OSError):
                client.settimeout(1)
                client.recv(65536)
                client.sendall(self.answer)
                client.shutdown(socket.SHUT_WR)
