"""What the hub's tests share: a server, a hub that asks it, a model of a few bytes."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer
from hub_material import CONFIGURATION, FAST, NAME, WEIGHTS, make_folder

from segpipe.hub import Hub, ModelFolder


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the machine reaches a test, and no test reaches the user's cache."""
    for name in list(os.environ):
        if name.startswith(("SEGPIPE_", "HF_", "MODELSCOPE_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))


@pytest.fixture
def files() -> dict[str, bytes]:
    """A repository with what a model needs and with things that must not be fetched."""
    return {
        ".gitattributes": b"*.bin lfs",
        "configuration.json": json.dumps(CONFIGURATION).encode(),
        "README.md": b"# street\n",
        "LICENSE": b"Apache",
        "model.safetensors": WEIGHTS,
        "pytorch_model.bin": b"the same as a pickle",
        "train.py": b"raise SystemExit('never run this')",
        "examples/street.jpg": b"\xff\xd8",
    }


@pytest.fixture
def server(files: dict[str, bytes]) -> Iterator[FaultServer]:
    """A server that has the model team/street."""
    with FaultServer() as started:
        started.add_model(NAME, files)
        yield started


@pytest.fixture
def hub(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A hub whose ModelScope and Hugging Face are the server, and that does not wait between attempts."""
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", server.url)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return Hub(limits=FAST)


@pytest.fixture
def without_dns(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and no host name is known any more."""

    def refuse(*arguments: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    return lambda: monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def sealed(tmp_path: Path) -> ModelFolder:
    """A model folder in segpipe's own format."""
    return make_folder(tmp_path / "made")
