"""Fixtures for every room's tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fault_server import FaultServer

# The scripted server is a part of the hub's tests; other rooms read pictures from it.
sys.path.insert(0, str(Path(__file__).parent / "hub"))

# In a background process of a shell script Ctrl-C is ignored, also in all processes that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def web_server() -> Iterator[FaultServer]:
    """A web server on 127.0.0.1: put bytes into `web_server.static["street.jpg"]`, read `web_server.url/static/…`."""
    from fault_server import FaultServer

    with FaultServer() as server:
        yield server


@pytest.fixture
def modelscope(web_server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FaultServer:
    """ModelScope on loopback, without the user's variables: put a data set's files into `modelscope.data[name]`."""
    from hub_material import FAST

    for name in [name for name in os.environ if name.startswith(("SEGPIPE_", "MODELSCOPE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEGPIPE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", web_server.url)
    monkeypatch.setattr("segpipe.hub.settings.Limits", lambda **options: FAST)
    return web_server


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For what is compared bit for bit: sums in several threads may be rounded differently from run to run."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
