"""Several processes, and processes that die, at one cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import NAME, WEIGHTS, leftovers

from segpipe.hub import Hub, folder_lock
from segpipe.hub.partial_downloads import Origin, claim_part

SOURCE = f"hf:{NAME}"
FILE = "model.safetensors"
CHECKOUT = Path(__file__).parents[2]
RESOLVE = "from segpipe.hub import Hub; print(Hub().resolve('hf:team/street').path)"
WITHOUT_LOCKS = "import fcntl; fcntl.flock = lambda *_: None; "
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)


def run_together(code: str, count: int) -> set[str]:
    """The distinct outputs of `count` processes that run at the same time."""
    processes = [start(code) for _ in range(count)]
    outputs = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    return outputs


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_sixteen_processes_download_once(hub: Hub, server: FaultServer):  # case 20
    paths = run_together(RESOLVE, 16)
    assert len(paths) == 1
    assert len(server.requests_for(FILE)) == 1
    assert Path(paths.pop(), FILE).read_bytes() == WEIGHTS


def test_sixteen_processes_without_locks_are_still_right(hub: Hub, server: FaultServer):  # case 21
    paths = run_together(WITHOUT_LOCKS + RESOLVE, 16)
    assert len(paths) == 1
    assert Hub(offline=True).resolve(SOURCE).verify() == ()
    assert leftovers(hub.cache.home) == []


def test_threads_without_locks_are_still_right(hub: Hub, server: FaultServer, monkeypatch):  # case 21
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    released = threading.Event()
    server.fail(FILE, *[faults.stall_after(1000, released)] * 4)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(hub.resolve, SOURCE) for _ in range(4)]
        wait_for(lambda: len(server.requests_for(FILE)) == 4)
        released.set()
        assert len({future.result().path for future in futures}) == 1
    assert hub.resolve(SOURCE).verify() == ()
    assert leftovers(hub.cache.home) == []


def test_killed_download_is_continued_and_blocks_nobody(hub: Hub, server: FaultServer):  # case 19
    released = threading.Event()
    server.fail(FILE, faults.stall_after(40_000, released))
    process = start(RESOLVE)
    wait_for(lambda: any(p.stat().st_size == 40_000 for p in hub.cache.home.rglob(f"{FILE}.*.part")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    released.set()
    folder = hub.resolve(SOURCE)
    assert folder.verify() == ()
    assert server.requests_for(FILE)[-1].headers["range"] == "bytes=40000-"
    assert leftovers(hub.cache.home) == []


def test_lock_that_is_held_for_too_long_is_ignored(hub: Hub, monkeypatch, caplog):  # case 19
    monkeypatch.setenv("SEGPIPE_LOCK_TIMEOUT", "0.1")
    with folder_lock(hub.cache.shelf(SOURCE).root, 1), caplog.at_level("WARNING", "segpipe"):
        assert hub.resolve(SOURCE).verify() == ()
    assert "Going on without it" in caplog.text


def test_file_system_without_locks_is_no_obstacle(
    hub: Hub, monkeypatch
):  # case 19: never a soft lock, so none is stale
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert hub.resolve(SOURCE).verify() == ()
    assert hub.resolve(SOURCE, refresh=True).verify() == ()


def test_part_of_a_living_process_is_not_taken(tmp_path: Path):
    origin = Origin("x", "http://host/x", 5, "sha256:0")
    first, second = claim_part(tmp_path, origin), claim_part(tmp_path, origin)
    assert first.path != second.path
    first.path.write_bytes(b"abc")
    first.release()
    third = claim_part(tmp_path, origin)
    assert third.size == 3
    assert not first.path.exists()
    assert second.path.exists()


def test_part_is_taken_by_one_of_many(tmp_path: Path):
    origin = Origin("x", "http://host/x", 5, "sha256:0")
    left = claim_part(tmp_path, origin)
    left.path.write_bytes(b"abc")
    left.release()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: claim_part(tmp_path, origin), range(8)))
    assert sorted(part.size for part in parts) == [0] * 7 + [3]
    assert len({part.path for part in parts}) == 8


def test_part_of_a_dead_process_is_taken_and_another_machines_is_not(tmp_path: Path, monkeypatch):
    process = start("pass")
    process.communicate()
    origin = Origin("x", "http://host/x", 5, "sha256:0")
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: process.pid)
        claim_part(tmp_path, origin).path.write_bytes(b"dead")
    assert claim_part(tmp_path, origin).size == 4
    with monkeypatch.context() as patch:
        patch.setattr("platform.node", lambda: "another")
        foreign = claim_part(tmp_path, Origin("y", "http://host/y", 5, "sha256:0"))
        foreign.path.write_bytes(b"far")
    assert claim_part(tmp_path, Origin("y", "http://host/y", 5, "sha256:0")).size == 0
    hours_ago = time.time() - 2 * 3600
    os.utime(foreign.path, (hours_ago, hours_ago))
    assert claim_part(tmp_path, Origin("y", "http://host/y", 5, "sha256:0")).size == 3
