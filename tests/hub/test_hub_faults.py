"""A server, a network or a disk that misbehaves while a model is fetched."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import fault_server as faults
import pytest
from fault_server import FaultServer
from hub_material import FAST, NAME, WEIGHTS, leftovers

from segpipe.errors import CacheError, DownloadError, IntegrityError
from segpipe.hub import Hub, Limits, partial_downloads as parts_module
from segpipe.hub.partial_downloads import Part

SOURCE = f"hf:{NAME}"
FILE = "model.safetensors"
PART = int(len(WEIGHTS) * 0.37)


def weights_of(hub: Hub) -> bytes:
    folder = hub.resolve(SOURCE)
    assert folder.weights is not None
    return folder.weights.read_bytes()


def ranges(server: FaultServer) -> list[str | None]:
    return [seen.headers.get("range") for seen in server.requests_for(FILE)]


def nothing_final(hub: Hub) -> bool:
    return not list(hub.cache.home.rglob("*.safetensors")) and not hub.cached()


def leave_part(hub: Hub, server: FaultServer, count: int = PART) -> Path:
    """What a run leaves whose network failed for good after `count` bytes."""
    server.fail(FILE, faults.cut_after(count))
    server.fail(FILE, *[faults.status(503)] * (FAST.attempts - 1))
    with pytest.raises(DownloadError):
        hub.resolve(SOURCE)
    server.seen.clear()
    return next(hub.cache.home.rglob(f"{FILE}.*.part"))


def test_reset_connection_is_resumed_by_range(
    hub: Hub, server: FaultServer, caplog: pytest.LogCaptureFixture
):  # case 1
    server.fail(FILE, faults.reset_after(PART))
    with caplog.at_level(logging.WARNING, "segpipe"):
        assert weights_of(hub) == WEIGHTS
    first, second = ranges(server)
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= PART
    assert len([record for record in caplog.records if "Attempt 2 of" in record.message]) == 1
    assert leftovers(hub.cache.home) == []


def test_server_that_ignores_range_restarts_the_file(hub: Hub, server: FaultServer):  # case 2
    server.fail(FILE, faults.reset_after(PART), faults.whole_file)
    assert weights_of(hub) == WEIGHTS


def test_wrong_content_range_is_thrown_away(hub: Hub, server: FaultServer):  # case 3
    server.fail(FILE, faults.reset_after(PART), faults.wrong_range)
    assert weights_of(hub) == WEIGHTS
    assert ranges(server)[2] is None


def test_range_beyond_the_end_restarts_once(hub: Hub, server: FaultServer):  # case 4
    leave_part(hub, server)
    server.fail(FILE, faults.status(416))
    assert weights_of(hub) == WEIGHTS
    assert ranges(server) == [f"bytes={PART}-", None]


def test_part_that_is_longer_than_the_file_is_restarted(hub: Hub, server: FaultServer):  # case 4
    part = leave_part(hub, server)
    part.write_bytes(b"x" * (len(WEIGHTS) + 10))
    assert weights_of(hub) == WEIGHTS
    assert ranges(server) == [None]


def test_part_of_an_earlier_run_is_continued(hub: Hub, server: FaultServer):
    leave_part(hub, server)
    assert weights_of(hub) == WEIGHTS
    assert ranges(server) == [f"bytes={PART}-"]


def test_part_of_a_changed_file_is_not_used(hub: Hub, server: FaultServer):  # case 5
    leave_part(hub, server)
    server.models[NAME][FILE] = WEIGHTS[::-1]
    assert weights_of(hub) == WEIGHTS[::-1]
    assert ranges(server) == [None]


def test_without_a_digest_the_etag_decides_about_a_part(hub: Hub, server: FaultServer, tmp_path: Path):  # case 5
    from segpipe.hub.downloading import Fetcher
    from segpipe.hub.http import Transport
    from segpipe.hub.origins import RemoteFile

    server.static["a.pth"] = WEIGHTS
    fetcher = Fetcher(Transport(FAST, sleep=lambda _: None), tmp_path / "parts", "test")
    server.fail("a.pth", faults.reset_after(1000))  # no ETag came, so this part cannot be continued safely later
    part, entry = fetcher.fetch(RemoteFile("a.pth", f"{server.url}/static/a.pth"))
    assert part.path.read_bytes() == WEIGHTS
    part.restart()
    part.path.write_bytes(WEIGHTS[:500])
    part.release()
    server.static["a.pth"] = changed = WEIGHTS[::-1]
    part, entry = fetcher.fetch(RemoteFile("a.pth", f"{server.url}/static/a.pth"))
    assert part.path.read_bytes() == changed
    assert entry.size == len(changed)
    assert server.seen[-1].headers["if-range"].startswith('"')


def fetch_without_digest(server: FaultServer, folder: Path, name: str = "a.pth"):
    from segpipe.hub.downloading import Fetcher
    from segpipe.hub.http import Transport
    from segpipe.hub.origins import RemoteFile

    fetcher = Fetcher(Transport(FAST, sleep=lambda _: None), folder, "test")
    return fetcher.fetch(RemoteFile(name, f"{server.url}/static/{name}"))


def first_half(headers: dict[str, str], file: bytes = WEIGHTS):
    """The first half of a file with these headers, then the connection ends."""

    def answer(handler: faults.Handler, body: bytes) -> None:
        body = file
        handler.send_response(200)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        faults._hang_up(handler)

    return answer


def rest_of_another(headers: dict[str, str], other: bytes, content_range: str = "bytes {start}-{end}/{total}"):
    """The range that was asked for, of other bytes."""

    def answer(handler: faults.Handler, body: bytes) -> None:
        start = handler.range_start()
        stated = content_range.format(start=start, end=len(other) - 1, total=len(other))
        status = 206 if start else 200
        handler.send(status, other[start:], {**headers, **({"Content-Range": stated} if start else {})})

    return answer


MONDAY, TUESDAY = "Mon, 01 Jun 2026 10:00:00 GMT", "Tue, 02 Jun 2026 10:00:00 GMT"
VERSIONS = {
    "another ETag": ({"ETag": '"v1"'}, {"ETag": '"v2"'}),
    "no ETag any more": ({"ETag": '"v1"'}, {}),
    "a date instead": ({"ETag": '"v1"'}, {"Last-Modified": MONDAY}),
    "another date": ({"Last-Modified": MONDAY}, {"Last-Modified": TUESDAY}),
    "no date any more": ({"Last-Modified": MONDAY}, {}),
    "an ETag instead": ({"Last-Modified": MONDAY}, {"ETag": '"v1"', "Last-Modified": MONDAY}),
    "weak ETags": ({"ETag": 'W/"v1"'}, {"ETag": 'W/"v1"'}),
    "weak ETags of one date": (
        {"ETag": 'W/"v1"', "Last-Modified": MONDAY},
        {"ETag": 'W/"v2"', "Last-Modified": MONDAY},
    ),
    "nothing": ({}, {}),
}


@pytest.mark.parametrize("case", VERSIONS)
@pytest.mark.parametrize("is_later_run", [False, True])
def test_two_versions_of_a_file_are_never_joined(server: FaultServer, tmp_path: Path, case: str, is_later_run: bool):
    before, after = VERSIONS[case]
    server.static["a.pth"], new = WEIGHTS, WEIGHTS[::-1]
    server.fail("a.pth", first_half(before))
    if is_later_run:  # the first one gave up, and left half of the file with its note
        server.fail("a.pth", *[faults.status(503)] * (FAST.attempts - 1))
        with pytest.raises(DownloadError):
            fetch_without_digest(server, tmp_path)
    server.static["a.pth"] = new
    server.fail_always("a.pth", rest_of_another(after, new))
    part, entry = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == new
    assert entry.size == len(new)


@pytest.mark.parametrize("version", [{"ETag": '"v1"'}, {"Last-Modified": MONDAY}])
@pytest.mark.parametrize("is_later_run", [False, True])
def test_the_same_version_is_continued(server: FaultServer, tmp_path: Path, version: dict, is_later_run: bool):
    server.static["a.pth"] = WEIGHTS
    server.fail("a.pth", first_half(version))
    if is_later_run:
        server.fail("a.pth", *[faults.status(503)] * (FAST.attempts - 1))
        with pytest.raises(DownloadError):
            fetch_without_digest(server, tmp_path)
    server.fail("a.pth", rest_of_another(version, WEIGHTS))
    part, _ = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == WEIGHTS
    asked = server.seen[-1].headers
    assert asked["range"] == f"bytes={len(WEIGHTS) // 2}-"
    assert asked["if-range"] in version.values()


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 0-{end}/{total}",
        "bytes {start}-{end}/999999",
        "bytes {start}-{total}/{total}",
        "bytes {start}-5/{total}",
        "bytes */{total}",
        "pages {start}-{end}/{total}",
        "bytes {start}-{end}",
        "bytes {start}-{end}/{total}, bytes 0-1/2",
    ],
)
def test_a_range_that_cannot_be_the_rest_starts_the_file_again(server: FaultServer, tmp_path: Path, content_range: str):
    version = {"ETag": '"v1"'}
    server.static["a.pth"] = WEIGHTS
    server.fail("a.pth", first_half(version), rest_of_another(version, WEIGHTS[::-1], content_range))
    part, _ = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == WEIGHTS
    assert server.seen[-1].headers.get("range") is None


def test_a_packed_range_is_not_joined(server: FaultServer, tmp_path: Path):
    version = {"ETag": '"v1"'}
    server.static["a.pth"] = WEIGHTS
    server.fail("a.pth", first_half(version), rest_of_another({**version, "Content-Encoding": "gzip"}, WEIGHTS))
    part, _ = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == WEIGHTS


ORIGIN = {"path": "a.pth", "url": "URL", "size": None, "digest": None, "version": '"v1"'}
FORGED_NOTES = [
    "",
    "[" * 100_000,
    "[]",
    "{}",
    json.dumps({"origin": 5, "owner": None}),
    "x" * 200_000,
    *(
        json.dumps({"origin": ORIGIN | change, "owner": None})
        for change in (
            {"version": "a\r\nHost: evil"},
            {"version": "\xe9"},
            {"version": ["v1"]},
            {"size": 10**30},
            {"size": -1},
            {"size": True},
            {"path": 5},
            {"url": None},
        )
    ),
    *(
        json.dumps({"origin": ORIGIN, "owner": owner})
        for owner in (
            {"host": "h", "pid": -1, "started": ""},
            {"host": "h", "pid": 2**70, "started": ""},
            {"host": "h", "pid": "1", "started": ""},
            {"host": "h", "pid": 1},
            [],
        )
    ),
]


@pytest.mark.parametrize("note", FORGED_NOTES, ids=range(len(FORGED_NOTES)))
def test_a_forged_note_beside_a_part_is_ignored(server: FaultServer, tmp_path: Path, note: str):
    server.static["a.pth"] = WEIGHTS
    (tmp_path / "a.pth.1-abc.part").write_bytes(b"evil" * 100)
    (tmp_path / "a.pth.1-abc.part.json").write_text(note.replace("URL", f"{server.url}/static/a.pth"))
    part, _ = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == WEIGHTS
    assert [seen.headers.get("range") for seen in server.seen] == [None]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
def test_special_files_among_the_parts_are_passed_over(server: FaultServer, tmp_path: Path):
    server.static["a.pth"] = WEIGHTS
    os.mkfifo(tmp_path / "a.pth.1-abc.part")
    os.mkfifo(tmp_path / "a.pth.1-abc.part.json")
    (tmp_path / "a.pth.2-abc.part").mkdir()
    (tmp_path / "a.pth.2-abc.part.json").mkdir()
    part, _ = fetch_without_digest(server, tmp_path)
    assert part.path.read_bytes() == WEIGHTS


def capped_range(handler: faults.Handler, body: bytes) -> None:
    """A thousand bytes of the range that was asked for, and an honest header."""
    start = handler.range_start()
    piece = body[start : start + 1000]
    handler.send(206, piece, {"Content-Range": f"bytes {start}-{start + 999}/{len(body)}"})


@pytest.mark.parametrize("etags", [True, False])
def test_part_of_a_file_is_not_taken_for_all_of_it(server: FaultServer, tmp_path: Path, etags: bool):  # case 6
    from segpipe.hub.downloading import Fetcher
    from segpipe.hub.http import Transport
    from segpipe.hub.origins import RemoteFile

    server.etags = etags
    server.static["a.pth"] = WEIGHTS
    server.fail("a.pth", faults.cut_after(1000), capped_range)
    part, entry = Fetcher(Transport(FAST), tmp_path, "test").fetch(RemoteFile("a.pth", f"{server.url}/static/a.pth"))
    assert part.path.read_bytes() == WEIGHTS
    assert entry.size == len(WEIGHTS)


@pytest.mark.parametrize("fault", [faults.cut_after(0), faults.cut_chunked_after(500)])
def test_short_body_is_an_integrity_error_after_all_attempts(hub: Hub, server: FaultServer, fault):  # case 6
    server.fail_always(FILE, fault)
    with pytest.raises(IntegrityError, match="attempts"):
        hub.resolve(SOURCE)
    assert len(ranges(server)) == FAST.attempts
    assert nothing_final(hub)


def test_chunked_body_without_a_length_is_complete_or_not_used(hub: Hub, server: FaultServer):  # case 6
    server.fail(FILE, faults.cut_chunked_after(5000))
    assert weights_of(hub) == WEIGHTS


def test_flipped_byte_is_found_and_removed(hub: Hub, server: FaultServer):  # case 7
    server.fail_always(FILE, faults.flipped_byte)
    with pytest.raises(IntegrityError) as caught:
        hub.resolve(SOURCE)
    message = str(caught.value)
    assert FILE in message
    assert "expected" in message
    assert message.count("sha256 is") == 1
    assert nothing_final(hub)
    assert not list(hub.cache.home.rglob(f"{FILE}*.part"))


def test_one_flipped_byte_is_asked_for_again(hub: Hub, server: FaultServer):  # case 7
    server.fail(FILE, faults.flipped_byte)
    assert weights_of(hub) == WEIGHTS


def test_git_digest_of_a_small_file_is_checked(hub: Hub, server: FaultServer):  # case 7
    server.models[NAME]["LICENSE"] = b"x" * 200
    server.fail_always("LICENSE", faults.flipped_byte)
    with pytest.raises(IntegrityError, match="git sha1"):
        hub.resolve(SOURCE)


def test_empty_answer_is_called_empty(hub: Hub, server: FaultServer):  # case 8
    server.fail_always(FILE, faults.empty)
    with pytest.raises(IntegrityError, match="empty response"):
        hub.resolve(SOURCE)
    assert nothing_final(hub)


def test_login_page_instead_of_weights_hints_at_the_proxy(hub: Hub, server: FaultServer):  # case 9
    server.fail_always(FILE, faults.login_page)
    with pytest.raises(IntegrityError, match="login page or a proxy"):
        hub.resolve(SOURCE)
    assert nothing_final(hub)


def test_login_page_instead_of_the_list_hints_at_the_proxy(hub: Hub, server: FaultServer):  # case 9
    server.fail("/api/models/", faults.login_page)
    with pytest.raises(DownloadError, match="login page or a proxy"):
        hub.resolve(SOURCE)


def test_trickling_server_is_given_up(server: FaultServer, hub: Hub):  # case 12
    limits = Limits(attempts=2, first_delay=0, slow_window=0.1, min_speed=10_000, read_timeout=2)
    server.fail_always(FILE, faults.trickle())
    with pytest.raises(DownloadError, match="bytes a second"):
        Hub(limits=limits).resolve(SOURCE)
    assert nothing_final(hub)


def test_silent_server_is_given_up(server: FaultServer, hub: Hub):  # case 12
    import threading

    released = threading.Event()
    server.fail_always(FILE, faults.stall_after(100, released))
    with pytest.raises(DownloadError, match=r"connection broke|no answer"):
        Hub(limits=dataclasses.replace(FAST, attempts=1, read_timeout=0.1)).resolve(SOURCE)
    released.set()


def test_full_disk_is_not_retried_and_leaves_nothing(hub: Hub, server: FaultServer, monkeypatch):  # case 17
    # No small tmpfs can be mounted here: the part is opened on /dev/full, whose writes fail with a real ENOSPC.
    monkeypatch.setattr(Part, "append", lambda part: open("/dev/full", "wb", buffering=0))  # noqa: SIM115
    with pytest.raises(CacheError, match="No space left") as caught:
        hub.resolve(SOURCE)
    assert re.search(r"needs [\d,]+ bytes, [\d,]+ free.*SEGPIPE_HOME", str(caught.value))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert len(ranges(server)) <= 1
    assert not list(hub.cache.home.rglob("*.part"))


def test_download_larger_than_the_disk_is_refused_before_it_starts(
    hub: Hub, server: FaultServer, monkeypatch
):  # case 17
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CacheError, match="1,000 free"):
        hub.resolve(SOURCE)
    assert ranges(server) == []


@pytest.fixture
def read_only_home(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    """A cache with the model that this process may read and not write; as root, privileges are dropped meanwhile."""
    home = Path(tempfile.mkdtemp(prefix="segpipe-test-"))
    os.chmod(home, 0o755)
    monkeypatch.setenv("SEGPIPE_HOME", str(home))
    hub.resolve(SOURCE)
    for path in (home, *home.rglob("*")):
        os.chmod(path, 0o555 if path.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield home
    os.seteuid(user)
    for path in (home, *home.rglob("*")):
        os.chmod(path, 0o755)
    shutil.rmtree(home)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
def test_read_only_cache_can_be_read(hub: Hub, server: FaultServer, read_only_home: Path):  # case 18
    count = len(server.seen)
    assert weights_of(hub) == WEIGHTS
    assert len(server.seen) == count


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="permissions of POSIX")
def test_download_into_a_read_only_cache_names_the_variable(hub: Hub, read_only_home: Path):  # case 18
    with pytest.raises(CacheError, match=r"Permission denied.*SEGPIPE_HOME"):
        hub.resolve(f"modelscope:{NAME}")


def test_read_only_file_system_names_the_variable(hub: Hub, monkeypatch: pytest.MonkeyPatch):  # case 18
    def refuse(path: Path):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(parts_module, "open_new", refuse)  # no read-only mount can be made here
    with pytest.raises(CacheError, match="SEGPIPE_HOME"):
        hub.resolve(SOURCE)


def test_failed_download_goes_on_with_what_arrived(hub: Hub, server: FaultServer):
    server.fail(FILE, *[faults.cut_after(9000)] * FAST.attempts)
    with pytest.raises(IntegrityError, match="attempts"):
        hub.resolve(SOURCE)
    server.seen.clear()
    assert weights_of(hub) == WEIGHTS
    assert ranges(server) == [f"bytes={9000 * FAST.attempts}-"]


def test_failed_file_ends_the_wait_of_the_others(hub: Hub, server: FaultServer):
    server.fail("README.md", faults.status(404))
    server.fail_always(FILE, faults.status(503, {"Retry-After": "10"}))
    started = time.monotonic()
    with pytest.raises(DownloadError, match="README"):
        Hub(limits=dataclasses.replace(FAST, deadline=60)).resolve(SOURCE)
    assert time.monotonic() - started < 5
    assert len(ranges(server)) <= 1


def test_one_failed_file_fails_the_whole_model(hub: Hub, server: FaultServer):
    server.fail("README.md", faults.status(404))
    with pytest.raises(DownloadError, match="README"):
        hub.resolve(SOURCE)
    assert nothing_final(hub)
    assert weights_of(hub) == WEIGHTS
