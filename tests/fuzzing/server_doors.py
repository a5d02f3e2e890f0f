"""What servers answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from doors import Door, door
from hostile import damaged_bytes, damaged_json
from hypothesis import strategies as st

from segpipe.hub import Transport, fetch_bytes


@door
def listings(folder: Path) -> Door:
    """What Hugging Face and ModelScope say that a model has, and ModelScope of a data set."""
    from segpipe.hub.origins import (
        HuggingFaceSource,
        ModelScopeDataSource,
        ModelScopeSource,
        huggingface_credentials,
        modelscope_credentials,
    )
    from segpipe.hub.settings import read_settings

    settings = read_settings()
    theirs = HuggingFaceSource("a/b", settings.hf_endpoint, huggingface_credentials(settings))
    scopes = ModelScopeSource("a/b", settings.modelscope_endpoint, modelscope_credentials(settings))
    data = ModelScopeDataSource("a/b", settings.modelscope_endpoint, scopes.credentials)
    tree = {
        "sha": "0" * 40,
        "siblings": [
            {"rfilename": "config.json", "size": 5, "blobId": "1" * 40},
            {"rfilename": "model.safetensors", "size": 9, "blobId": "2" * 40, "lfs": {"sha256": "3" * 64, "size": 9}},
        ],
    }
    files = {
        "Code": 200, "Success": True,
        "Data": {"Files": [
            {"Name": "config.json", "Path": "config.json", "Type": "blob", "Size": 5, "Sha256": "3" * 64},
            {"Name": "pytorch_model.pt", "Path": "a/pytorch_model.pt", "Type": "blob", "Size": 5, "Sha256": "4" * 64},
        ]},
    }  # fmt: skip

    class Canned(Transport):
        """Stands for the network: each request gets the same bytes."""

        def fetch(self, url: str, **_: Any) -> bytes:
            return answer[0]

    answer = [b""]

    def read(item: tuple[Any, bytes]) -> None:
        source, answer[0] = item
        source.list_files(Canned(), "main")

    attached = {"Code": 200, "Success": True, "Data": [{"Key": "a.zip", "Url": "https://host/a.zip?x=y", "Size": 5}]}
    hf, scope, either = damaged_json([tree]), damaged_json([files]), damaged_json([files, attached])
    of_data = st.tuples(st.just(data), either)
    return Door(st.one_of(st.tuples(st.just(theirs), hf), st.tuples(st.just(scopes), scope), of_data), read)


@door
def answers(folder: Path) -> Door:
    """The very bytes of an HTTP answer."""
    from raw_server import RawServer

    server = RawServer()
    server.start()
    body = b"hello"
    seeds = [
        b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n' + body,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n" + body,
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body,
        b"HTTP/1.0 200 OK\r\n\r\n" + body,
    ]

    def read(data: bytes) -> None:
        server.answer = data
        fetch_bytes(server.url, max_bytes=1000, timeout=(0.5, 0.2), deadline=1.0)

    return Door(damaged_bytes(seeds), read)
